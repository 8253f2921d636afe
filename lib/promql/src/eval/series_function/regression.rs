//! Straight lines through the samples of a range, and double exponential smoothing.

use super::{Computed, Input};
use crate::annotation::Annotations;
use crate::error::QueryError;
use crate::eval::row::Cell;
use crate::eval::window::View;
use crate::float::kahan_add;

/// Slope per second and value at `zero` of the line with the least squares.
fn line(view: &View<'_>, zero: i64) -> (f64, f64) {
    let first = view.values.first().copied().unwrap_or(f64::NAN);
    // NaN differs from everything.
    let constant = view.values.iter().skip(1).all(|value| *value == first);
    let mut n = 0.0;
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    for (t, y) in view.floats() {
        n += 1.0;
        let x = (t - zero) as f64 / 1e3;
        x_sum = kahan_add(x, x_sum.0, x_sum.1);
        y_sum = kahan_add(y, y_sum.0, y_sum.1);
        xy_sum = kahan_add(x * y, xy_sum.0, xy_sum.1);
        xx_sum = kahan_add(x * x, xx_sum.0, xx_sum.1);
    }
    if constant {
        if first.is_infinite() {
            return (f64::NAN, f64::NAN);
        }
        return (0.0, first);
    }
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(|(sum, lost)| sum + lost);
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Whether there are two floats; remarks on histograms beside floats.
fn has_line(input: &Input<'_>, annotations: &mut Annotations) -> bool {
    if !input.view.values.is_empty() {
        input.remark_on_histograms(annotations);
    }
    input.view.values.len() >= 2
}

pub(super) fn slope(input: &Input<'_>, annotations: &mut Annotations) -> Option<Cell> {
    if !has_line(input, annotations) {
        return None;
    }
    let zero = input.view.timestamps.first().copied()?;
    Some(Cell::Float(line(input.view, zero).0))
}

pub(super) fn predict(
    input: &Input<'_>,
    t: i64,
    seconds: f64,
    annotations: &mut Annotations,
) -> Option<Cell> {
    if !has_line(input, annotations) {
        return None;
    }
    let (slope, value) = line(input.view, t);
    Some(Cell::Float(slope * seconds + value))
}

pub(super) fn smoothed(
    input: &Input<'_>,
    smoothing: f64,
    trend: f64,
    annotations: &mut Annotations,
) -> Computed {
    for (name, short, factor) in [("smoothing", "sf", smoothing), ("trend", "tf", trend)] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(QueryError::evaluation(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}"
            )));
        }
    }
    if !has_line(input, annotations) {
        return Ok(None);
    }
    let (Some(first), Some(second)) = (input.view.values.first(), input.view.values.get(1)) else {
        return Ok(None);
    };
    let (mut before, mut level, mut slope) = (0.0, *first, second - first);
    for (i, value) in input.view.values.iter().enumerate().skip(1) {
        let scaled = smoothing * value;
        if i > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let carried = (1.0 - smoothing) * (level + slope);
        (before, level) = (level, scaled + carried);
    }
    Ok(Some(Cell::Float(level)))
}
