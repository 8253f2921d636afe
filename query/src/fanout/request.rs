//! What is sent to peers.

use std::time::Duration;

use sabre_model::Matcher;
use sabre_proto::{
    convert::matchers_to_wire,
    thanos::{LabelNamesRequest, LabelValuesRequest, PartialResponseStrategy, SeriesRequest},
};
use sabre_runtime::budget::Budget;
use tokio::time::Instant;

use super::{STREAM_WINDOW_BYTES, unpack};
use crate::source::{SelectOptions, SelectRequest, SourceFailure};

/// How long a call waits for memory before it is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Series in one message of an answer.
const BATCH_SERIES: i64 = 64;

/// The windows of all calls of a request take at most this share of its memory.
const WINDOW_SHARE: u64 = 4;

pub(super) fn series(
    request: &SelectRequest,
    options: &SelectOptions,
    matchers: &[Matcher],
) -> SeriesRequest {
    SeriesRequest {
        min_time: request.mint,
        max_time: request.maxt,
        matchers: matchers_to_wire(matchers),
        max_resolution_window: request.max_resolution_ms,
        aggregates: request.aggregates.clone(),
        partial_response_disabled: !options.partial_response,
        partial_response_strategy: strategy(options),
        skip_chunks: request.skip_chunks,
        query_hints: request.hints.clone(),
        shard_info: request.shard.clone(),
        without_replica_labels: options.without_replica_labels.clone(),
        limit: limit(request),
        response_batch_size: BATCH_SERIES,
        ..SeriesRequest::default()
    }
}

pub(super) fn label_names(
    request: &SelectRequest,
    options: &SelectOptions,
    matchers: &[Matcher],
) -> LabelNamesRequest {
    LabelNamesRequest {
        partial_response_disabled: !options.partial_response,
        partial_response_strategy: strategy(options),
        start: request.mint,
        end: request.maxt,
        matchers: matchers_to_wire(matchers),
        without_replica_labels: options.without_replica_labels.clone(),
        limit: limit(request),
        ..LabelNamesRequest::default()
    }
}

pub(super) fn label_values(
    label: &str,
    request: &SelectRequest,
    options: &SelectOptions,
    matchers: &[Matcher],
) -> LabelValuesRequest {
    LabelValuesRequest {
        label: label.to_owned(),
        partial_response_disabled: !options.partial_response,
        partial_response_strategy: strategy(options),
        start: request.mint,
        end: request.maxt,
        matchers: matchers_to_wire(matchers),
        without_replica_labels: options.without_replica_labels.clone(),
        limit: limit(request),
        ..LabelValuesRequest::default()
    }
}

fn strategy(options: &SelectOptions) -> i32 {
    match options.partial_response {
        true => PartialResponseStrategy::Warn.into(),
        false => PartialResponseStrategy::Abort.into(),
    }
}

fn limit(request: &SelectRequest) -> i64 {
    i64::try_from(request.limit).unwrap_or(i64::MAX)
}

/// What goes with every call: what the request brings, how long there is for an answer, and how it may be packed.
pub(super) fn metadata(
    options: &SelectOptions,
    deadline: Option<Instant>,
    asks_for_zstd: bool,
) -> Vec<(String, String)> {
    let mut metadata = options.metadata.clone();
    if asks_for_zstd {
        let (name, value) = unpack::ACCEPTED;
        metadata.push((name.to_owned(), value.to_owned()));
    }
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        metadata.push(("grpc-timeout".to_owned(), timeout_text(left)));
    }
    metadata
}

/// How a call says how long there is for it. Rounded up, so that a peer that gives up does it after the deadline and not
/// just before it.
pub(crate) fn timeout_text(left: Duration) -> String {
    // The format has room for eight digits.
    match left.as_millis() + 1 {
        left_ms @ 0..=99_999_999 => format!("{left_ms}m"),
        more => format!("{}S", (more / 1000).min(99_999_999)),
    }
}

/// What is reserved for what the connection reads ahead for each of so many calls.
pub(crate) fn window_bytes(budget: &Budget, calls: usize) -> u64 {
    let share = budget.limit_bytes() / WINDOW_SHARE;
    let each = share.checked_div(calls as u64).unwrap_or(share);
    each.min(u64::from(STREAM_WINDOW_BYTES))
}

pub(super) fn too_late(address: &str) -> SourceFailure {
    SourceFailure::Timeout(format!(
        "the time for the query was over while {address} was answering"
    ))
}
