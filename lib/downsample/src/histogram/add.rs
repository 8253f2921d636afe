//! Adding and subtracting histograms, and making them coarser.

use std::sync::Arc;

use sabre_tsdb::histogram::{CounterResetHint, FloatHistogram, Layout, Span, bucket_indexes};

use super::MixedBuckets;
use super::bounds::{is_surely_beyond, upper_bound};
use super::custom::add_in_common;
use super::side::{Side, buckets, coarser, normalised};
use super::zero::reconcile;

/// Whether a histogram is added or subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Plus,
    Minus,
}

impl Sign {
    fn factor(self) -> f64 {
        match self {
            Self::Plus => 1.0,
            Self::Minus => -1.0,
        }
    }
}

/// The same observations in buckets of a coarser schema. What is known of a reset is lost.
pub(crate) fn reduced(histogram: &FloatHistogram, schema: i32) -> FloatHistogram {
    let mut coarse = FloatHistogram {
        hint: CounterResetHint::Unknown,
        ..histogram.clone()
    };
    reduce(&mut coarse, schema);
    coarse
}

fn reduce(histogram: &mut FloatHistogram, schema: i32) {
    let layout = &histogram.layout;
    let by = layout.schema.saturating_sub(schema).max(0).unsigned_abs();
    let (positive_spans, positive) = normalised(coarser(&layout.positive_spans, &histogram.positive, by));
    let (negative_spans, negative) = normalised(coarser(&layout.negative_spans, &histogram.negative, by));
    let layout = Layout {
        schema,
        positive_spans,
        negative_spans,
        ..Layout::clone(layout)
    };
    (histogram.positive, histogram.negative) = (positive, negative);
    histogram.layout = Arc::new(layout);
}

/// Adds `other` to `histogram`, or subtracts it. The result has the coarser schema and the wider zero bucket.
pub(crate) fn add(
    histogram: &mut FloatHistogram,
    other: &FloatHistogram,
    sign: Sign,
) -> Result<(), MixedBuckets> {
    let factor = sign.factor();
    let custom = histogram.layout.has_custom_buckets();
    if custom != other.layout.has_custom_buckets() {
        return Err(MixedBuckets);
    }
    histogram.hint = joined_hint(histogram.hint, other.hint);
    if !custom {
        let zero_count = reconcile(histogram, other);
        histogram.zero_count += zero_count * factor;
    }
    histogram.count += other.count * factor;
    histogram.sum += other.sum * factor;
    if custom && histogram.layout.custom_bounds != other.layout.custom_bounds {
        add_in_common(histogram, other, factor);
        return Ok(());
    }
    if other.layout.schema > histogram.layout.schema {
        add_sides(histogram, &reduced(other, histogram.layout.schema), factor);
        return Ok(());
    }
    if other.layout.schema < histogram.layout.schema {
        reduce(histogram, other.layout.schema);
    }
    add_sides(histogram, other, factor);
    Ok(())
}

/// What is known of the sum of two histograms.
pub(crate) fn joined_hint(one: CounterResetHint, other: CounterResetHint) -> CounterResetHint {
    match (one, other) {
        _ if one == other => one,
        (CounterResetHint::Gauge, _) | (_, CounterResetHint::Gauge) => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    }
}

/// Adds the buckets of a histogram that has the same schema.
fn add_sides(histogram: &mut FloatHistogram, other: &FloatHistogram, factor: f64) {
    let layout = &histogram.layout;
    let threshold = layout.zero_threshold;
    let positive = add_side(
        layout,
        threshold,
        &layout.positive_spans,
        &mut histogram.positive,
        (&other.layout.positive_spans, &other.positive),
        factor,
    );
    let negative = add_side(
        layout,
        threshold,
        &layout.negative_spans,
        &mut histogram.negative,
        (&other.layout.negative_spans, &other.negative),
        factor,
    );
    if positive.is_none() && negative.is_none() {
        return;
    }
    let mut changed = Layout::clone(layout);
    if let Some(spans) = positive {
        changed.positive_spans = spans;
    }
    if let Some(spans) = negative {
        changed.negative_spans = spans;
    }
    histogram.layout = Arc::new(changed);
}

/// Whether histograms of this layout are added bucket by bucket: it has no bucket that lies within the zero bucket, and
/// its bounds are not given one by one.
pub(crate) fn is_plain(layout: &Layout) -> bool {
    let is_side_plain = |spans| {
        let first = bucket_indexes(spans).next();
        first.is_none_or(|first| !is_within(layout, layout.zero_threshold, first))
    };
    !layout.has_custom_buckets()
        && is_side_plain(layout.positive_spans.as_slice())
        && is_side_plain(layout.negative_spans.as_slice())
}

/// Whether a bucket lies within a zero bucket of width `threshold`.
#[inline(always)]
fn is_within(layout: &Layout, threshold: f64, index: i64) -> bool {
    !is_surely_beyond(index, layout.schema, threshold) && upper_bound(index, layout.schema) <= threshold
}

/// Adds the buckets of one side, and returns the spans if they are others than before.
///
/// The first buckets of `other` that lie within the zero bucket are left out.
fn add_side(
    layout: &Layout,
    threshold: f64,
    spans: &[Span],
    counts: &mut Vec<f64>,
    other: (&[Span], &[f64]),
    factor: f64,
) -> Option<Vec<Span>> {
    let (other_spans, other_counts) = other;
    let custom = layout.has_custom_buckets();
    let within = |index| !custom && is_within(layout, threshold, index);
    let (first, _) = buckets(other_spans, other_counts).next()?;
    if spans == other_spans && counts.len() == other_counts.len() && !within(first) {
        for (count, other) in counts.iter_mut().zip(other_counts) {
            *count += other * factor;
        }
        return None;
    }
    let mut side = Side::new(spans, counts);
    let others = buckets(other_spans, other_counts).skip_while(|&(index, _)| within(index));
    others.for_each(|(index, count)| side.add(index, count * factor));
    let (spans, sums) = side.into_parts();
    *counts = sums;
    Some(spans)
}
