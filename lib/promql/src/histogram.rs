//! Arithmetic of native histograms with float counts.
//!
//! Histograms of a chunk share their layout, and so do most that meet in a query: where two layouts are equal only the
//! counts are touched. Otherwise buckets are taken apart into indexes and counts and put together again.

mod add;
mod buckets;
mod compact;
mod dense;
mod quantile;
mod reset;
mod side;
mod text;

#[cfg(test)]
mod tests;

pub use sabre_tsdb::histogram::{CounterResetHint, FloatHistogram, Layout, Span};

pub(crate) use add::{IncompatibleSchemas, add, add_to_mean, in_schema, sub};
pub use buckets::{Bucket, buckets};
pub(crate) use compact::{Compactor, compact};
pub(crate) use dense::DenseSum;
pub(crate) use quantile::{NanEffect, fraction, quantile, variance};
pub(crate) use reset::is_reset;
pub use text::to_text;

/// The finest exponential schema.
const MAX_SCHEMA: i32 = 8;
/// The coarsest exponential schema.
const MIN_SCHEMA: i32 = -4;

/// Whether the schema is one of exponential buckets.
pub(crate) fn is_exponential(schema: i32) -> bool {
    (MIN_SCHEMA..=MAX_SCHEMA).contains(&schema)
}

/// Multiplies all counts and the sum.
pub(crate) fn scale(h: &mut FloatHistogram, factor: f64) {
    h.zero_count *= factor;
    h.count *= factor;
    h.sum *= factor;
    for count in h.positive.iter_mut().chain(&mut h.negative) {
        *count *= factor;
    }
    if factor < 0.0 {
        h.hint = CounterResetHint::Gauge;
    }
}

/// Divides all counts and the sum; by zero, the buckets go.
pub(crate) fn divide(h: &mut FloatHistogram, divisor: f64) {
    h.zero_count /= divisor;
    h.count /= divisor;
    h.sum /= divisor;
    if divisor == 0.0 {
        h.positive.clear();
        h.negative.clear();
        let layout = std::sync::Arc::make_mut(&mut h.layout);
        layout.positive_spans.clear();
        layout.negative_spans.clear();
        return;
    }
    for count in h.positive.iter_mut().chain(&mut h.negative) {
        *count /= divisor;
    }
    if divisor < 0.0 {
        h.hint = CounterResetHint::Gauge;
    }
}

/// Whether two histograms are the same to the bit; what is known of resets does not count.
pub(crate) fn equal(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
    let all_same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b));
    same(a.count, b.count)
        && same(a.sum, b.sum)
        && same(a.zero_count, b.zero_count)
        && (std::sync::Arc::ptr_eq(&a.layout, &b.layout) || a.layout == b.layout)
        && all_same(&a.positive, &b.positive)
        && all_same(&a.negative, &b.negative)
}

/// The memory that a histogram takes.
pub(crate) fn memory_bytes(h: &FloatHistogram) -> usize {
    size_of::<FloatHistogram>() + (h.positive.len() + h.negative.len()) * size_of::<f64>()
}
