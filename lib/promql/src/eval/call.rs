//! Calls of functions.

mod dates;
mod labels;
mod maths;

use super::elementwise::{map_floats, map_histograms};
use super::evaluator::{Around, Evaluator, Sink};
use super::row::is_nothing;
use super::selector::Taken;
use super::{Grid, Row};
use crate::ast::{Call, Expr};
use crate::error::{Evaluated, QueryError};
use crate::float;
use crate::function::{Function, ValueType};
use crate::histogram;

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        if call.args.iter().any(|arg| arg.value_type() == ValueType::Matrix) {
            return self.range_call(call, grid, sink);
        }
        match call.function {
            Function::LabelReplace => self.label_replace(call, grid, sink),
            Function::LabelJoin => self.label_join(call, grid, sink),
            Function::Vector => self.vector_of_scalar(call, grid, sink),
            Function::Absent => self.absent(call, grid, sink),
            Function::Timestamp => self.timestamp(call, grid, sink),
            Function::HistogramQuantile | Function::HistogramFraction => {
                self.histogram_function(call, grid, sink)
            }
            Function::Sort | Function::SortDesc | Function::SortByLabel | Function::SortByLabelDesc => {
                self.sort(call, grid, sink)
            }
            Function::Info => self.info(call, grid, sink),
            _ => self.elementwise_call(call, grid, sink),
        }
    }

    fn vector_of_scalar(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let Some(arg) = call.args.first() else {
            return Ok(());
        };
        let mut row = Row::empty(sabre_model::Labels::default(), grid.count);
        row.floats = self.scalar(arg, grid)?;
        sink(row)
    }

    /// `timestamp(v)`: the time of the sample where `v` is a selector, else that of the evaluation.
    fn timestamp(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let Some(arg) = call.args.first() else {
            return Ok(());
        };
        let around = Around::function(call.function);
        self.renamed(arg, grid, sink, |sink| match arg {
            Expr::Vector(selector) => {
                let mut selector = selector.as_ref().clone();
                if selector.at.is_some() {
                    // Prometheus forgets the offset here.
                    selector.offset = crate::ast::Duration::ZERO;
                }
                self.newest_samples(&selector, grid, &around, Taken::Time, &mut |mut row| {
                    self.drop_name(&mut row);
                    sink(row)
                })
            }
            arg => self.vector(arg, grid, &around, &mut |mut row| {
                for (step, t) in grid.times().enumerate() {
                    if row.has(step)
                        && let Some(place) = row.floats.get_mut(step)
                    {
                        *place = t as f64 / 1000.0;
                    }
                }
                row.histograms = None;
                self.drop_name(&mut row);
                sink(row)
            }),
        })
    }

    /// Functions that make a value of each value.
    fn elementwise_call(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let mut scalars = Vec::new();
        for arg in &call.args {
            if arg.value_type() == ValueType::Scalar {
                scalars.push(self.scalar(arg, grid)?);
            }
        }
        let vector = call.args.iter().find(|arg| arg.value_type() == ValueType::Vector);
        let Some(vector) = vector else {
            return self.date_of_evaluation(call, grid, sink);
        };
        let around = Around::function(call.function);
        self.renamed(vector, grid, sink, |sink| {
            self.vector(vector, grid, &around, &mut |mut row| {
                apply(call.function, &mut row, &scalars)?;
                if row.is_empty() {
                    return Ok(());
                }
                self.drop_name(&mut row);
                sink(row)
            })
        })
    }

    /// `hour()` and its like without an argument.
    fn date_of_evaluation(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let mut row = Row::empty(sabre_model::Labels::default(), grid.count);
        row.floats = grid.times().map(|t| (t / 1000) as f64).collect();
        apply(call.function, &mut row, &[])?;
        sink(row)
    }
}

/// Applies a function to all values of a row; where it has none for a value, the place is empty afterwards.
fn apply(function: Function, row: &mut Row, scalars: &[Vec<f64>]) -> Evaluated<()> {
    let scalar = |i: usize, step: usize| {
        let values: Option<&Vec<f64>> = scalars.get(i);
        values.and_then(|values| values.get(step)).copied()
    };
    match function {
        Function::HistogramCount => map_histograms(row, |h| h.count),
        Function::HistogramSum => map_histograms(row, |h| h.sum),
        Function::HistogramAvg => map_histograms(row, |h| h.sum / h.count),
        Function::HistogramStdvar => map_histograms(row, histogram::variance),
        Function::HistogramStddev => map_histograms(row, |h| histogram::variance(h).sqrt()),
        Function::Clamp => clamp(row, |step| (scalar(0, step), scalar(1, step))),
        Function::ClampMin => clamp(row, |step| (scalar(0, step), None)),
        Function::ClampMax => clamp(row, |step| (None, scalar(0, step))),
        Function::Round => {
            map_floats(row, |step, value| {
                // The inverse makes fewer rounding errors.
                let inverse = 1.0 / scalar(0, step).unwrap_or(1.0);
                (value * inverse + 0.5).floor() / inverse
            });
        }
        other => match maths::function(other).or_else(|| dates::function(other)) {
            Some(f) => map_floats(row, |_, value| f(value)),
            None => {
                return Err(QueryError::evaluation(format!(
                    "{} is not supported",
                    other.name()
                )));
            }
        },
    }
    Ok(())
}

/// Forces floats between two bounds; where these contradict each other there is nothing.
fn clamp(row: &mut Row, bounds: impl Fn(usize) -> (Option<f64>, Option<f64>)) {
    row.histograms = None;
    for (step, value) in row.floats.iter_mut().enumerate() {
        if is_nothing(*value) {
            continue;
        }
        let (low, high) = bounds(step);
        let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
        *value = if high < low {
            super::row::NOTHING
        } else {
            float::max(low, float::min(high, *value))
        };
    }
}
