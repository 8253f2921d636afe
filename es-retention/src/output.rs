//! What a person or a program reads.

mod metrics;
mod push;
mod tables;

pub use metrics::RunMetrics;
pub(crate) use push::{push, write_textfile};
pub(crate) use tables::{plan_table, report_table, restored_table, status_table, summary};
