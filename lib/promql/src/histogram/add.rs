//! Sums and differences.

use std::sync::Arc;

use super::buckets::bound;
use super::side::{Indexed, coarser, indexed, into_spans, union};
use super::{CounterResetHint, FloatHistogram, Layout, Span, compact, is_exponential};

/// What is to be said about a sum or difference that went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Combined {
    /// One operand was a counter that had been reset, the other one that had not.
    pub(crate) reset_collision: bool,
    /// The custom bounds differed; those that both have are left.
    pub(crate) bounds_reconciled: bool,
}

/// One operand has exponential buckets, the other custom ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IncompatibleSchemas;

/// Adds `other` to `h`.
pub(crate) fn add(h: &mut FloatHistogram, other: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
    combine(h, other, 1.0)
}

/// Subtracts `other` from `h`.
pub(crate) fn sub(h: &mut FloatHistogram, other: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
    combine(h, other, -1.0)
}

/// Makes the mean of `count` histograms of the mean of all but `other`; says whether custom bounds differed.
pub(crate) fn add_to_mean(
    mean: &mut FloatHistogram,
    other: &FloatHistogram,
    count: f64,
) -> Result<bool, IncompatibleSchemas> {
    let mut change = other.clone();
    super::divide(&mut change, count);
    let mut part = mean.clone();
    super::divide(&mut part, count);
    let first = sub(&mut change, &part)?;
    let second = add(mean, &change)?;
    Ok(first.bounds_reconciled || second.bounds_reconciled)
}

/// A copy in a schema that is not finer.
pub(crate) fn in_schema(h: &FloatHistogram, schema: i32) -> FloatHistogram {
    let mut copy = h.clone();
    if schema == h.layout.schema || h.layout.has_custom_buckets() {
        return copy;
    }
    let layout = &*h.layout;
    let positive = coarser(
        indexed(&layout.positive_spans, &h.positive),
        layout.schema,
        schema,
    );
    let negative = coarser(
        indexed(&layout.negative_spans, &h.negative),
        layout.schema,
        schema,
    );
    let target = Arc::make_mut(&mut copy.layout);
    target.schema = schema;
    (target.positive_spans, copy.positive) = into_spans(&positive);
    (target.negative_spans, copy.negative) = into_spans(&negative);
    copy.hint = CounterResetHint::Unknown;
    copy
}

fn combine(
    h: &mut FloatHistogram,
    other: &FloatHistogram,
    sign: f64,
) -> Result<Combined, IncompatibleSchemas> {
    let custom = h.layout.has_custom_buckets();
    if custom != other.layout.has_custom_buckets() {
        return Err(IncompatibleSchemas);
    }
    let mut combined = Combined {
        reset_collision: combine_hints(&mut h.hint, other.hint),
        bounds_reconciled: false,
    };
    if !custom {
        let zero_count = reconcile_zero_buckets(h, other);
        h.zero_count += sign * zero_count;
    }
    h.count += sign * other.count;
    h.sum += sign * other.sum;
    let same_layout = Arc::ptr_eq(&h.layout, &other.layout) || h.layout == other.layout;
    if same_layout && !zero_bucket_covers_others(&h.layout) {
        add_counts(&mut h.positive, &other.positive, sign);
        add_counts(&mut h.negative, &other.negative, sign);
    } else if custom && h.layout.custom_bounds != other.layout.custom_bounds {
        combined.bounds_reconciled = true;
        add_mapped(h, other, sign);
    } else {
        add_sides(h, other, sign);
    }
    Ok(combined)
}

/// Whether a bucket lies within the zero bucket: those of the other operand do not count then.
fn zero_bucket_covers_others(layout: &Layout) -> bool {
    is_exponential(layout.schema)
        && layout.zero_threshold > 0.0
        && [&layout.positive_spans, &layout.negative_spans]
            .into_iter()
            .filter_map(|spans| spans.first())
            .any(|span| bound(i64::from(span.offset), layout.schema, &[]) <= layout.zero_threshold)
}

fn add_counts(counts: &mut [f64], others: &[f64], sign: f64) {
    for (count, other) in counts.iter_mut().zip(others) {
        *count += sign * other;
    }
}

/// Settles what is known of resets, and says whether the operands contradict each other.
pub(super) fn combine_hints(hint: &mut CounterResetHint, other: CounterResetHint) -> bool {
    use CounterResetHint::{Gauge, Unknown};
    match (*hint, other) {
        (a, b) if a == b => false,
        (Gauge, _)
        | (Unknown, CounterResetHint::CounterReset | CounterResetHint::NotCounterReset | Unknown) => false,
        (_, Gauge) => {
            *hint = Gauge;
            false
        }
        (_, Unknown) => {
            *hint = Unknown;
            false
        }
        _ => {
            *hint = Unknown;
            true
        }
    }
}

/// Widens the zero buckets until they are equal; returns the count of the other one, which itself stays as it is.
fn reconcile_zero_buckets(h: &mut FloatHistogram, other: &FloatHistogram) -> f64 {
    let (mut count, mut threshold) = (other.zero_count, other.layout.zero_threshold);
    // Thresholds only grow, and each round but the last ends at another bucket's bound.
    while threshold != h.layout.zero_threshold {
        if h.layout.zero_threshold > threshold {
            (count, threshold) = widened_zero_bucket(other, h.layout.zero_threshold);
        }
        if threshold > h.layout.zero_threshold {
            let (own_count, own_threshold) = widened_zero_bucket(h, threshold);
            h.zero_count = own_count;
            Arc::make_mut(&mut h.layout).zero_threshold = own_threshold;
            empty_covered_buckets(h);
        }
        if threshold.is_nan() || h.layout.zero_threshold.is_nan() {
            break;
        }
    }
    count
}

