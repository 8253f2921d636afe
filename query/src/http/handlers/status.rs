//! `status/flags`, `status/runtimeinfo`, `status/buildinfo`, `status/config`.

use axum::{extract::State, http::HeaderMap, response::Response};
use sabre_model::{quote::GoQuoted, time::format_rfc3339_ms};
use serde_json::json;

use crate::http::{HttpApi, json::document::Document, reply};

pub(super) async fn flags(State(api): State<HttpApi>, headers: HeaderMap) -> Response {
    let flags = json!(api.inner.options.flags);
    reply::send(Document::json(&flags, &[]), &[], &headers)
}

/// Go's members are there because clients read them; there are no goroutines, and no collector.
pub(super) async fn runtime(State(api): State<HttpApi>, headers: HeaderMap) -> Response {
    let directory = std::env::current_dir().map(|directory| directory.display().to_string());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = json!({
        "startTime": format_rfc3339_ms(api.inner.start_ms),
        "CWD": directory.unwrap_or_default(),
        "goroutineCount": 0,
        "GOMAXPROCS": threads,
        "GOGC": "",
        "GODEBUG": "",
        "GOMEMLIMIT": 0,
    });
    reply::send(Document::json(&info, &[]), &[], &headers)
}

pub(super) async fn build(State(api): State<HttpApi>, headers: HeaderMap) -> Response {
    let info = json!({
        "version": api.inner.options.version,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    });
    reply::send(Document::json(&info, &[]), &[], &headers)
}

/// What a querier has of Prometheus' configuration: the labels it adds.
pub(super) async fn config(State(api): State<HttpApi>, headers: HeaderMap) -> Response {
    let labels = &api.inner.options.selector_labels;
    let mut yaml = match labels.is_empty() {
        true => "global: {}\n".to_owned(),
        false => "global:\n  external_labels:\n".to_owned(),
    };
    for (name, value) in labels.iter() {
        yaml.push_str(&format!("    {}: {}\n", GoQuoted(name), GoQuoted(value)));
    }
    let config = json!({ "yaml": yaml });
    reply::send(Document::json(&config, &[]), &[], &headers)
}
