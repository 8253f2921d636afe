//! A sample as it was read, before a histogram is made of it.

use std::sync::Arc;

use super::read::Progress;
use super::state::State;
use crate::bits::Field;
use crate::histogram::{CounterResetHint, FloatHistogram, Histogram, Layout};
use crate::stale::is_stale;

/// The sample of integer counts that was read last: for who adds histograms up and does not need each of them.
#[derive(Debug, Clone, Copy)]
pub struct HistogramSample<'a> {
    progress: &'a Progress<i64>,
    state: &'a State<i64>,
}

impl<'a> HistogramSample<'a> {
    pub(super) fn of(progress: &'a Progress<i64>) -> Option<Self> {
        let state = progress.state.as_ref()?;
        Some(Self { progress, state })
    }

    /// Its time in milliseconds.
    #[inline]
    pub fn t(self) -> i64 {
        self.state.t
    }

    /// Whether it is the first of its chunk.
    #[inline]
    pub fn is_first(self) -> bool {
        self.progress.read <= 1
    }

    /// Whether it is the marker of the end of a series, which has nothing but a time.
    #[inline]
    pub fn is_stale(self) -> bool {
        is_stale(self.sum())
    }

    /// What is known of its relation to the sample before.
    #[inline]
    pub fn hint(self) -> CounterResetHint {
        self.progress.hint(self.is_first())
    }

    /// Which buckets it has: those of all samples of the chunk.
    #[inline]
    pub fn layout(self) -> &'a Arc<Layout> {
        &self.progress.layout
    }

    /// Sum of the observations.
    #[inline]
    pub fn sum(self) -> f64 {
        self.state.sum.value()
    }

    /// Number of observations.
    #[inline]
    pub fn count(self) -> u64 {
        self.state.count.value()
    }

    /// Number of observations within the zero threshold.
    #[inline]
    pub fn zero_count(self) -> u64 {
        self.state.zero_count.value()
    }

    /// The buckets of the positive side and of the negative side, each as the difference to the bucket before on its
    /// side.
    #[inline]
    pub fn deltas(
        self,
    ) -> (
        impl Iterator<Item = i64> + Clone + 'a,
        impl Iterator<Item = i64> + Clone + 'a,
    ) {
        let State {
            positive, negative, ..
        } = self.state;
        (
            positive.iter().map(Field::value),
            negative.iter().map(Field::value),
        )
    }

    /// As [`Self::deltas`], of the sample before this one in the chunk, a stale one apart. The first one has none before
    /// it, and gives its own.
    pub fn deltas_before(
        self,
    ) -> (
        impl Iterator<Item = i64> + Clone + 'a,
        impl Iterator<Item = i64> + Clone + 'a,
    ) {
        let State {
            positive, negative, ..
        } = self.state;
        // A stale marker does not move the buckets.
        let has_moved = !self.is_stale();
        (
            positive.iter().map(move |bucket| bucket.before(has_moved)),
            negative.iter().map(move |bucket| bucket.before(has_moved)),
        )
    }

    /// Makes a histogram of it as [`Histogram::to_float`] would, in one that is there already.
    pub fn to_float_into(self, histogram: &mut FloatHistogram) {
        if self.progress.layout.has_custom_buckets() {
            let mut integers = Histogram::default();
            self.progress.fill(self.state, self.is_first(), &mut integers);
            integers.to_float_into(histogram);
        } else {
            self.progress.fill_floats(self.state, self.is_first(), histogram);
        }
    }
}
