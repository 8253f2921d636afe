//! Which buckets a native histogram has.

use std::sync::{Arc, LazyLock};

/// The schema of histograms whose bounds are given one by one.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A run of neighbouring buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Gap to the end of the span before; for the first span the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// The buckets of a native histogram, and what they stand for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    /// −4 to 8 for exponential buckets, [`CUSTOM_BUCKETS_SCHEMA`] for given bounds.
    pub schema: i32,
    /// Width of the zero bucket to either side.
    pub zero_threshold: f64,
    /// Buckets of the positive side.
    pub positive_spans: Vec<Span>,
    /// Buckets of the negative side.
    pub negative_spans: Vec<Span>,
    /// Upper bounds, ascending, without the last one of +Inf: only with [`CUSTOM_BUCKETS_SCHEMA`].
    pub custom_bounds: Vec<f64>,
}

impl Layout {
    /// The layout without any bucket, shared by all who ask.
    pub fn empty() -> Arc<Self> {
        static EMPTY: LazyLock<Arc<Layout>> = LazyLock::new(Arc::default);
        Arc::clone(&EMPTY)
    }

    /// Whether both are the same to the bit; zeros of different sign are equal, but not the same.
    pub fn is_same(&self, other: &Layout) -> bool {
        let bounds = self.custom_bounds.iter().zip(&other.custom_bounds);
        self == other
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && bounds
                .into_iter()
                .all(|(own, others)| own.to_bits() == others.to_bits())
    }

    /// Whether the bounds are given one by one.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}

/// Number of buckets that `spans` announce.
pub fn bucket_count(spans: &[Span]) -> u64 {
    spans
        .iter()
        .map(|span| u64::from(span.length))
        .fold(0, u64::saturating_add)
}

/// The index of every bucket of `spans`, in their order.
///
/// As many come as the spans announce, which nothing bounds in spans from outside: zip with the buckets.
pub fn bucket_indexes(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    spans
        .iter()
        .scan(0i64, |end, span| {
            let start = end.saturating_add(i64::from(span.offset));
            *end = start.saturating_add(i64::from(span.length));
            Some(start..*end)
        })
        .flatten()
}
