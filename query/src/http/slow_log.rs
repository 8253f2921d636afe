//! A line for every query that took long, with who asked it.

use std::{net::SocketAddr, time::Duration};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use tokio::time::Instant;

use crate::evaluate::{Answer, QueryFailure, QueryRequest, QueryTimes};

/// Longer texts are cut.
const MAX_TEXT_BYTES: usize = 4096;
/// What clients say of themselves: Grafana names dashboard, panel and user.
const ASKER_HEADERS: [&str; 6] = [
    "user-agent",
    "x-forwarded-for",
    "x-grafana-user",
    "x-dashboard-uid",
    "x-panel-id",
    "x-request-id",
];

/// A query that is being answered. If it is dropped the client went away.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` if nothing is to be logged, or no more.
    threshold: Option<Duration>,
    start: Instant,
    asker: String,
    expression: String,
    times: String,
}

/// Who asks, as far as is known before the request is taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asker(String);

impl Asker {
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap) -> Self {
        let mut text = match extensions.get::<ConnectInfo<SocketAddr>>() {
            Some(ConnectInfo(peer)) => format!("peer={peer}"),
            None => String::new(),
        };
        for name in ASKER_HEADERS {
            if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
                text.push_str(&format!(" {name}={:?}", cut(value, 256)));
            }
        }
        Self(text)
    }
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn start(threshold: Option<Duration>, asker: Asker, request: &QueryRequest) -> Self {
        let times = match request.times {
            QueryTimes::Instant { time_ms } => format!("at {time_ms}"),
            QueryTimes::Range {
                start_ms,
                end_ms,
                step_ms,
            } => format!("from {start_ms} to {end_ms} by {step_ms}"),
        };
        Self {
            threshold,
            start: Instant::now(),
            asker: asker.0,
            expression: match threshold {
                Some(_) => cut(&request.expression, MAX_TEXT_BYTES).to_owned(),
                None => String::new(),
            },
            times,
        }
    }

    /// Logs the query if it took long.
    pub(crate) fn end(mut self, outcome: &Result<Answer, QueryFailure>) {
        let Some(took_ms) = self.too_long() else {
            return;
        };
        let Self {
            asker,
            expression: query,
            times,
            ..
        } = &self;
        match outcome {
            Ok(answer) => {
                let statistics = &answer.statistics;
                tracing::warn!(
                    took_ms,
                    query,
                    times,
                    asker,
                    queue_us = statistics.queue_us,
                    series = statistics.series,
                    samples = statistics.samples,
                    chunk_bytes = statistics.chunk_bytes,
                    peak_bytes = statistics.peak_bytes,
                    endpoints = statistics.endpoints.len(),
                    "slow query"
                );
            }
            Err(failure) => {
                let error = cut(&failure.message, MAX_TEXT_BYTES);
                tracing::warn!(took_ms, query, times, asker, error, "slow query failed");
            }
        }
    }

    /// How long it took, in milliseconds, if that is worth a line that was not written yet.
    fn too_long(&mut self) -> Option<u64> {
        let threshold = self.threshold.take()?;
        let took = self.start.elapsed();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        (took >= threshold).then_some(took_ms)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(took_ms) = self.too_long() {
            let (asker, query, times) = (&self.asker, &self.expression, &self.times);
            tracing::warn!(
                took_ms,
                query,
                times,
                asker,
                "slow query was abandoned by its client"
            );
        }
    }
}

/// The beginning of a text.
fn cut(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asker_is_who_the_client_says_it_is() {
        let headers = HeaderMap::from_iter([
            (
                axum::http::header::USER_AGENT,
                axum::http::HeaderValue::from_static("Grafana/12"),
            ),
            (
                axum::http::HeaderName::from_static("x-dashboard-uid"),
                axum::http::HeaderValue::from_static("nodes"),
            ),
        ]);
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 5))));
        assert_eq!(
            Asker::of(&extensions, &headers).0,
            "peer=10.0.0.1:5 user-agent=\"Grafana/12\" x-dashboard-uid=\"nodes\""
        );
        assert_eq!(cut("aé", 2), "a");
    }
}
