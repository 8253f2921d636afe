//! The evaluator, and what an expression is dispatched to.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use super::invariant::{has_one_name, is_invariant};
use super::labels::without_metadata;
use super::merge::Merger;
use super::query::EvalOptions;
use super::shared::Shared;
use super::times::QueryTimes;
use super::{Grid, Row};
use crate::annotation::{Annotation, Annotations};
use crate::ast::{Aggregate, Expr};
use crate::budget::Reservation;
use crate::error::{Evaluated, QueryError};
use crate::float::scalar_binop;
use crate::function::{Function, ValueType};
use crate::parser::{MAX_REGEX_WEIGHT, TOO_MANY_REGEXES};
use crate::source::Queryable;

/// Takes rows one by one.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(Row) -> Evaluated<()>;

/// Evaluates one query.
pub(crate) struct Evaluator<'e> {
    pub(super) source: &'e dyn Queryable,
    pub(super) options: &'e EvalOptions<'e>,
    pub(super) shared: Shared<'e>,
    pub(super) times: QueryTimes,
    annotations: RefCell<Annotations>,
    /// What the expressions compiled so far weigh.
    regex_weight: Cell<usize>,
}

/// What stands around an expression, for the hints of selectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around<'a> {
    pub(super) func: &'static str,
    pub(super) grouping: Option<&'a Aggregate>,
}

impl<'a> Around<'a> {
    pub(crate) fn nothing() -> Around<'a> {
        Around::default()
    }

    pub(super) fn function(function: Function) -> Around<'a> {
        Around {
            func: function.name(),
            grouping: None,
        }
    }

    pub(super) fn aggregate(aggregate: &'a Aggregate) -> Around<'a> {
        Around {
            func: aggregate.op.as_str(),
            grouping: Some(aggregate),
        }
    }

    /// The same, seen from within parentheses, a sign or a subquery.
    pub(super) fn inside(&self) -> Around<'a> {
        Around {
            func: self.func,
            grouping: None,
        }
    }
}

