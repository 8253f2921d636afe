//! What every component shares: flags, logs, metrics, probes, servers, shutdown, budgets.
