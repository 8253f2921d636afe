//! `anchored` and `smoothed` selectors: their ranges begin and end at a sample before, or at values between samples.

use super::row::{Cell, NOTHING, Row};
use super::window::View;
use crate::ast::VectorSelector;
use crate::error::{Evaluated, QueryError};
use crate::function::Function;

/// How a range is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// It begins with the value of the last sample before it.
    Anchored,
    /// It begins and ends with values on the lines between samples.
    Smoothed,
}

const ANCHORED: [Function; 5] = [
    Function::Changes,
    Function::Delta,
    Function::Increase,
    Function::Rate,
    Function::Resets,
];
const SMOOTHED: [Function; 3] = [Function::Delta, Function::Increase, Function::Rate];

impl Extension {
    pub(super) fn of(selector: &VectorSelector) -> Option<Extension> {
        match (selector.anchored, selector.smoothed) {
            (true, _) => Some(Extension::Anchored),
            (_, true) => Some(Extension::Smoothed),
            _ => None,
        }
    }

    /// Fails for functions that are not made for it.
    pub(super) fn check(self, function: Function) -> Evaluated<()> {
        let (name, functions) = match self {
            Extension::Anchored => ("anchored", &ANCHORED[..]),
            Extension::Smoothed => ("smoothed", &SMOOTHED[..]),
        };
        if functions.contains(&function) {
            return Ok(());
        }
        let names: Vec<&str> = functions.iter().map(|function| function.name()).collect();
        let (names, function) = (names.join(", "), function.name());
        Err(QueryError::evaluation(format!(
            "{name} modifier can only be used with: {names} - not with {function}"
        )))
    }

    /// How far behind the end of a range samples are looked at, with this lookback.
    pub(super) fn ahead(self, lookback: i64) -> i64 {
        if self == Extension::Smoothed { lookback } else { 0 }
    }
}

/// Fails where there are histograms.
pub(super) fn check_floats(view: &View<'_>) -> Evaluated<()> {
    if view.histograms.is_empty() {
        return Ok(());
    }
    Err(QueryError::evaluation(
        "smoothed and anchored modifiers do not work with native histograms",
    ))
}

/// The value at `t` on the line between two samples. A counter that fell began anew: at the start of a range it is
/// taken to have been zero before, at the end to have gone on.
fn between(a: (i64, f64), b: (i64, f64), t: i64, is_counter: bool, at_start: bool) -> f64 {
    let (mut low, mut high) = (a.1, b.1);
    if is_counter && high < low {
        if at_start {
            low = 0.0;
        } else {
            high += low;
        }
    }
    low + (high - low) * (t - a.0) as f64 / (b.0 - a.0) as f64
}

/// The samples of a window by their index.
struct Samples<'v>(&'v View<'v>);

impl Samples<'_> {
    fn get(&self, at: usize) -> (i64, f64) {
        let t = self.0.timestamps.get(at).copied().unwrap_or_default();
        (t, self.0.values.get(at).copied().unwrap_or(f64::NAN))
    }

    /// The last of the samples up to `start`, or the first one; the last sample of the window does not count.
    fn first(&self, start: i64) -> usize {
        let inner = self.0.timestamps.split_last().map_or(&[][..], |(_, inner)| inner);
        inner.partition_point(|t| *t <= start).saturating_sub(1)
    }

    /// The first of the samples from `end` on, or the last one.
    fn last(&self, end: i64) -> usize {
        let inner = self.0.timestamps.split_last().map_or(&[][..], |(_, inner)| inner);
        inner.partition_point(|t| *t < end)
    }
}

/// A range with the values at its ends.
struct Bounded {
    left: f64,
    right: f64,
    /// The samples between its ends.
    inner: std::ops::Range<usize>,
}

