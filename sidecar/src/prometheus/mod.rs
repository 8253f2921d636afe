//! Talking to Prometheus: its HTTP API, as far as a sidecar needs it.

mod body;
pub mod client;
mod client_metrics;
pub mod config_yaml;
pub mod http_config;
mod metrics_page;
mod params;
mod queue;

pub use body::Charged;
pub(crate) use body::{not_silent, read_bounded};
pub use client::{PrometheusClient, PrometheusError, TsdbFlags};
pub use client_metrics::ClientMetrics;
pub use http_config::{HttpClientConfig, HttpConfigError};
pub use params::Selection;
pub(crate) use params::seconds;
pub use queue::ReadQueue;
pub(crate) use queue::Turn;
