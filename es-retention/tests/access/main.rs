//! [`HttpTransport`](sabre_es_retention::access::HttpTransport) on the wire: what it sends, what it makes of answers, whom it
//! believes, where its keys come from.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod answers;
mod environment;
mod secrets;
mod tls;
mod wire;

use std::time::Duration;

use sabre_es_retention::{
    access::{AccessSettings, HttpTransport},
    cluster::transport::{Method, Request},
};

/// Settings as a user writes them.
fn settings(text: &str) -> AccessSettings {
    sabre_runtime::yaml::from_str_strict("test", text).unwrap()
}

fn transport(endpoint: &str, text: &str) -> HttpTransport {
    HttpTransport::new(endpoint, "eu-west-1", &settings(text)).unwrap()
}

/// A request of five seconds.
fn request(method: Method, segments: &[&str]) -> Request {
    Request::new(method, segments, Duration::from_secs(5))
}
