//! StoreAPI of a sidecar, started as its command starts it, against a fake Prometheus.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed step fails the test"
)]

mod acceptance;
mod away;
mod broken;
mod labels;
mod series;
mod support;
