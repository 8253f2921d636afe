//! Functions of single values.

use std::sync::Arc;

use super::Row;
use super::row::{NOTHING, is_nothing};
use crate::histogram;

/// Turns the sign of everything.
pub(super) fn negate(row: &mut Row) {
    for value in &mut row.floats {
        if !is_nothing(*value) {
            *value = -*value;
        }
    }
    for place in row.histograms.iter_mut().flatten().flatten() {
        let mut negative = histogram::FloatHistogram::clone(place);
        histogram::scale(&mut negative, -1.0);
        *place = Arc::new(negative);
    }
}

/// Maps the floats; histograms go.
pub(super) fn map_floats(row: &mut Row, f: impl Fn(usize, f64) -> f64) {
    row.histograms = None;
    for (step, value) in row.floats.iter_mut().enumerate() {
        if !is_nothing(*value) {
            *value = f(step, *value);
        }
    }
}

/// Maps the histograms to floats; the floats that were there go.
pub(super) fn map_histograms(row: &mut Row, mut f: impl FnMut(&histogram::FloatHistogram) -> f64) {
    row.floats.fill(NOTHING);
    let Some(histograms) = row.histograms.take() else {
        return;
    };
    for (value, histogram) in row.floats.iter_mut().zip(histograms) {
        if let Some(histogram) = histogram {
            *value = f(&histogram);
        }
    }
}
