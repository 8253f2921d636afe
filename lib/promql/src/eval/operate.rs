//! One binary operation on two values, either of which may be a histogram.

use std::sync::Arc;

use super::Cell;
use crate::annotation::{Annotation, HistogramOperation};
use crate::ast::Operator;
use crate::float::{arithmetic, compare};
use crate::histogram::{self, CounterResetHint, FloatHistogram};
use crate::position::PosRange;

/// Two values and what is to be done with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands<'o> {
    pub(super) op: Operator,
    pub(super) left: &'o Cell,
    pub(super) right: &'o Cell,
    pub(super) pos: PosRange,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The value; of a comparison the left one. Nothing if the values do not go together.
    pub(super) result: Option<Cell>,
    /// Whether a comparison holds; true for everything else.
    pub(super) keep: bool,
    pub(super) annotations: Vec<Annotation>,
}

impl Outcome {
    fn value(result: Cell) -> Outcome {
        Outcome {
            result: Some(result),
            keep: true,
            annotations: Vec::new(),
        }
    }

    fn histogram(mut h: FloatHistogram) -> Outcome {
        histogram::compact(&mut h);
        Outcome::value(Cell::Histogram(Arc::new(h)))
    }

    fn remark(annotation: Annotation) -> Outcome {
        Outcome {
            annotations: vec![annotation],
            ..Outcome::default()
        }
    }
}

pub(super) fn operate(operands: Operands<'_>) -> Outcome {
    let Operands { op, left, right, pos } = operands;
    match (left, right) {
        (Cell::Float(a), Cell::Float(b)) => {
            if op.is_comparison() {
                return Outcome {
                    keep: compare(op, *a, *b),
                    ..Outcome::value(Cell::Float(*a))
                };
            }
            Outcome::value(Cell::Float(arithmetic(op, *a, *b)))
        }
        (Cell::Float(factor), Cell::Histogram(h)) if op == Operator::Mul => scaled(h, *factor),
        (Cell::Histogram(h), Cell::Float(factor)) if op == Operator::Mul => scaled(h, *factor),
        (Cell::Histogram(h), Cell::Float(divisor)) if op == Operator::Div => {
            let mut h = FloatHistogram::clone(h);
            histogram::divide(&mut h, *divisor);
            Outcome::histogram(h)
        }
        (Cell::Histogram(a), Cell::Histogram(b)) => match op {
            Operator::Add => combined(a, b, HistogramOperation::Addition, operands),
            Operator::Sub => combined(a, b, HistogramOperation::Subtraction, operands),
            Operator::Eq | Operator::Neq => Outcome {
                keep: histogram::equal(a, b) == (op == Operator::Eq),
                ..Outcome::value(left.clone())
            },
            _ => incompatible("histogram", op, "histogram", pos),
        },
        (Cell::Float(_), Cell::Histogram(_)) => incompatible("float", op, "histogram", pos),
        (Cell::Histogram(_), Cell::Float(_)) => incompatible("histogram", op, "float", pos),
    }
}

fn incompatible(left: &str, op: Operator, right: &str, pos: PosRange) -> Outcome {
    Outcome::remark(Annotation::incompatible_types_in_binop(
        left,
        op.as_str(),
        right,
        pos,
    ))
}

fn scaled(h: &FloatHistogram, factor: f64) -> Outcome {
    let mut h = h.clone();
    histogram::scale(&mut h, factor);
    Outcome::histogram(h)
}

fn combined(
    a: &FloatHistogram,
    b: &FloatHistogram,
    operation: HistogramOperation,
    operands: Operands<'_>,
) -> Outcome {
    let mut h = a.clone();
    let is_difference = operation == HistogramOperation::Subtraction;
    let done = if is_difference {
        histogram::sub(&mut h, b)
    } else {
        histogram::add(&mut h, b)
    };
    let Ok(done) = done else {
        let op = operands.op.as_str();
        return Outcome::remark(Annotation::incompatible_buckets_in_binop(op, operands.pos));
    };
    if done.reset_collision {
        // Prometheus drops the sample then.
        return Outcome::remark(Annotation::reset_collision(operation, operands.pos));
    }
    if is_difference {
        h.hint = CounterResetHint::Gauge;
    }
    let mut outcome = Outcome::histogram(h);
    if done.bounds_reconciled {
        outcome
            .annotations
            .push(Annotation::bounds_reconciled(operation, operands.pos));
    }
    outcome
}
