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
    use sabre_promql::value::Value;

    use super::*;
    use crate::{
        evaluate::{FailureKind, RequestContext, Statistics},
        testing::logged,
    };

    fn asker() -> Asker {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "Grafana/12".parse().unwrap());
        headers.insert("x-dashboard-uid", "nodes".parse().unwrap());
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 5))));
        Asker::of(&extensions, &headers)
    }

    fn watch(threshold: Option<Duration>) -> Watch {
        let request = QueryRequest {
            expression: "sum(up)".to_owned(),
            times: QueryTimes::Instant { time_ms: 7 },
            lookback_delta_ms: None,
            max_source_resolution: None,
            limit: 0,
            wants_times: false,
            context: RequestContext::default(),
        };
        Watch::start(threshold, asker(), &request)
    }

    fn answer() -> Result<Answer, QueryFailure> {
        Ok(Answer {
            value: Value::Vector(Vec::new()),
            warnings: Vec::new(),
            infos: Vec::new(),
            statistics: Statistics {
                series: 12,
                ..Statistics::default()
            },
        })
    }

    #[test]
    fn the_asker_is_who_the_client_says_it_is() {
        assert_eq!(
            asker().0,
            "peer=10.0.0.1:5 user-agent=\"Grafana/12\" x-dashboard-uid=\"nodes\""
        );
        assert_eq!(cut("aé", 2), "a");
    }

    #[test]
    fn a_slow_query_is_logged_with_who_asked_and_what_it_cost() {
        let lines = logged(|| watch(Some(Duration::ZERO)).end(&answer()));
        assert_eq!(lines.len(), 1);
        for part in [
            "sum(up)",
            "at 7",
            "x-dashboard-uid",
            "nodes",
            "series=12",
            "slow query",
        ] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
    }

    #[test]
    fn failed_and_abandoned_queries_are_logged_too() {
        let failure = Err(QueryFailure::new(FailureKind::Timeout, "too long"));
        let lines = logged(|| {
            watch(Some(Duration::ZERO)).end(&failure);
            drop(watch(Some(Duration::ZERO)));
        });
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("too long"), "{}", lines[0]);
        assert!(lines[1].contains("abandoned"), "{}", lines[1]);
    }

    #[test]
    fn quick_queries_and_those_without_a_threshold_are_not_logged() {
        let lines = logged(|| {
            watch(Some(Duration::from_secs(3600))).end(&answer());
            watch(None).end(&answer());
            drop(watch(None));
        });
        assert!(lines.is_empty(), "{lines:?}");
    }
}
