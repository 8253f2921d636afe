//! Native histograms, as samples: with integer counts and with float counts.

mod layout;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use layout::{CUSTOM_BUCKETS_SCHEMA, Layout, Span, bucket_count, bucket_indexes};

use crate::stale::{STALE_NAN, is_stale};

/// What is known of a histogram's relation to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CounterResetHint {
    /// Nothing: it has to be compared with the one before.
    #[default]
    Unknown,
    /// The counts began anew.
    CounterReset,
    /// The counts went on.
    NotCounterReset,
    /// The counts may fall at any time: resets mean nothing.
    Gauge,
}

/// A type that counts observations of a bucket: `i64` or `f64`.
pub trait Bucket: Copy + Default + PartialOrd + std::fmt::Debug + Send + Sync + 'static {
    /// The type of the count of all observations.
    type Count: Copy + Default + PartialOrd + std::fmt::Debug + Send + Sync + 'static;

    /// The counts of the buckets of one side.
    fn absolute(buckets: impl Iterator<Item = Self>) -> impl Iterator<Item = Self>;
    /// The buckets of one side that have the counts `absolute`.
    fn from_absolute(absolute: Vec<Self>) -> Vec<Self>;
}

/// Given as the difference to the bucket before on the same side.
impl Bucket for i64 {
    type Count = u64;

    fn absolute(buckets: impl Iterator<Item = Self>) -> impl Iterator<Item = Self> {
        buckets.scan(0i64, |count, delta| {
            *count = count.wrapping_add(delta);
            Some(*count)
        })
    }

    fn from_absolute(mut absolute: Vec<Self>) -> Vec<Self> {
        let mut before = 0i64;
        for count in &mut absolute {
            before = std::mem::replace(count, count.wrapping_sub(before));
        }
        absolute
    }
}

/// Given as it is.
impl Bucket for f64 {
    type Count = f64;

    fn absolute(buckets: impl Iterator<Item = Self>) -> impl Iterator<Item = Self> {
        buckets
    }

    fn from_absolute(absolute: Vec<Self>) -> Vec<Self> {
        absolute
    }
}

/// A native histogram.
///
/// The buckets of a side lie one behind the other, in the order of the spans of the layout, which the
/// histograms of a chunk share.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeHistogram<B: Bucket> {
    /// Relation to the histogram before.
    pub hint: CounterResetHint,
    /// Which buckets there are.
    pub layout: Arc<Layout>,
    /// Number of observations.
    pub count: B::Count,
    /// Number of observations within the zero threshold.
    pub zero_count: B::Count,
    /// Sum of the observations.
    pub sum: f64,
    /// Buckets of the positive side.
    pub positive: Vec<B>,
    /// Buckets of the negative side, from zero outwards.
    pub negative: Vec<B>,
}

/// A histogram with integer counts; each bucket holds the difference to the bucket before on its side.
pub type Histogram = NativeHistogram<i64>;

/// A histogram with float counts; each bucket holds its own count.
pub type FloatHistogram = NativeHistogram<f64>;

impl<B: Bucket> NativeHistogram<B> {
    /// The marker of the end of a series: empty but for the sum.
    pub fn stale() -> Self {
        Self {
            sum: STALE_NAN,
            ..Self::default()
        }
    }

    /// Whether it is the marker of the end of a series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Becomes as `other`, in the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        self.hint = other.hint;
        if !Arc::ptr_eq(&self.layout, &other.layout) {
            self.layout = Arc::clone(&other.layout);
        }
        (self.count, self.zero_count, self.sum) = (other.count, other.zero_count, other.sum);
        self.positive.clear();
        self.positive.extend_from_slice(&other.positive);
        self.negative.clear();
        self.negative.extend_from_slice(&other.negative);
    }
}

impl<B: Bucket> Default for NativeHistogram<B> {
    fn default() -> Self {
        Self {
            hint: CounterResetHint::Unknown,
            layout: Layout::empty(),
            count: B::Count::default(),
            zero_count: B::Count::default(),
            sum: 0.0,
            positive: Vec::new(),
            negative: Vec::new(),
        }
    }
}

impl Histogram {
    /// The same with float counts, the hint kept.
    ///
    /// Histograms with custom buckets have neither zero bucket nor negative side: these become zero and empty.
    pub fn to_float(&self) -> FloatHistogram {
        let mut float = FloatHistogram::default();
        self.to_float_into(&mut float);
        float
    }

    /// As [`Self::to_float`], into one that is there already, whose memory is used again.
    pub fn to_float_into(&self, float: &mut FloatHistogram) {
        let custom = self.layout.has_custom_buckets();
        float.hint = self.hint;
        if custom && (self.layout.zero_threshold != 0.0 || !self.layout.negative_spans.is_empty()) {
            float.layout = Arc::new(Layout {
                zero_threshold: 0.0,
                negative_spans: Vec::new(),
                ..Layout::clone(&self.layout)
            });
        } else if !Arc::ptr_eq(&float.layout, &self.layout) {
            float.layout = Arc::clone(&self.layout);
        }
        float.count = self.count as f64;
        float.zero_count = if custom { 0.0 } else { self.zero_count as f64 };
        float.sum = self.sum;
        float_counts(&self.positive, &mut float.positive);
        float_counts(if custom { &[] } else { &self.negative }, &mut float.negative);
    }
}

impl From<&Histogram> for FloatHistogram {
    fn from(histogram: &Histogram) -> Self {
        histogram.to_float()
    }
}

fn float_counts(deltas: &[i64], counts: &mut Vec<f64>) {
    let mut count = 0i64;
    counts.clear();
    counts.extend(deltas.iter().map(|delta| {
        count = count.wrapping_add(*delta);
        count as f64
    }));
}
