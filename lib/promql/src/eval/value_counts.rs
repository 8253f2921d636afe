//! `count_values`: how many series have a value, by value.

use sabre_model::selector::METRIC_NAME;

use super::Grid;
use super::aggregate::group_labels;
use super::evaluator::{Around, Evaluator, Sink};
use super::labels::with;
use super::merge::Merger;
use super::row::Cell;
use crate::ast::{Aggregate, Expr};
use crate::error::{Evaluated, QueryError};
use crate::go_text::format_f;
use crate::histogram::to_text;

impl Evaluator<'_> {
    pub(super) fn count_values(&self, aggregate: &Aggregate, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let label = match &aggregate.param {
            Some(Expr::String(label)) => label.value.as_str(),
            _ => "",
        };
        if label.is_empty() {
            return Err(QueryError::evaluation("invalid label name \"\""));
        }
        // The label is set on each series before these are grouped.
        let goes = aggregate.without
            && (label == METRIC_NAME || aggregate.grouping.iter().any(|name| name == label));
        let mut merger = Merger::new(grid.count, self.reservation());
        self.vector(&aggregate.expr, grid, &Around::aggregate(aggregate), &mut |row| {
            let group = group_labels(aggregate, &row.labels);
            // Mostly a series keeps its value from step to step.
            let mut last: Option<(u64, usize)> = None;
            for step in 0..grid.count {
                let Some(cell) = row.get(step) else { continue };
                let known = match (&cell, last) {
                    (Cell::Float(value), Some((bits, at))) if bits == value.to_bits() => Some(at),
                    _ => None,
                };
                let at = match known {
                    Some(at) => at,
                    None => {
                        let text = match &cell {
                            Cell::Float(value) => format_f(*value),
                            Cell::Histogram(histogram) => to_text(histogram),
                        };
                        let labels = if goes {
                            group.clone()
                        } else {
                            with(&group, label, &text)
                        };
                        merger.row(labels, false)?
                    }
                };
                if let Cell::Float(value) = cell {
                    last = Some((value.to_bits(), at));
                }
                merger.count(at, step);
            }
            Ok(())
        })?;
        merger.finish().0.into_iter().try_for_each(sink)
    }
}
