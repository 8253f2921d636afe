//! Functions that look at all samples of a range.

use std::sync::Arc;

use super::histograms::total;
use super::{Computed, Input};
use crate::annotation::{Annotation, Annotations};
use crate::eval::row::Cell;
use crate::eval::window::View;
use crate::float::{kahan_add, quantile_of};
use crate::histogram::{self, FloatHistogram};

pub(super) fn sum(input: &Input<'_>, annotations: &mut Annotations) -> Computed {
    if input.is_mixed(annotations) {
        return Ok(None);
    }
    if input.view.values.is_empty() {
        let sum = total(input, false, annotations);
        return Ok(sum.map(|sum| Cell::Histogram(Arc::new(sum))));
    }
    let (mut sum, mut lost) = (0.0, 0.0);
    for value in input.view.values {
        (sum, lost) = kahan_add(*value, sum, lost);
    }
    Ok(Some(Cell::Float(if sum.is_infinite() {
        sum
    } else {
        sum + lost
    })))
}

pub(super) fn average(input: &Input<'_>, annotations: &mut Annotations) -> Computed {
    if input.is_mixed(annotations) {
        return Ok(None);
    }
    if input.view.values.is_empty() {
        let mean = total(input, true, annotations);
        return Ok(mean.map(|mean| Cell::Histogram(Arc::new(mean))));
    }
    Ok(Some(Cell::Float(mean(input.view.values))))
}

/// The mean: the sum divided, unless the sum is out of range, from where on the mean itself is carried on.
fn mean(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else {
        return f64::NAN;
    };
    let (mut sum, mut lost, mut count) = (*first, 0.0, 1.0);
    let mut carried: Option<f64> = None;
    for value in rest {
        count += 1.0;
        if carried.is_none() {
            let (new_sum, new_lost) = kahan_add(*value, sum, lost);
            if !new_sum.is_infinite() {
                (sum, lost) = (new_sum, new_lost);
                continue;
            }
            carried = Some(sum / (count - 1.0));
            lost /= count - 1.0;
        }
        let part = (count - 1.0) / count;
        let before = carried.unwrap_or_default();
        let (new_mean, new_lost) = kahan_add(value / count, part * before, part * lost);
        carried = Some(new_mean);
        lost = new_lost;
    }
    match carried {
        Some(mean) => mean + lost,
        None => sum / count + lost / count,
    }
}

pub(super) fn variance(input: &Input<'_>, annotations: &mut Annotations) -> Option<f64> {
    if input.view.values.is_empty() {
        return None;
    }
    input.remark_on_histograms(annotations);
    let mut count = 0.0;
    let (mut mean, mut lost_mean) = (0.0, 0.0);
    let (mut sum, mut lost_sum) = (0.0, 0.0);
    for value in input.view.values {
        count += 1.0;
        let delta = value - (mean + lost_mean);
        (mean, lost_mean) = kahan_add(delta / count, mean, lost_mean);
        (sum, lost_sum) = kahan_add(delta * (value - (mean + lost_mean)), sum, lost_sum);
    }
    Some((sum + lost_sum) / count)
}

pub(super) fn quantile(input: &Input<'_>, q: f64, annotations: &mut Annotations) -> Option<Cell> {
    if input.view.values.is_empty() {
        return None;
    }
    if !(0.0..=1.0).contains(&q) {
        annotations.add(Annotation::invalid_quantile(q, input.arguments.pos_of(0)));
    }
    input.remark_on_histograms(annotations);
    Some(Cell::Float(quantile_of(q, &mut input.view.values.to_vec())))
}

/// The median of the distances from the median.
pub(super) fn mad(input: &Input<'_>, annotations: &mut Annotations) -> Option<Cell> {
    if input.view.values.is_empty() {
        return None;
    }
    input.remark_on_histograms(annotations);
    let median = quantile_of(0.5, &mut input.view.values.to_vec());
    let mut distances: Vec<f64> = input
        .view
        .values
        .iter()
        .map(|value| (value - median).abs())
        .collect();
    Some(Cell::Float(quantile_of(0.5, &mut distances)))
}

