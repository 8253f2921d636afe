//! A slow evaluator, written from the rules: every node makes the whole matrix of its values, every window is looked up
//! anew, nothing is shared, carried on or kept in order by anything but loops. The engine is held to its bits.

mod aggregate;
mod binary;
mod classic;
mod extended;
mod functions;
mod histogram;
mod info;
mod over_time;
mod range;

use std::collections::BTreeMap;

use sabre_promql::ast::{At, Call, Duration, Expr, VectorSelector};
use sabre_promql::function::{Function, ValueType};
use sabre_promql::source::{MemorySamples, MemoryStorage};
use sabre_tsdb::stale::is_stale;

pub(crate) use histogram::Histogram;

pub(crate) type Labels = BTreeMap<String, String>;
pub(crate) type Result<T> = std::result::Result<T, String>;

#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Float(f64),
    Histogram(Histogram),
}

/// A series: a value or none for each step.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    pub(crate) cells: Vec<Option<Cell>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reference<'s> {
    pub(crate) storage: &'s MemoryStorage,
    pub(crate) lookback: i64,
    /// Start and end of the query, for `@ start()` and `@ end()`.
    pub(crate) query: (i64, i64),
}

pub(crate) const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

pub(crate) fn unnamed(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.remove("__name__");
    labels
}

/// Joins rows with the same labels; two values at a step are an error. Rows without values go.
pub(crate) fn merge(rows: Vec<Row>) -> Result<Vec<Row>> {
    let mut out: Vec<Row> = Vec::new();
    for row in rows {
        let Some(same) = out.iter_mut().find(|other| other.labels == row.labels) else {
            out.push(row);
            continue;
        };
        for (place, cell) in same.cells.iter_mut().zip(row.cells) {
            if place.is_some() && cell.is_some() {
                return Err(SAME_LABELSET.to_owned());
            }
            *place = place.take().or(cell);
        }
    }
    out.retain(|row| row.cells.iter().any(Option::is_some));
    Ok(out)
}

/// Maps the values of rows and takes their names.
pub(crate) fn map(rows: Vec<Row>, f: impl Fn(usize, Cell) -> Option<Cell>) -> Result<Vec<Row>> {
    let mapped = rows.into_iter().map(|row| Row {
        labels: unnamed(&row.labels),
        cells: row
            .cells
            .into_iter()
            .enumerate()
            .map(|(step, cell)| f(step, cell?))
            .collect(),
    });
    merge(mapped.collect())
}

pub(crate) fn ms(duration: &Duration) -> i64 {
    match duration {
        Duration::Known(ns) => ns / 1_000_000,
        Duration::Computed(_) => panic!("durations are known here"),
    }
}

fn is_invariant(expr: &Expr) -> bool {
    use Function::{
        DayOfMonth, DayOfWeek, DayOfYear, DaysInMonth, Hour, Minute, Month, PredictLinear, Time, Timestamp,
        Year,
    };
    let timed = [
        DayOfMonth,
        DayOfWeek,
        DayOfYear,
        DaysInMonth,
        Hour,
        Minute,
        Month,
        PredictLinear,
        Time,
        Timestamp,
        Year,
    ];
    match expr {
        Expr::Vector(e) => e.at.is_some(),
        Expr::Matrix(e) => e.selector.at.is_some(),
        Expr::Subquery(e) => e.at.is_some(),
        Expr::Aggregate(e) => is_invariant(&e.expr),
        Expr::Call(e) => !timed.contains(&e.function) && e.args.iter().all(is_invariant),
        other => other.children().into_iter().all(is_invariant),
    }
}

