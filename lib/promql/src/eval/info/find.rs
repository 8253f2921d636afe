//! Which info series there are for the targets of some series, and when they were last seen.

use std::collections::BTreeSet;

use sabre_model::selector::METRIC_NAME;
use sabre_model::{MatchKind, Matcher};

use super::{IDENTIFYING, TARGET_INFO, Wanted};
use crate::ast::Expr;
use crate::budget::Reservation;
use crate::error::{Evaluated, QueryError};
use crate::eval::Grid;
use crate::eval::batch::Worker;
use crate::eval::evaluator::Evaluator;
use crate::eval::row::{Cell, Row};
use crate::eval::selector::{Shift, Taken, newest};
use crate::eval::window::Window;
use crate::function::Function;
use crate::source::{SampleBuffer, SampleSource, SelectHints, Series, SourceError};

/// Samples cut to some times, both included.
struct Clipped<'s> {
    samples: Box<dyn SampleSource + Send + 's>,
    times: (i64, i64),
}

impl SampleSource for Clipped<'_> {
    fn next_into(&mut self, buffer: &mut SampleBuffer) -> Result<bool, SourceError> {
        let (floats, histograms) = (buffer.timestamps.len(), buffer.histograms.len());
        let more = self.samples.next_into(buffer)?;
        let (mint, maxt) = self.times;
        let new = buffer.timestamps.get(floats..).unwrap_or_default();
        let first = floats + new.partition_point(|t| *t < mint);
        let end = floats + new.partition_point(|t| *t <= maxt);
        buffer.timestamps.truncate(end);
        buffer.values.truncate(end);
        buffer.timestamps.drain(floats..first.min(end));
        buffer.values.drain(floats..first.min(end));
        let new = buffer.histograms.get(histograms..).unwrap_or_default();
        let first = histograms + new.partition_point(|(t, _)| *t < mint);
        let end = histograms + new.partition_point(|(t, _)| *t <= maxt);
        buffer.histograms.truncate(end);
        buffer.histograms.drain(histograms..first.min(end));
        Ok(more)
    }
}

impl<'e> Evaluator<'e> {
    /// The info series of the targets of `rows`: at each step the time of the newest sample in milliseconds. `None` if no
    /// row tells its target.
    pub(super) fn info_series(
        &self,
        arg: &Expr,
        rows: &[Row],
        wanted: &Wanted,
        grid: &Grid,
    ) -> Evaluated<Option<(Vec<Row>, Reservation<'e>)>> {
        let mut reserved = self.reservation();
        let Some(matchers) = matchers(rows, wanted, &mut reserved)? else {
            return Ok(None);
        };
        let lookback = self.options.lookback_ms;
        let hints = info_hints(arg, grid, lookback);
        let hints = SelectHints {
            query_start_ms: self.times.whole().0,
            query_end_ms: self.times.whole().1,
            ..hints
        };
        // Prometheus looks at no sample outside of what it asked for, and there where the query is evaluated.
        let times = (hints.start_ms, hints.end_ms);
        let set = self.source.select(&matchers, &hints)?;
        let work = |series: Series<'_>, worker: &mut Worker<'_>| {
            let samples = Clipped {
                samples: series.samples,
                times,
            };
            let series = Series {
                labels: series.labels,
                samples: Box::new(samples),
            };
            times_of_series(series, worker, grid, lookback)
        };
        let mut found = Vec::new();
        self.for_each_series(set, grid.count, &work, &mut |row| {
            reserved.grow(row.memory_bytes())?;
            found.push(row);
            Ok(())
        })?;
        Ok(Some((found, reserved)))
    }
}

/// What selects the info series of the targets of `rows`; `None` if there are no targets.
fn matchers(
    rows: &[Row],
    wanted: &Wanted,
    reserved: &mut Reservation<'_>,
) -> Evaluated<Option<Vec<Matcher>>> {
    let mut matchers = Vec::new();
    for label in IDENTIFYING {
        let touched = rows.iter().filter(|row| !wanted.is_untouched(&row.labels));
        let values: BTreeSet<&str> = touched.filter_map(|row| row.labels.get(label)).collect();
        if values.is_empty() {
            continue;
        }
        let length: usize = values.iter().map(|value| value.len() + 1).sum();
        // The text, and what is made of it.
        reserved.grow(length.saturating_mul(4))?;
        let literals: Vec<String> = values.into_iter().map(literal).collect();
        let matcher = Matcher::new(MatchKind::Re, label, literals.join("|"));
        matchers.push(matcher.map_err(|error| QueryError::evaluation(error.to_string()))?);
    }
    if matchers.is_empty() {
        return Ok(None);
    }
    matchers.extend(wanted.data.iter().chain(&wanted.names).cloned());
    if wanted.names.is_empty() {
        matchers.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
    }
    Ok(Some(matchers))
}

/// A regular expression that matches a text alone.
fn literal(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression
}

/// The times for which info series are asked: those of the first selector in the argument.
fn info_hints(arg: &Expr, grid: &Grid, lookback: i64) -> SelectHints {
    let shift = first_shift(arg).unwrap_or(Shift { at: None, offset: 0 });
    SelectHints {
        start_ms: shift
            .reference(grid.start)
            .saturating_sub(lookback)
            .saturating_add(1),
        end_ms: shift.reference(grid.end()),
        step_ms: if grid.count > 1 { grid.step } else { 0 },
        func: Function::Info.name(),
        ..SelectHints::default()
    }
}

fn first_shift(expr: &Expr) -> Option<Shift> {
    match expr {
        Expr::Vector(selector) => Some(Shift::of(selector)),
        Expr::Matrix(matrix) => Some(Shift::of(&matrix.selector)),
        Expr::Aggregate(e) => first_shift(&e.expr).or_else(|| e.param.as_ref().and_then(first_shift)),
        _ => expr.children().into_iter().find_map(first_shift),
    }
}

fn times_of_series(
    series: Series<'_>,
    worker: &mut Worker<'_>,
    grid: &Grid,
    lookback: i64,
) -> Evaluated<Option<Row>> {
    let mut window = Window::new(series.samples, false, &mut worker.store);
    let mut row = Row::empty(series.labels, grid.count);
    for (step, t) in grid.times().enumerate() {
        window.advance(t.saturating_sub(lookback), t)?;
        let view = window.view();
        match newest(&view, Taken::Value) {
            Some(Cell::Float(_)) => {
                let time_ms = view.timestamps.last().copied().unwrap_or_default();
                row.set(step, Cell::Float(time_ms as f64));
            }
            Some(Cell::Histogram(_)) => {
                return Err(QueryError::evaluation(format!(
                    "this should be an info metric, with float samples: {}",
                    row.labels
                )));
            }
            None => {}
        }
    }
    Ok((!row.is_empty()).then_some(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_matched_as_they_are() {
        for text in ["a.b", "10.0.0.1:80", r"a\b", "(x|y)*+?[0]{1}^$", "ünï", ""] {
            let matcher = Matcher::new(MatchKind::Re, "job", literal(text)).unwrap();
            assert!(matcher.matches(text), "{text}");
            assert!(!matcher.matches("a-b"), "{text}");
        }
    }
}
