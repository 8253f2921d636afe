//! Accumulators of aggregations: one for each group, with a place for each step.

mod histograms;

use sabre_model::Labels;

use self::histograms::{Added, HistogramFold};
use super::Row;
use super::aggregate::Parameter;
use super::labels::metric_name;
use super::row::{Cell, NOTHING, is_nothing};
use crate::annotation::{Annotation, Annotations};
use crate::ast::AggregateOp;
use crate::error::Evaluated;
use crate::float::{kahan_add, quantile_of};
use crate::position::PosRange;

/// What a group has so far. Places of `value` without a series hold [`NOTHING`].
#[derive(Debug)]
pub(super) struct Fold {
    op: AggregateOp,
    labels: Labels,
    drop_name: bool,
    /// The sum, the extreme, the count or the sum of squares.
    value: Vec<f64>,
    /// What rounding lost of the sum, or the mean of the values.
    second: Vec<f64>,
    /// The number of values, where it is needed beside the sum.
    count: Vec<f64>,
    /// The mean where the sum is out of range.
    mean: Option<Vec<f64>>,
    /// All values of each step, for quantiles.
    values: Vec<Vec<f64>>,
    histograms: Option<HistogramFold>,
}

impl Fold {
    pub(super) fn new(op: AggregateOp, labels: Labels, steps: usize) -> Fold {
        use AggregateOp::{Avg, Quantile, Stddev, Stdvar, Sum};
        let places = |wanted: bool| vec![0.0; if wanted { steps } else { 0 }];
        Fold {
            op,
            labels,
            drop_name: false,
            value: vec![NOTHING; steps],
            second: places(matches!(op, Sum | Avg | Stddev | Stdvar)),
            count: places(matches!(op, Avg | Stddev | Stdvar)),
            mean: None,
            values: if op == Quantile {
                vec![Vec::new(); steps]
            } else {
                Vec::new()
            },
            histograms: None,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let places = self.value.len() + self.second.len() + self.count.len();
        size_of::<Fold>() + places * size_of::<f64>() + self.values.len() * size_of::<Vec<f64>>()
    }

    /// The memory that histograms take, which grows as they come.
    pub(super) fn histogram_bytes(&self) -> usize {
        self.histograms.as_ref().map_or(0, HistogramFold::memory_bytes)
    }

    /// Adds a series.
    pub(super) fn add(&mut self, row: &Row, pos: PosRange, annotations: &mut Annotations) -> Evaluated<()> {
        self.drop_name |= row.drop_name;
        match self.op {
            AggregateOp::Sum => self.add_to_sum(&row.floats),
            AggregateOp::Avg => self.add_to_mean(&row.floats),
            AggregateOp::Min => self.add_extreme(&row.floats, |best, value| best > value),
            AggregateOp::Max => self.add_extreme(&row.floats, |best, value| best < value),
            AggregateOp::Stddev | AggregateOp::Stdvar => self.add_to_variance(&row.floats),
            AggregateOp::Quantile => {
                for (values, value) in self.values.iter_mut().zip(&row.floats) {
                    if !is_nothing(*value) {
                        values.push(*value);
                    }
                }
            }
            _ => {
                let is_count = self.op == AggregateOp::Count;
                for (step, place) in self.value.iter_mut().enumerate() {
                    if row.has(step) {
                        *place = if is_nothing(*place) || !is_count {
                            1.0
                        } else {
                            *place + 1.0
                        };
                    }
                }
            }
        }
        if row.histograms.is_some() {
            self.add_histograms(row, pos, annotations);
        }
        Ok(())
    }

    fn add_to_sum(&mut self, floats: &[f64]) {
        for ((sum, lost), value) in self.value.iter_mut().zip(&mut self.second).zip(floats) {
            if is_nothing(*value) {
                continue;
            }
            if is_nothing(*sum) {
                *sum = *value;
            } else {
                (*sum, *lost) = kahan_add(*value, *sum, *lost);
            }
        }
    }

    fn add_to_mean(&mut self, floats: &[f64]) {
        for (step, value) in floats.iter().enumerate() {
            if !is_nothing(*value) {
                self.add_value_to_mean(step, *value);
            }
        }
    }

    /// As long as the sum is in range it is carried on, else the mean.
    fn add_value_to_mean(&mut self, step: usize, value: f64) {
        let steps = self.value.len();
        let (Some(sum), Some(lost), Some(count)) = (
            self.value.get_mut(step),
            self.second.get_mut(step),
            self.count.get_mut(step),
        ) else {
            return;
        };
        *count += 1.0;
        if is_nothing(*sum) {
            *sum = value;
            return;
        }
        let carried = self
            .mean
            .as_ref()
            .and_then(|mean| mean.get(step))
            .copied()
            .unwrap_or(NOTHING);
        let mut before = carried;
        if is_nothing(carried) {
            let (new_sum, new_lost) = kahan_add(value, *sum, *lost);
            if !new_sum.is_infinite() {
                (*sum, *lost) = (new_sum, new_lost);
                return;
            }
            before = *sum / (*count - 1.0);
            *lost /= *count - 1.0;
        }
        let part = (*count - 1.0) / *count;
        let (mean, new_lost) = kahan_add(value / *count, part * before, part * *lost);
        *lost = new_lost;
        let means = self.mean.get_or_insert_with(|| vec![NOTHING; steps]);
        if let Some(place) = means.get_mut(step) {
            *place = mean;
        }
    }

    fn add_extreme(&mut self, floats: &[f64], beats: impl Fn(f64, f64) -> bool) {
        for (best, value) in self.value.iter_mut().zip(floats) {
            if !is_nothing(*value) && (best.is_nan() || beats(*best, *value)) {
                *best = *value;
            }
        }
    }

    fn add_to_variance(&mut self, floats: &[f64]) {
        let places = self.value.iter_mut().zip(&mut self.second).zip(&mut self.count);
        for (((sum, mean), count), value) in places.zip(floats) {
            if is_nothing(*value) {
                continue;
            }
            *count += 1.0;
            if is_nothing(*sum) {
                *mean = *value;
                *sum = if value.is_finite() { 0.0 } else { f64::NAN };
                continue;
            }
            let delta = value - *mean;
            *mean += delta / *count;
            *sum += delta * (value - *mean);
        }
    }

    fn add_histograms(&mut self, row: &Row, pos: PosRange, annotations: &mut Annotations) {
        use AggregateOp::{Avg, Count, Group, Sum};
        match self.op {
            Sum | Avg => {
                let steps = self.value.len();
                let fold = self.histograms.get_or_insert_with(|| HistogramFold::new(steps));
                let metric = metric_name(&row.labels);
                for step in 0..steps {
                    let Some(histogram) = row.histogram(step) else {
                        continue;
                    };
                    let mean_of = (self.op == Avg).then(|| {
                        let count = self.count.get_mut(step);
                        count.map_or(1.0, |count| {
                            *count += 1.0;
                            *count
                        })
                    });
                    let has_float = self.value.get(step).is_some_and(|value| !is_nothing(*value));
                    let added = Added {
                        histogram,
                        mean_of,
                        has_float,
                    };
                    fold.add(step, added, (metric, pos), annotations);
                }
            }
            Count | Group => {}
            op => {
                if row.histograms.iter().flatten().any(Option::is_some) {
                    annotations.add(Annotation::histogram_ignored_in_aggregation(op.as_str(), pos));
                }
            }
        }
    }

    /// The result of the group.
    pub(super) fn finish(
        mut self,
        parameter: Option<&Parameter>,
        pos: PosRange,
        annotations: &mut Annotations,
    ) -> Row {
        match self.op {
            AggregateOp::Sum => self.finish_sum(),
            AggregateOp::Avg => self.finish_mean(),
            AggregateOp::Stdvar => self.finish_variance(|variance| variance),
            AggregateOp::Stddev => self.finish_variance(f64::sqrt),
            AggregateOp::Quantile => {
                for (step, (place, values)) in self.value.iter_mut().zip(&mut self.values).enumerate() {
                    if !values.is_empty() {
                        *place = quantile_of(parameter.map_or(f64::NAN, |q| q.at(step)), values);
                    }
                }
            }
            _ => {}
        }
        let mut row = Row {
            labels: self.labels,
            drop_name: self.drop_name,
            floats: self.value,
            histograms: None,
        };
        if let Some(histograms) = self.histograms {
            histograms.finish(pos, annotations, |step, histogram, mixed| {
                let has_float = row.floats.get(step).is_some_and(|value| !is_nothing(*value));
                row.clear(step);
                match histogram {
                    Some(histogram) if !has_float => row.set(step, Cell::Histogram(histogram)),
                    _ => {}
                }
                has_float && mixed
            });
        }
        row
    }

    fn finish_sum(&mut self) {
        for (sum, lost) in self.value.iter_mut().zip(&self.second) {
            if !is_nothing(*sum) {
                *sum += lost;
            }
        }
    }

    fn finish_mean(&mut self) {
        for (step, place) in self.value.iter_mut().enumerate() {
            if is_nothing(*place) {
                continue;
            }
            let value = |of: &[f64]| of.get(step).copied().unwrap_or_default();
            let (lost, count) = (value(&self.second), value(&self.count));
            let mean = self
                .mean
                .as_ref()
                .and_then(|mean| mean.get(step))
                .copied()
                .unwrap_or(NOTHING);
            *place = if is_nothing(mean) {
                *place / count + lost / count
            } else {
                mean + lost
            };
        }
    }

    fn finish_variance(&mut self, of: impl Fn(f64) -> f64) {
        for (sum, count) in self.value.iter_mut().zip(&self.count) {
            if !is_nothing(*sum) {
                *sum = of(*sum / count);
            }
        }
    }
}
