//! Queries from text to result.

use std::sync::atomic::AtomicBool;

use super::evaluator::{Around, Evaluator};
use super::{Grid, prepare};
use crate::ast::Expr;
use crate::budget::{Budget, ByteBudget};
use crate::error::{Evaluated, QueryError};
use crate::function::ValueType;
use crate::parser::{ParseOptions, parse};
use crate::source::Queryable;
use crate::value::{InstantSample, QueryResult, RangeSeries, SampleValue, Value};

/// How queries are evaluated.
#[derive(Clone, Copy)]
pub struct EvalOptions<'o> {
    /// What a query may contain.
    pub parse: ParseOptions,
    /// How long a sample stands for its series, in milliseconds.
    pub lookback_ms: i64,
    /// The step of subqueries that name none, in milliseconds.
    pub subquery_step_ms: i64,
    /// Whether the metric's name goes at the end of the evaluation rather than in each function.
    pub delayed_name_removal: bool,
    /// How many threads work on the series of a selector. The result does not depend on it.
    pub threads: usize,
    /// The memory that a query may take.
    pub budget: &'o dyn Budget,
    /// Set by whoever does not wait any longer.
    pub cancelled: Option<&'o AtomicBool>,
}

static UNLIMITED: std::sync::LazyLock<ByteBudget> = std::sync::LazyLock::new(ByteBudget::unlimited);

impl Default for EvalOptions<'_> {
    fn default() -> Self {
        EvalOptions {
            parse: ParseOptions::default(),
            lookback_ms: 5 * 60 * 1000,
            subquery_step_ms: 60 * 1000,
            delayed_name_removal: false,
            threads: 1,
            budget: &*UNLIMITED,
            cancelled: None,
        }
    }
}

impl std::fmt::Debug for EvalOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvalOptions")
            .field("parse", &self.parse)
            .field("lookback_ms", &self.lookback_ms)
            .field("subquery_step_ms", &self.subquery_step_ms)
            .field("delayed_name_removal", &self.delayed_name_removal)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Evaluates a query at one time, in milliseconds.
///
/// # Errors
///
/// If the query is wrong, its series cannot be had or do not fit, or memory runs out.
pub fn query_instant(
    source: &dyn Queryable,
    query: &str,
    time_ms: i64,
    options: &EvalOptions<'_>,
) -> Result<QueryResult, QueryError> {
    let mut expr = parse(query, options.parse)?;
    prepare::prepare(&mut expr, time_ms, time_ms, 0)?;
    let evaluator = Evaluator::new(source, options, &expr, time_ms, time_ms);
    let grid = Grid::single(time_ms);
    let value = match expr.value_type() {
        ValueType::Scalar => {
            let values = evaluator.scalar(&expr, &grid)?;
            Value::Scalar {
                t: time_ms,
                value: values.first().copied().unwrap_or(f64::NAN),
            }
        }
        ValueType::String => Value::String {
            t: time_ms,
            value: match expr.unwrapped() {
                Expr::String(text) => text.value.clone(),
                _ => String::new(),
            },
        },
        ValueType::Vector => Value::Vector(instant_vector(&evaluator, &expr, &grid)?),
        ValueType::Matrix => Value::Matrix(evaluator.matrix(&expr, &grid, &Around::nothing())?),
    };
    Ok(QueryResult {
        value,
        annotations: evaluator.into_annotations(),
    })
}

fn instant_vector(evaluator: &Evaluator<'_>, expr: &Expr, grid: &Grid) -> Evaluated<Vec<InstantSample>> {
    let mut samples = Vec::new();
    let mut reserved = evaluator.reservation();
    evaluator.result(expr, grid, &mut |row| {
        let value = match row.get(0) {
            Some(super::Cell::Float(value)) => SampleValue::Float(value),
            Some(super::Cell::Histogram(histogram)) => SampleValue::Histogram(histogram),
            None => return Ok(()),
        };
        let sample = InstantSample {
            labels: row.labels,
            t: grid.start,
            value,
        };
        reserved.grow(sample.memory_bytes())?;
        samples.push(sample);
        Ok(())
    })?;
    Ok(samples)
}

/// Evaluates a query at all times from `start_ms` to `end_ms` that are `step_ms` apart.
///
/// # Errors
///
/// If the query is wrong or has no value at a time, the times make no sense, the series cannot be had or do not fit, or
/// memory runs out.
pub fn query_range(
    source: &dyn Queryable,
    query: &str,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    options: &EvalOptions<'_>,
) -> Result<QueryResult, QueryError> {
    let mut expr = parse(query, options.parse)?;
    let found = expr.value_type();
    if found != ValueType::Vector && found != ValueType::Scalar {
        return Err(QueryError::Type(format!(
            "invalid expression type {:?} for range query, must be Scalar or instant Vector",
            found.documented()
        )));
    }
    if step_ms <= 0 {
        return Err(QueryError::Times(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if end_ms < start_ms {
        return Err(QueryError::Times("end timestamp must not be before start time"));
    }
    prepare::prepare(&mut expr, start_ms, end_ms, step_ms)?;
    let evaluator = Evaluator::new(source, options, &expr, start_ms, end_ms);
    let grid = Grid::new(start_ms, end_ms, step_ms);
    let mut series = Vec::new();
    if found == ValueType::Scalar {
        let values = evaluator.scalar(&expr, &grid)?;
        series.push(RangeSeries {
            floats: grid.times().zip(values).collect(),
            ..RangeSeries::default()
        });
    } else {
        let mut reserved = evaluator.reservation();
        evaluator.result(&expr, &grid, &mut |row| {
            if let Some(found) = into_series(row, &grid) {
                reserved.grow(found.memory_bytes())?;
                series.push(found);
            }
            Ok(())
        })?;
        series.sort_by(|a: &RangeSeries, b| a.labels.cmp(&b.labels));
    }
    Ok(QueryResult {
        value: Value::Matrix(series),
        annotations: evaluator.into_annotations(),
    })
}

/// The samples of a row; `None` if it has none.
pub(super) fn into_series(row: super::Row, grid: &Grid) -> Option<RangeSeries> {
    let mut series = RangeSeries {
        labels: row.labels,
        ..RangeSeries::default()
    };
    for (t, value) in grid.times().zip(&row.floats) {
        if !super::row::is_nothing(*value) {
            series.floats.push((t, *value));
        }
    }
    if let Some(histograms) = row.histograms {
        for (t, histogram) in grid.times().zip(histograms) {
            series
                .histograms
                .extend(histogram.map(|histogram| (t, histogram)));
        }
    }
    let has_any = !series.floats.is_empty() || !series.histograms.is_empty();
    has_any.then_some(series)
}
