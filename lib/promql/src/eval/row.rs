//! A series with a place for each step.

use std::sync::Arc;

use sabre_model::Labels;
use sabre_tsdb::stale::{STALE_NAN, is_stale};

use crate::histogram::{FloatHistogram, memory_bytes};

/// What stands in a place without a float. It never leaves as a value: selectors take the marker for the end of the
/// series, and arithmetic makes another NaN of it.
pub(crate) const NOTHING: f64 = STALE_NAN;

/// Whether a place holds no float.
#[inline]
pub(crate) fn is_nothing(value: f64) -> bool {
    is_stale(value)
}

/// A series with a place for each step; a place holds a float, a histogram or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    /// Whether the metric's name goes at the end.
    pub(crate) drop_name: bool,
    pub(crate) floats: Vec<f64>,
    /// As many places as `floats`, if any holds a histogram.
    pub(crate) histograms: Option<Vec<Option<Arc<FloatHistogram>>>>,
}

/// What a place holds.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

impl Row {
    /// A series that holds nothing yet.
    pub(crate) fn empty(labels: Labels, steps: usize) -> Row {
        Row {
            labels,
            drop_name: false,
            floats: vec![NOTHING; steps],
            histograms: None,
        }
    }

    /// What the place `step` holds.
    #[inline]
    pub(crate) fn get(&self, step: usize) -> Option<Cell> {
        let float = self.floats.get(step).copied().unwrap_or(NOTHING);
        if !is_nothing(float) {
            return Some(Cell::Float(float));
        }
        self.histogram(step).map(|h| Cell::Histogram(Arc::clone(h)))
    }

    /// The histogram at `step`.
    #[inline]
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.as_ref()?.get(step)?.as_ref()
    }

    /// Whether the place holds something.
    #[inline]
    pub(crate) fn has(&self, step: usize) -> bool {
        self.floats.get(step).is_some_and(|float| !is_nothing(*float)) || self.histogram(step).is_some()
    }

    /// Puts something in a place.
    pub(crate) fn set(&mut self, step: usize, cell: Cell) {
        match cell {
            Cell::Float(value) => {
                if let Some(place) = self.floats.get_mut(step) {
                    *place = value;
                }
            }
            Cell::Histogram(histogram) => {
                let steps = self.floats.len();
                let histograms = self.histograms.get_or_insert_with(|| vec![None; steps]);
                if let Some(place) = histograms.get_mut(step) {
                    *place = Some(histogram);
                }
            }
        }
    }

    /// Empties a place.
    pub(crate) fn clear(&mut self, step: usize) {
        if let Some(place) = self.floats.get_mut(step) {
            *place = NOTHING;
        }
        if let Some(place) = self.histograms.as_mut().and_then(|all| all.get_mut(step)) {
            *place = None;
        }
    }

    /// Whether no place holds anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.floats.iter().all(|float| is_nothing(*float))
            && self
                .histograms
                .as_ref()
                .is_none_or(|histograms| histograms.iter().all(Option::is_none))
    }

    /// The same value at each of `steps` places, from a row of one.
    pub(crate) fn broadcast(self, steps: usize) -> Row {
        let value = self.floats.first().copied().unwrap_or(NOTHING);
        let histogram = self.histogram(0).cloned();
        Row {
            floats: vec![value; steps],
            histograms: histogram.map(|histogram| vec![Some(histogram); steps]),
            ..self
        }
    }

    /// The memory that holding it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let histograms = self.histograms.iter().flatten();
        let histogram_bytes: usize = histograms
            .map(|histogram| {
                size_of::<Option<Arc<FloatHistogram>>>()
                    + histogram.as_ref().map_or(0, |histogram| memory_bytes(histogram))
            })
            .sum();
        size_of::<Row>() + self.labels.heap_bytes() + self.floats.len() * size_of::<f64>() + histogram_bytes
    }
}
