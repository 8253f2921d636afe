//! What every component shares: flags, logs, metrics, probes, servers, shutdown, budgets.

pub mod budget;
pub mod clock;
pub mod cpu;
pub mod flags;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod probe;
pub mod shutdown;
pub mod yaml;

pub use cpu::{blocking, run_cpu};