pub(super) fn first(view: &View<'_>) -> Option<Cell> {
    let float = view.timestamps.first().zip(view.values.first());
    match (float, view.histograms.first()) {
        (Some((t, value)), Some((histogram_t, _))) if t < histogram_t => Some(Cell::Float(*value)),
        (_, Some((_, histogram))) => Some(Cell::Histogram(Arc::clone(histogram))),
        (float, None) => float.map(|(_, value)| Cell::Float(*value)),
    }
}

pub(super) fn last(view: &View<'_>) -> Option<Cell> {
    let float = view.timestamps.last().zip(view.values.last());
    match (float, view.histograms.last()) {
        (Some((t, value)), Some((histogram_t, _))) if histogram_t < t => Some(Cell::Float(*value)),
        (_, Some((_, histogram))) => Some(Cell::Histogram(Arc::clone(histogram))),
        (float, None) => float.map(|(_, value)| Cell::Float(*value)),
    }
}

fn seconds(t: Option<i64>) -> Option<Cell> {
    t.map(|t| Cell::Float(t as f64 / 1000.0))
}

pub(super) fn time_of_first(view: &View<'_>) -> Option<Cell> {
    let times = [
        view.timestamps.first().copied(),
        view.histograms.first().map(|(t, _)| *t),
    ];
    seconds(times.into_iter().flatten().min())
}

pub(super) fn time_of_last(view: &View<'_>) -> Option<Cell> {
    let times = [
        view.timestamps.last().copied(),
        view.histograms.last().map(|(t, _)| *t),
    ];
    seconds(times.into_iter().flatten().max())
}

/// The time of the last of the extreme values.
pub(super) fn time_of_extreme(
    input: &Input<'_>,
    greatest: bool,
    annotations: &mut Annotations,
) -> Option<Cell> {
    let mut floats = input.view.floats();
    let (mut extreme_t, mut extreme) = floats.next()?;
    input.remark_on_histograms(annotations);
    for (t, value) in input.view.floats() {
        let beats = if greatest {
            value >= extreme
        } else {
            value <= extreme
        };
        if beats || extreme.is_nan() {
            (extreme_t, extreme) = (t, value);
        }
    }
    seconds(Some(extreme_t))
}

/// A sample of either kind.
#[derive(Clone, Copy)]
enum Either<'v> {
    Float(f64),
    Histogram(&'v FloatHistogram),
}

/// Counts neighbouring samples that differ in the way asked for; a float and a histogram always do.
fn count_pairs(
    view: &View<'_>,
    floats: impl Fn(f64, f64) -> bool,
    histograms: impl Fn(&FloatHistogram, &FloatHistogram) -> bool,
) -> usize {
    if view.histograms.is_empty() {
        let pairs = view.values.iter().zip(view.values.iter().skip(1));
        return pairs
            .filter(|(previous, current)| floats(**previous, **current))
            .count();
    }
    let mut all: Vec<(i64, Either<'_>)> = Vec::with_capacity(view.values.len() + view.histograms.len());
    all.extend(view.floats().map(|(t, value)| (t, Either::Float(value))));
    all.extend(view.histograms.iter().map(|(t, h)| (*t, Either::Histogram(h))));
    all.sort_by_key(|(t, _)| *t);
    let pairs = all.iter().zip(all.iter().skip(1));
    pairs
        .filter(|((_, previous), (_, current))| match (previous, current) {
            (Either::Float(previous), Either::Float(current)) => floats(*previous, *current),
            (Either::Histogram(previous), Either::Histogram(current)) => histograms(previous, current),
            _ => true,
        })
        .count()
}

pub(super) fn changes(view: &View<'_>) -> usize {
    count_pairs(
        view,
        |previous, current| current != previous && !(current.is_nan() && previous.is_nan()),
        |previous, current| !histogram::equal(current, previous),
    )
}

pub(super) fn resets(view: &View<'_>) -> usize {
    count_pairs(
        view,
        |previous, current| current < previous,
        |previous, current| histogram::is_reset(current, previous),
    )
}