impl Reference<'_> {
    /// The time that a step at `t` looks at.
    pub(crate) fn reference_time(&self, at: Option<At>, offset: &Duration, t: i64) -> i64 {
        let base = match at {
            None => t,
            Some(At::Time(at)) => at,
            Some(At::Start) => self.query.0,
            Some(At::End) => self.query.1,
        };
        base - ms(offset)
    }

    /// All series of a selector with all their samples in order.
    pub(crate) fn select(&self, selector: &VectorSelector) -> Vec<(Labels, Vec<(i64, Cell)>)> {
        let mut found = Vec::new();
        for (labels, samples) in self.storage.iter() {
            if !selector
                .matchers
                .iter()
                .all(|matcher| matcher.matches_lset(labels))
            {
                continue;
            }
            let MemorySamples::Decoded(samples) = samples else {
                panic!("decoded samples")
            };
            let floats = samples.timestamps.iter().zip(&samples.values);
            let mut all: Vec<(i64, Cell)> = floats.map(|(t, value)| (*t, Cell::Float(*value))).collect();
            for (t, h) in &samples.histograms {
                all.push((*t, Cell::Histogram(Histogram::of(h))));
            }
            all.sort_by_key(|(t, _)| *t);
            found.push((labels.to_map(), all));
        }
        found
    }

    /// Evaluates a vector at all times.
    pub(crate) fn vector(&self, expr: &Expr, times: &[i64]) -> Result<Vec<Row>> {
        if times.len() > 1 && is_invariant(expr) {
            let mut rows = self.vector(expr, &times[..1])?;
            for row in &mut rows {
                row.cells = vec![row.cells[0].clone(); times.len()];
            }
            return Ok(rows);
        }
        if times.is_empty() {
            return Ok(Vec::new());
        }
        match expr {
            Expr::Vector(selector) if selector.smoothed => merge(self.smoothed(selector, times)?),
            Expr::Vector(selector) => merge(self.newest(selector, times, false)),
            Expr::Paren(e) => self.vector(&e.expr, times),
            Expr::Unary(e) if !e.negative => self.vector(&e.expr, times),
            Expr::Unary(e) => map(self.vector(&e.expr, times)?, |_, cell| {
                Some(match cell {
                    Cell::Float(value) => Cell::Float(-value),
                    Cell::Histogram(h) => Cell::Histogram(h.scaled(-1.0)),
                })
            }),
            Expr::Binary(e) => self.binary(e, times),
            Expr::Aggregate(e) => self.aggregate(e, times),
            Expr::Call(e) => self.call(e, times),
            other => Err(format!("{other} is no vector")),
        }
    }

    pub(crate) fn newest(&self, selector: &VectorSelector, times: &[i64], time_of: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        for (labels, samples) in self.select(selector) {
            let newest_at = |t: &i64| {
                let reference = self.reference_time(selector.at, &selector.offset, *t);
                let (found, cell) = samples.iter().rfind(|(t, _)| *t <= reference)?;
                let stale = match cell {
                    Cell::Float(value) => is_stale(*value),
                    Cell::Histogram(h) => is_stale(h.sum),
                };
                if *found <= reference - self.lookback || stale {
                    return None;
                }
                Some(if time_of {
                    Cell::Float(*found as f64 / 1000.0)
                } else {
                    cell.clone()
                })
            };
            let cells = times.iter().map(newest_at).collect();
            rows.push(Row { labels, cells });
        }
        rows
    }

    /// Evaluates a scalar at all times.
    pub(crate) fn scalar(&self, expr: &Expr, times: &[i64]) -> Result<Vec<f64>> {
        if times.len() > 1 && is_invariant(expr) {
            return Ok(vec![self.scalar(expr, &times[..1])?[0]; times.len()]);
        }
        Ok(match expr {
            Expr::Number(e) => vec![e.value; times.len()],
            Expr::Paren(e) => self.scalar(&e.expr, times)?,
            Expr::Unary(e) => {
                let sign = if e.negative { -1.0 } else { 1.0 };
                self.scalar(&e.expr, times)?
                    .into_iter()
                    .map(|value| sign * value)
                    .collect()
            }
            Expr::Binary(e) => {
                let (left, right) = (self.scalar(&e.lhs, times)?, self.scalar(&e.rhs, times)?);
                left.into_iter()
                    .zip(right)
                    .map(|(a, b)| binary::scalars(e.op, a, b))
                    .collect()
            }
            Expr::Call(e) => match e.function {
                Function::Time => times.iter().map(|t| *t as f64 / 1000.0).collect(),
                Function::Pi => vec![std::f64::consts::PI; times.len()],
                _ => self.only_float(e, times)?,
            },
            other => return Err(format!("{other} is no scalar")),
        })
    }

    fn only_float(&self, call: &Call, times: &[i64]) -> Result<Vec<f64>> {
        let rows = self.vector(&call.args[0], times)?;
        let at = |step: usize| {
            let mut floats = rows.iter().filter_map(|row| match row.cells[step] {
                Some(Cell::Float(value)) => Some(value),
                _ => None,
            });
            match (floats.next(), floats.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        };
        Ok((0..times.len()).map(at).collect())
    }

    pub(crate) fn scalars_of(&self, call: &Call, times: &[i64]) -> Result<Vec<Vec<f64>>> {
        let scalars = call
            .args
            .iter()
            .filter(|arg| arg.value_type() == ValueType::Scalar);
        scalars.map(|arg| self.scalar(arg, times)).collect()
    }
}
