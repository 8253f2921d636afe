//! Removes empty buckets.

use std::sync::Arc;

use super::side::{indexed, into_spans};
use super::{FloatHistogram, Span};

/// Removes empty buckets, and joins spans that touch.
pub(crate) fn compact(h: &mut FloatHistogram) {
    if let Some((spans, counts)) = compacted(&h.layout.positive_spans, &h.positive) {
        Arc::make_mut(&mut h.layout).positive_spans = spans;
        h.positive = counts;
    }
    if let Some((spans, counts)) = compacted(&h.layout.negative_spans, &h.negative) {
        Arc::make_mut(&mut h.layout).negative_spans = spans;
        h.negative = counts;
    }
}

/// The compact form of one side; `None` if it has that already.
fn compacted(spans: &[Span], counts: &[f64]) -> Option<(Vec<Span>, Vec<f64>)> {
    let is_tidy = |(at, span): (usize, &Span)| span.length > 0 && (at == 0 || span.offset > 0);
    if spans.iter().enumerate().all(is_tidy) && counts.iter().all(|count| *count != 0.0) {
        return None;
    }
    let filled: Vec<(i64, f64)> = indexed(spans, counts)
        .filter(|(_, count)| *count != 0.0)
        .collect();
    Some(into_spans(&filled))
}
