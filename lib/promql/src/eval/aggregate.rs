//! Aggregations: groups, parameters, and which accumulator does the work.

use std::collections::HashMap;

use sabre_model::Labels;

use super::evaluator::{Around, Evaluator, Sink};
use super::fold::Fold;
use super::labels::{keep, without};
use super::{Grid, Row};
use crate::annotation::Annotation;
use crate::ast::{Aggregate, AggregateOp};
use crate::error::{Evaluated, QueryError};
use crate::float;

/// The values of a parameter over the steps.
pub(super) struct Parameter {
    pub(super) values: Vec<f64>,
    min: f64,
    max: f64,
    has_nan: bool,
}

impl Parameter {
    pub(super) fn at(&self, step: usize) -> f64 {
        self.values.get(step).copied().unwrap_or(f64::NAN)
    }
}

/// The labels of the group that a series belongs to.
pub(super) fn group_labels(aggregate: &Aggregate, labels: &Labels) -> Labels {
    if aggregate.without {
        return without(labels, &aggregate.grouping);
    }
    if aggregate.grouping.is_empty() {
        return Labels::default();
    }
    keep(labels, &aggregate.grouping)
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, grid, sink);
        }
        let parameter = self.parameter(aggregate, grid)?;
        if aggregate.op.picks_series() {
            return match parameter {
                Some(parameter) if self.check_picked(aggregate, &parameter)? => {
                    self.pick(aggregate, &parameter, grid, sink)
                }
                // What cannot be picked from may still be wrong.
                _ => self.vector(&aggregate.expr, grid, &Around::aggregate(aggregate), &mut |_| {
                    Ok(())
                }),
            };
        }
        if let Some(parameter) = &parameter {
            self.check_quantile(aggregate, parameter);
        }
        self.fold(aggregate, parameter.as_ref(), grid, sink)
    }

    fn parameter(&self, aggregate: &Aggregate, grid: &Grid) -> Evaluated<Option<Parameter>> {
        let Some(expr) = &aggregate.param else {
            return Ok(None);
        };
        let values = self.scalar(expr, grid)?;
        let (mut min, mut max) = (f64::MAX, -f64::MAX);
        let mut has_nan = false;
        for value in &values {
            max = float::max(max, *value);
            min = float::min(min, *value);
            has_nan |= value.is_nan();
        }
        Ok(Some(Parameter {
            values,
            min,
            max,
            has_nan,
        }))
    }

    /// Whether there is anything to pick.
    fn check_picked(&self, aggregate: &Aggregate, parameter: &Parameter) -> Evaluated<bool> {
        let pos = aggregate
            .param
            .as_ref()
            .map_or(aggregate.pos, |param| param.pos());
        if aggregate.op == AggregateOp::LimitRatio {
            if parameter.max == 0.0 && parameter.min == 0.0 {
                return Ok(false);
            }
            if parameter.has_nan {
                return Err(QueryError::evaluation("Ratio value is NaN"));
            }
            if parameter.max > 1.0 {
                self.annotate(Annotation::invalid_ratio(parameter.max, 1.0, pos));
            }
            if parameter.min < -1.0 {
                self.annotate(Annotation::invalid_ratio(parameter.min, -1.0, pos));
            }
            return Ok(true);
        }
        if parameter.max < 1.0 {
            return Ok(false);
        }
        if parameter.has_nan {
            return Err(QueryError::evaluation("Parameter value is NaN"));
        }
        let text = crate::go_text::format_g;
        if parameter.min <= -(2f64.powi(63)) {
            let min = text(parameter.min);
            return Err(QueryError::evaluation(format!(
                "Scalar value {min} underflows int64"
            )));
        }
        if parameter.max >= 2f64.powi(63) {
            let max = text(parameter.max);
            return Err(QueryError::evaluation(format!(
                "Scalar value {max} overflows int64"
            )));
        }
        Ok(true)
    }

    fn check_quantile(&self, aggregate: &Aggregate, parameter: &Parameter) {
        let pos = aggregate
            .param
            .as_ref()
            .map_or(aggregate.pos, |param| param.pos());
        if parameter.has_nan {
            self.annotate(Annotation::invalid_quantile(f64::NAN, pos));
        }
        if parameter.max > 1.0 {
            self.annotate(Annotation::invalid_quantile(parameter.max, pos));
        }
        if parameter.min < 0.0 {
            self.annotate(Annotation::invalid_quantile(parameter.min, pos));
        }
    }

    /// Folds every series into its group as it comes.
    fn fold(
        &self,
        aggregate: &Aggregate,
        parameter: Option<&Parameter>,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let mut reserved = self.reservation();
        let mut groups: Vec<Fold> = Vec::new();
        let mut by_labels: HashMap<Labels, usize> = HashMap::new();
        let mut annotations = crate::annotation::Annotations::default();
        let pos = aggregate.expr.pos();
        self.vector(&aggregate.expr, grid, &Around::aggregate(aggregate), &mut |row| {
            let labels = group_labels(aggregate, &row.labels);
            let at = match by_labels.get(&labels) {
                Some(at) => *at,
                None => {
                    let fold = Fold::new(aggregate.op, labels.clone(), grid.count);
                    reserved.grow(fold.memory_bytes() + labels.heap_bytes() * 2)?;
                    groups.push(fold);
                    by_labels.insert(labels, groups.len() - 1);
                    groups.len() - 1
                }
            };
            if aggregate.op == AggregateOp::Quantile {
                reserved.grow(grid.count * size_of::<f64>())?;
            }
            let Some(group) = groups.get_mut(at) else {
                return Ok(());
            };
            let before = group.histogram_bytes();
            group.add(&row, pos, &mut annotations)?;
            Ok(reserved.grow(group.histogram_bytes().saturating_sub(before))?)
        })?;
        for group in groups {
            let row: Row = group.finish(parameter, pos, &mut annotations);
            if !row.is_empty() {
                sink(row)?;
            }
        }
        self.annotate_all(annotations);
        Ok(())
    }
}
