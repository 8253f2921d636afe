//! Sums and means of native histograms over series.

use std::sync::Arc;

use crate::annotation::{Annotation, Annotations, HistogramOperation};
use crate::histogram::{self, CounterResetHint, FloatHistogram};
use crate::position::PosRange;

/// The histograms of a group.
#[derive(Debug)]
pub(super) struct HistogramFold {
    places: Vec<Place>,
}

/// The histograms of a group at a step.
#[derive(Clone, Debug, Default)]
struct Place {
    sum: Option<FloatHistogram>,
    seen: bool,
    /// Some have exponential buckets, others custom ones: there is no result.
    incompatible: bool,
    reset_seen: bool,
    no_reset_seen: bool,
}

impl HistogramFold {
    pub(super) fn new(steps: usize) -> HistogramFold {
        HistogramFold {
            places: vec![Place::default(); steps],
        }
    }

    /// Adds a histogram; for a mean, `mean_of` values there are with it.
    pub(super) fn add(
        &mut self,
        step: usize,
        histogram: &FloatHistogram,
        mean_of: Option<f64>,
        has_float: bool,
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
        if has_float && first {
            // Floats and histograms together have no result.
            return;
        }
        place.reset_seen |= histogram.hint == CounterResetHint::CounterReset;
        place.no_reset_seen |= histogram.hint == CounterResetHint::NotCounterReset;
        let Some(sum) = &mut place.sum else {
            if first {
                place.sum = Some(histogram.clone());
            }
            return;
        };
        let added = match mean_of {
            Some(count) => histogram::add_to_mean(sum, histogram, count),
            None => histogram::add(sum, histogram).map(|combined| combined.bounds_reconciled),
        };
        match added {
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
            let sum = place.sum.filter(|_| !incompatible).map(|mut sum| {
                histogram::compact(&mut sum);
                Arc::new(sum)
            });
            if put(step, sum, true) {
                annotations.add(Annotation::mixed_floats_histograms_in_aggregation(pos));
            } else if !incompatible && place.reset_seen && place.no_reset_seen {
                annotations.add(Annotation::reset_collision(HistogramOperation::Aggregation, pos));
            }
        }
    }
}