impl<'e> Evaluator<'e> {
    /// Of a prepared query that is evaluated at times from `start_ms` to `end_ms`.
    pub(crate) fn new(
        source: &'e dyn Queryable,
        options: &'e EvalOptions<'e>,
        expr: &Expr,
        start_ms: i64,
        end_ms: i64,
    ) -> Evaluator<'e> {
        Evaluator {
            source,
            options,
            shared: Shared::new(expr),
            times: QueryTimes::new(expr, start_ms, end_ms, options.lookback_ms),
            annotations: RefCell::default(),
            regex_weight: Cell::new(0),
        }
    }

    pub(crate) fn into_annotations(self) -> Annotations {
        self.annotations.into_inner()
    }

    pub(super) fn annotate(&self, annotation: Annotation) {
        self.annotations.borrow_mut().add(annotation);
    }

    pub(super) fn annotate_all(&self, annotations: Annotations) {
        if !annotations.is_empty() {
            self.annotations.borrow_mut().merge(annotations);
        }
    }

    pub(super) fn reservation(&self) -> Reservation<'e> {
        Reservation::none(self.options.budget)
    }

    /// Counts an expression that was compiled. A short query can hold thousands, and each may be a large program.
    pub(super) fn count_regex(&self, weight: usize) -> Evaluated<()> {
        let weight = self.regex_weight.get().saturating_add(weight);
        self.regex_weight.set(weight);
        match weight > MAX_REGEX_WEIGHT {
            true => Err(QueryError::evaluation(TOO_MANY_REGEXES)),
            false => Ok(()),
        }
    }

    pub(super) fn check_cancelled(&self) -> Evaluated<()> {
        match self.options.cancelled {
            Some(cancelled) if cancelled.load(Ordering::Relaxed) => Err(QueryError::Cancelled),
            _ => Ok(()),
        }
    }

    /// Evaluates a whole query that is a vector.
    pub(crate) fn result(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        if !self.options.delayed_name_removal {
            return self.vector(expr, grid, &Around::nothing(), sink);
        }
        let mut merger = Merger::new(grid.count, self.reservation());
        self.vector(expr, grid, &Around::nothing(), &mut |mut row| {
            if row.drop_name {
                row.labels = without_metadata(&row.labels);
            }
            merger.add(row)
        })?;
        merger.finish().0.into_iter().try_for_each(sink)
    }

    /// Evaluates a vector: a row for each series that has a value at some step.
    pub(crate) fn vector(
        &self,
        expr: &Expr,
        grid: &Grid,
        around: &Around<'_>,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        self.check_cancelled()?;
        if grid.count == 0 {
            return Ok(());
        }
        if grid.count > 1 && is_invariant(expr) {
            let steps = grid.count;
            return self.vector(expr, &grid.first(), around, &mut |row| sink(row.broadcast(steps)));
        }
        if let Some(text) = self.shared.wanted(expr) {
            return self.shared_vector(expr, text, grid, around, sink);
        }
        self.vector_anew(expr, grid, around, sink)
    }

    pub(super) fn vector_anew(
        &self,
        expr: &Expr,
        grid: &Grid,
        around: &Around<'_>,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        match expr {
            Expr::Vector(e) => self.instant_selector(e, grid, around, sink),
            Expr::Paren(e) => self.vector(&e.expr, grid, &around.inside(), sink),
            Expr::Unary(e) => {
                if !e.negative {
                    return self.vector(&e.expr, grid, &around.inside(), sink);
                }
                self.renamed(&e.expr, grid, sink, |sink| {
                    self.vector(&e.expr, grid, &around.inside(), &mut |mut row| {
                        super::elementwise::negate(&mut row);
                        self.drop_name(&mut row);
                        sink(row)
                    })
                })
            }
            Expr::Binary(e) => self.binary(e, grid, sink),
            Expr::Aggregate(e) => self.aggregate(e, grid, sink),
            Expr::Call(e) => self.call(e, grid, sink),
            Expr::Matrix(_) | Expr::Subquery(_) | Expr::Number(_) | Expr::String(_) => {
                Err(QueryError::evaluation(format!(
                    "expression of type {} where a vector is needed",
                    expr.value_type().as_str()
                )))
            }
        }
    }

    /// Evaluates a vector and holds it.
    pub(super) fn collect(
        &self,
        expr: &Expr,
        grid: &Grid,
        around: &Around<'_>,
    ) -> Evaluated<(Vec<Row>, Reservation<'e>)> {
        let mut reserved = self.reservation();
        let mut rows = Vec::new();
        self.vector(expr, grid, around, &mut |row| {
            reserved.grow(row.memory_bytes())?;
            rows.push(row);
            Ok(())
        })?;
        Ok((rows, reserved))
    }

    /// Runs `produce`, whose rows lose the names that those of `of` have. Rows that come to have the same labels share
    /// the steps, if they can.
    pub(super) fn renamed(
        &self,
        of: &Expr,
        grid: &Grid,
        sink: Sink<'_>,
        produce: impl FnOnce(Sink<'_>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        if self.options.delayed_name_removal || has_one_name(of) {
            return produce(sink);
        }
        self.merged(grid, sink, produce)
    }

    /// Runs `produce`; rows with the same labels share the steps, if they can.
    pub(super) fn merged(
        &self,
        grid: &Grid,
        sink: Sink<'_>,
        produce: impl FnOnce(Sink<'_>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let mut merger = Merger::new(grid.count, self.reservation());
        produce(&mut |row| merger.add(row))?;
        let (rows, _reserved) = merger.finish();
        rows.into_iter().try_for_each(sink)
    }

    /// Takes the metric's name away, now or at the end.
    pub(super) fn drop_name(&self, row: &mut Row) {
        if !self.options.delayed_name_removal {
            row.labels = without_metadata(&row.labels);
        }
        row.drop_name = true;
    }

    /// Evaluates a scalar: a value for each step.
    pub(crate) fn scalar(&self, expr: &Expr, grid: &Grid) -> Evaluated<Vec<f64>> {
        if grid.count > 1 && is_invariant(expr) {
            let value = self.scalar(expr, &grid.first())?;
            return Ok(vec![value.first().copied().unwrap_or(f64::NAN); grid.count]);
        }
        match expr {
            Expr::Number(e) => Ok(vec![e.value; grid.count]),
            Expr::Paren(e) => self.scalar(&e.expr, grid),
            Expr::Unary(e) => {
                let mut values = self.scalar(&e.expr, grid)?;
                if e.negative {
                    values.iter_mut().for_each(|value| *value = -*value);
                }
                Ok(values)
            }
            Expr::Binary(e) => {
                let mut values = self.scalar(&e.lhs, grid)?;
                let right = self.scalar(&e.rhs, grid)?;
                for (value, right) in values.iter_mut().zip(right) {
                    *value = scalar_binop(e.op, *value, right);
                }
                Ok(values)
            }
            Expr::Call(e) => match (e.function, e.args.first()) {
                (Function::Time, _) => Ok(grid.times().map(|t| t as f64 / 1000.0).collect()),
                (Function::Pi, _) => Ok(vec![std::f64::consts::PI; grid.count]),
                (Function::Scalar, Some(vector)) => self.scalar_of_vector(vector, grid),
                _ => Err(not_a_scalar(expr)),
            },
            _ => Err(not_a_scalar(expr)),
        }
    }

    /// `scalar(v)`: the one float at a step, else NaN.
    fn scalar_of_vector(&self, vector: &Expr, grid: &Grid) -> Evaluated<Vec<f64>> {
        let mut found = vec![super::row::NOTHING; grid.count];
        self.vector(vector, grid, &Around::function(Function::Scalar), &mut |row| {
            for (found, value) in found.iter_mut().zip(row.floats) {
                if !super::row::is_nothing(value) {
                    *found = if super::row::is_nothing(*found) {
                        value
                    } else {
                        f64::NAN
                    };
                }
            }
            Ok(())
        })?;
        for value in &mut found {
            if super::row::is_nothing(*value) {
                *value = f64::NAN;
            }
        }
        Ok(found)
    }
}

fn not_a_scalar(expr: &Expr) -> QueryError {
    debug_assert_ne!(expr.value_type(), ValueType::Scalar);
    QueryError::evaluation(format!(
        "expression of type {} where a scalar is needed",
        expr.value_type().as_str()
    ))
}
