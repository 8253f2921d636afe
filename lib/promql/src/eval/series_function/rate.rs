//! `rate` and its kin.

use std::sync::Arc;

use super::histograms::{histogram_change, last_two_histograms};
use super::{Computed, Input, RangeState, StepTimes};
use crate::annotation::{Annotation, Annotations};
use crate::eval::row::Cell;
use crate::histogram;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rate,
    Increase,
    Delta,
}

/// What a change is extrapolated from.
struct Sampled {
    first_t: i64,
    last_t: i64,
    count: usize,
}

/// Change over the range: that between the first and the last sample, carried on to where the range starts and ends if
/// these samples are near enough, else by half of the mean distance of samples.
pub(super) fn extrapolated(
    input: &Input<'_>,
    at: StepTimes,
    kind: Kind,
    state: &mut RangeState,
    annotations: &mut Annotations,
) -> Computed {
    if input.is_mixed(annotations) {
        return Ok(None);
    }
    let is_counter = kind != Kind::Delta;
    let (timestamps, values) = (input.view.timestamps, input.view.values);
    if let ([first_t, .., last_t], [first, .., last]) = (timestamps, values) {
        let mut change = last - first;
        if is_counter {
            for before in state.resets(input.view) {
                change += before;
            }
        }
        let sampled = Sampled {
            first_t: *first_t,
            last_t: *last_t,
            count: values.len(),
        };
        let start = (is_counter && change > 0.0 && *first >= 0.0).then(|| first / change);
        return Ok(Some(Cell::Float(
            change * factor(input, &sampled, at, kind, is_counter, start),
        )));
    }
    let histograms = input.view.histograms;
    let [(first_t, first), .., (last_t, _)] = histograms else {
        return Ok(None);
    };
    let Some(mut change) = histogram_change(input, is_counter, &mut state.compactor, annotations) else {
        return Ok(None);
    };
    let sampled = Sampled {
        first_t: *first_t,
        last_t: *last_t,
        count: histograms.len(),
    };
    let start = (is_counter && change.count > 0.0 && first.count >= 0.0).then(|| first.count / change.count);
    let factor = factor(input, &sampled, at, kind, is_counter, start);
    histogram::scale(&mut change, factor);
    Ok(Some(Cell::Histogram(Arc::new(change))))
}

/// By how much the change between samples is multiplied. `start` is how far before the first sample a counter would
/// have been zero, as a part of the sampled interval.
fn factor(
    input: &Input<'_>,
    sampled: &Sampled,
    at: StepTimes,
    kind: Kind,
    is_counter: bool,
    start: Option<f64>,
) -> f64 {
    let mut to_start = (sampled.first_t - at.start) as f64 / 1000.0;
    let mut to_end = (at.end - sampled.last_t) as f64 / 1000.0;
    let interval = (sampled.last_t - sampled.first_t) as f64 / 1000.0;
    let mean_distance = interval / (sampled.count - 1) as f64;
    let threshold = mean_distance * 1.1;
    if to_start >= threshold {
        to_start = mean_distance / 2.0;
    }
    if is_counter && let Some(part) = start {
        // A counter is never negative: before it was zero there was nothing.
        let to_zero = interval * part;
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = mean_distance / 2.0;
    }
    let factor = (interval + to_start + to_end) / interval;
    if kind == Kind::Rate {
        return factor / input.arguments.range_seconds;
    }
    factor
}

/// Change between the last two samples; for `irate` per second, and what a counter has reached after a reset.
pub(super) fn of_last_two(input: &Input<'_>, is_rate: bool, annotations: &mut Annotations) -> Computed {
    let view = input.view;
    if view.values.len() + view.histograms.len() < 2 {
        return Ok(None);
    }
    // The times of the newest two of all samples say of which kind they are.
    let mut newest: Vec<(i64, bool)> = Vec::with_capacity(4);
    newest.extend(view.timestamps.iter().rev().take(2).map(|t| (*t, false)));
    newest.extend(view.histograms.iter().rev().take(2).map(|(t, _)| (*t, true)));
    newest.sort_by_key(|(t, is_histogram)| std::cmp::Reverse((*t, *is_histogram)));
    let [
        (last_t, last_is_histogram),
        (previous_t, previous_is_histogram),
        ..,
    ] = newest.as_slice()
    else {
        return Ok(None);
    };
    let interval = last_t - previous_t;
    if interval == 0 {
        return Ok(None);
    }
    let seconds = interval as f64 / 1000.0;
    match (last_is_histogram, previous_is_histogram, view.values) {
        (false, false, [.., previous, last]) => {
            let is_reset = is_rate && last < previous;
            let mut change = if is_reset { *last } else { last - previous };
            if is_rate {
                change /= seconds;
            }
            Ok(Some(Cell::Float(change)))
        }
        (true, true, _) => {
            let change = last_two_histograms(input, is_rate, annotations);
            Ok(change.map(|mut change| {
                if is_rate {
                    histogram::divide(&mut change, seconds);
                }
                Cell::Histogram(Arc::new(change))
            }))
        }
        _ => {
            let pos = input.arguments.all_pos;
            annotations.add(Annotation::mixed_floats_histograms(input.metric(), pos));
            Ok(None)
        }
    }
}