/// Finds the values at the ends of a range; `None` if no sample lies behind its start.
fn bounded(
    extension: Extension,
    view: &View<'_>,
    (start, end): (i64, i64),
    is_counter: bool,
) -> Option<Bounded> {
    let samples = Samples(view);
    let smoothed = extension == Extension::Smoothed;
    let first = samples.first(start);
    let last = if smoothed {
        samples.last(end)
    } else {
        view.timestamps.len().checked_sub(1)?
    };
    let (first_sample, last_sample) = (samples.get(first), samples.get(last));
    if view.timestamps.is_empty() || last_sample.0 <= start {
        return None;
    }
    let left = if smoothed && first_sample.0 < start {
        between(first_sample, samples.get(first + 1), start, is_counter, true)
    } else {
        first_sample.1
    };
    let right = match last.checked_sub(1) {
        Some(before) if smoothed && last_sample.0 > end => {
            between(samples.get(before), last_sample, end, is_counter, false)
        }
        _ => last_sample.1,
    };
    // What lies on the bounds is in `left` and `right`.
    let inner_first = first + usize::from(first_sample.0 <= start);
    let inner_end = (last + 1) - usize::from(last_sample.0 >= end);
    Some(Bounded {
        left,
        right,
        inner: inner_first..inner_end,
    })
}

/// The change over a range, for `rate` per second.
pub(super) fn change(
    function: Function,
    extension: Extension,
    view: &View<'_>,
    bounds: (i64, i64),
    range_seconds: f64,
) -> Option<Cell> {
    let is_counter = function != Function::Delta;
    let Bounded { left, right, inner } = bounded(extension, view, bounds, is_counter)?;
    let mut change = right - left;
    if is_counter {
        change += before_resets(left, view.values.get(inner).unwrap_or_default(), right);
    }
    if function == Function::Rate {
        change /= range_seconds;
    }
    Some(Cell::Float(change))
}

/// The samples of a range that is a result by itself: a value at either end, and those between.
pub(super) fn whole_range(
    extension: Extension,
    view: &View<'_>,
    bounds: (i64, i64),
) -> Evaluated<Vec<(i64, f64)>> {
    if !view.histograms.is_empty() {
        // Prometheus says so of smoothed ranges too.
        return Err(QueryError::evaluation(
            "anchored modifier is not supported with histograms",
        ));
    }
    let Some(Bounded { left, right, inner }) = bounded(extension, view, bounds, false) else {
        return Ok(Vec::new());
    };
    let times = view.timestamps.get(inner.clone()).unwrap_or_default();
    let values = view.values.get(inner).unwrap_or_default();
    let inner = times.iter().copied().zip(values.iter().copied());
    let mut samples = vec![(bounds.0, left)];
    samples.extend(inner);
    samples.push((bounds.1, right));
    Ok(samples)
}

/// The sum of the values before a counter began anew.
fn before_resets(left: f64, inner: &[f64], right: f64) -> f64 {
    let mut sum = 0.0;
    let mut previous = left;
    for value in inner.iter().chain([&right]) {
        if *value < previous {
            sum += previous;
        }
        previous = *value;
    }
    sum
}

/// The part of a window that `changes` and `resets` look at: from the last sample before the range on.
pub(super) fn anchored<'v>(view: &View<'v>, start: i64) -> Option<View<'v>> {
    if view.timestamps.last().is_none_or(|last| *last <= start) {
        return None;
    }
    let first = Samples(view).first(start);
    Some(View {
        timestamps: view.timestamps.get(first..).unwrap_or_default(),
        values: view.values.get(first..).unwrap_or_default(),
        histograms: view.histograms,
        first: view.first + first as u64,
    })
}

/// Puts the value of a smoothed series at `t` into a place: a sample, or the line between two, or the one before.
pub(super) fn set_smoothed(row: &mut Row, step: usize, view: &View<'_>, t: i64) {
    let at = view.timestamps.partition_point(|sample| *sample < t);
    let samples = Samples(view);
    let value = match (view.timestamps.get(at), at.checked_sub(1)) {
        (Some(found), _) if *found == t => samples.get(at).1,
        (Some(_), Some(before)) => between(samples.get(before), samples.get(at), t, false, false),
        (None, Some(before)) => samples.get(before).1,
        (_, None) => NOTHING,
    };
    row.set(step, Cell::Float(value));
}
