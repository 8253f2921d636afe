//! Sums and means of native histograms over series.

use std::sync::Arc;

use crate::annotation::{Annotation, Annotations, HistogramOperation};
use crate::histogram::{self, CounterResetHint, DenseSum, FloatHistogram, IncompatibleSchemas};
use crate::position::PosRange;

/// The histograms of a group.
#[derive(Debug)]
pub(super) struct HistogramFold {
    places: Vec<Place>,
    /// The memory that the sums take.
    memory_bytes: usize,
}

/// The histograms of a group at a step.
#[derive(Clone, Debug, Default)]
struct Place {
    sum: Option<Sum>,
    seen: bool,
    /// Some have exponential buckets, others custom ones: there is no result.
    incompatible: bool,
    reset_seen: bool,
    no_reset_seen: bool,
}

/// What histograms come to.
#[derive(Clone, Debug)]
enum Sum {
    /// As long as they are of a kind.
    Dense(DenseSum),
    Any(FloatHistogram),
}

/// A histogram to be added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added<'h> {
    pub(super) histogram: &'h FloatHistogram,
    /// For a mean, how many values there are with it.
    pub(super) mean_of: Option<f64>,
    /// Whether the group has a float at the step.
    pub(super) has_float: bool,
}

impl Sum {
    fn first(added: Added<'_>) -> Sum {
        if added.mean_of.is_none()
            && let Some(dense) = DenseSum::of(added.histogram)
        {
            return Sum::Dense(dense);
        }
        Sum::Any(added.histogram.clone())
    }

    /// Says whether custom bounds differed.
    fn add(&mut self, added: Added<'_>) -> Result<bool, IncompatibleSchemas> {
        if let Sum::Dense(dense) = self {
            if added.mean_of.is_none() && dense.add(added.histogram) {
                return Ok(false);
            }
            *self = Sum::Any(dense.to_histogram());
        }
        let Sum::Any(sum) = self else {
            return Ok(false);
        };
        match added.mean_of {
            Some(count) => histogram::add_to_mean(sum, added.histogram, count),
            None => histogram::add(sum, added.histogram).map(|combined| combined.bounds_reconciled),
        }
    }

    fn finish(self) -> FloatHistogram {
        match self {
            Sum::Dense(dense) => dense.to_histogram(),
            Sum::Any(mut sum) => {
                histogram::compact(&mut sum);
                sum
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Sum::Dense(dense) => dense.memory_bytes(),
            Sum::Any(sum) => histogram::memory_bytes(sum),
        }
    }
}

impl HistogramFold {
    pub(super) fn new(steps: usize) -> HistogramFold {
        HistogramFold {
            places: vec![Place::default(); steps],
            memory_bytes: steps * size_of::<Place>(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Adds a histogram.
    pub(super) fn add(
        &mut self,
        step: usize,
        added: Added<'_>,
        (metric, pos): (&str, PosRange),
        annotations: &mut Annotations,
    ) {
        let Some(place) = self.places.get_mut(step) else {
            return;
        };
        if place.incompatible {
            return;
        }
        let first = !place.seen;
        place.seen = true;
        if added.has_float && first {
            // Floats and histograms together have no result.
            return;
        }
        place.reset_seen |= added.histogram.hint == CounterResetHint::CounterReset;
        place.no_reset_seen |= added.histogram.hint == CounterResetHint::NotCounterReset;
        let Some(sum) = &mut place.sum else {
            if first {
                let sum = place.sum.insert(Sum::first(added));
                self.memory_bytes += sum.memory_bytes();
            }
            return;
        };
        let before = sum.memory_bytes();
        match sum.add(added) {
            Ok(false) => {}
            Ok(true) => annotations.add(Annotation::bounds_reconciled(
                HistogramOperation::Aggregation,
                pos,
            )),
            Err(_) => {
                place.incompatible = true;
                annotations.add(Annotation::mixed_exponential_custom(metric, pos));
            }
        }
        self.memory_bytes += sum.memory_bytes().saturating_sub(before);
    }

    /// Hands out what became of each step with histograms; `put` says whether the step has floats as well.
    pub(super) fn finish(
        self,
        pos: PosRange,
        annotations: &mut Annotations,
        mut put: impl FnMut(usize, Option<Arc<FloatHistogram>>, bool) -> bool,
    ) {
        for (step, place) in self.places.into_iter().enumerate() {
            if !place.seen {
                continue;
            }
            let incompatible = place.incompatible;
            let sum = place.sum.filter(|_| !incompatible);
            let sum = sum.map(|sum| Arc::new(sum.finish()));
            if put(step, sum, true) {
                annotations.add(Annotation::mixed_floats_histograms_in_aggregation(pos));
            } else if !incompatible && place.reset_seen && place.no_reset_seen {
                annotations.add(Annotation::reset_collision(HistogramOperation::Aggregation, pos));
            }
        }
    }
}