/// Count and threshold of the zero bucket once it reaches to `threshold`, or further where that is within a bucket
/// that holds something.
pub(super) fn widened_zero_bucket(h: &FloatHistogram, mut threshold: f64) -> (f64, f64) {
    let layout = &*h.layout;
    if threshold == layout.zero_threshold {
        return (h.zero_count, threshold);
    }
    'again: loop {
        let mut count = h.zero_count;
        for (is_negative, spans, counts) in [
            (false, &layout.positive_spans, &h.positive),
            (true, &layout.negative_spans, &h.negative),
        ] {
            for (index, observed) in indexed(spans, counts) {
                if bound(index.saturating_sub(1), layout.schema, &[]) >= threshold {
                    break;
                }
                count += observed;
                let upper = bound(index, layout.schema, &[]);
                if upper > threshold {
                    if observed != 0.0 {
                        threshold = upper;
                        if is_negative {
                            // The positive side has to be looked at again.
                            continue 'again;
                        }
                    }
                    break;
                }
            }
        }
        return (count, threshold);
    }
}

fn empty_covered_buckets(h: &mut FloatHistogram) {
    let layout = Arc::clone(&h.layout);
    for (spans, counts) in [
        (&layout.positive_spans, &mut h.positive),
        (&layout.negative_spans, &mut h.negative),
    ] {
        for (index, count) in sabre_tsdb::histogram::bucket_indexes(spans).zip(counts.iter_mut()) {
            if bound(index.saturating_sub(1), layout.schema, &[]) >= layout.zero_threshold {
                break;
            }
            *count = 0.0;
        }
    }
    compact(h);
}

/// Adds histograms of the same kind whose buckets differ.
fn add_sides(h: &mut FloatHistogram, other: &FloatHistogram, sign: f64) {
    let schema = h.layout.schema.min(other.layout.schema);
    let (own, others) = (Arc::clone(&h.layout), &*other.layout);
    let threshold = own.zero_threshold;
    let side = |spans_a: &[_], counts_a: &[f64], spans_b: &[_], counts_b: &[f64]| {
        let a = buckets_in((spans_a, counts_a), own.schema, schema);
        let b = buckets_in((spans_b, counts_b), others.schema, schema);
        let covered =
            |(index, _): &(i64, f64)| is_exponential(schema) && bound(*index, schema, &[]) <= threshold;
        let b: Indexed = b
            .into_iter()
            .skip_while(covered)
            .map(|(index, count)| (index, sign * count))
            .collect();
        into_spans(&union(&a, &b))
    };
    let (positive_spans, positive) = side(
        &own.positive_spans,
        &h.positive,
        &others.positive_spans,
        &other.positive,
    );
    let (negative_spans, negative) = side(
        &own.negative_spans,
        &h.negative,
        &others.negative_spans,
        &other.negative,
    );
    (h.positive, h.negative) = (positive, negative);
    let layout = Arc::make_mut(&mut h.layout);
    layout.schema = schema;
    (layout.positive_spans, layout.negative_spans) = (positive_spans, negative_spans);
}

fn buckets_in((spans, counts): (&[Span], &[f64]), from: i32, to: i32) -> Indexed {
    let buckets = indexed(spans, counts);
    if from == to {
        // They do not tell how many they are.
        let mut all = Vec::with_capacity(counts.len());
        all.extend(buckets);
        return all;
    }
    coarser(buckets, from, to)
}

/// Adds histograms with different custom bounds: the bounds that both have are left.
fn add_mapped(h: &mut FloatHistogram, other: &FloatHistogram, sign: f64) {
    let (own, others) = (Arc::clone(&h.layout), &*other.layout);
    let bounds = common_bounds(&own.custom_bounds, &others.custom_bounds);
    let mut counts = vec![0.0; bounds.len() + 1];
    let mut map = |spans: &[_], observed: &[f64], from: &[f64], sign: f64| {
        for (index, count) in indexed(spans, observed) {
            let upper = bound(index, own.schema, from);
            let at = bounds.partition_point(|bound| *bound < upper);
            if let Some(sum) = counts.get_mut(at) {
                *sum += sign * count;
            }
        }
    };
    map(&own.positive_spans, &h.positive, &own.custom_bounds, 1.0);
    map(
        &others.positive_spans,
        &other.positive,
        &others.custom_bounds,
        sign,
    );
    let filled: Indexed = (0i64..).zip(counts).filter(|(_, count)| *count != 0.0).collect();
    let (spans, positive) = into_spans(&filled);
    h.positive = positive;
    let layout = Arc::make_mut(&mut h.layout);
    layout.positive_spans = spans;
    layout.custom_bounds = bounds;
}

fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut b = b.iter().peekable();
    let mut common = Vec::new();
    for bound in a {
        while b.next_if(|other| *other < bound).is_some() {}
        if b.peek() == Some(&bound) {
            common.push(*bound);
        }
    }
    common
}
