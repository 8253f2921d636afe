//! Talking to Prometheus.

pub mod client;
pub mod config_yaml;
pub mod http_config;

pub use client::{PrometheusClient, PrometheusError, Selection, TsdbFlags};
pub use http_config::{HttpClientConfig, HttpConfigError};
