//! What every component shares: flags, logs, metrics, probes, servers, shutdown, budgets.

pub mod budget;
pub mod clock;
pub mod flags;
pub mod limits;
pub mod metrics;
pub mod yaml;
