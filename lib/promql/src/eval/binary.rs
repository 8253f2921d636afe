//! Binary operations.

use super::evaluator::{Around, Evaluator, Sink};
use super::operate::{Operands, operate};
use super::row::{NOTHING, is_nothing};
use super::{Cell, Grid, Row};
use crate::ast::{Binary, Operator};
use crate::error::Evaluated;
use crate::float::{arithmetic, compare, from_bool};
use crate::function::ValueType;

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &Binary, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Vector, ValueType::Vector) => match &binary.matching {
                Some(matching) if binary.op.is_set() => self.set_operation(binary, matching, grid, sink),
                Some(matching) => self.vector_operation(binary, matching, grid, sink),
                None => Ok(()),
            },
            (ValueType::Vector, _) => self.vector_and_scalar(binary, false, grid, sink),
            _ => self.vector_and_scalar(binary, true, grid, sink),
        }
    }

    /// A vector and a scalar; `swapped` if the scalar is on the left.
    fn vector_and_scalar(
        &self,
        binary: &Binary,
        swapped: bool,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        let (vector, scalar) = if swapped {
            (&binary.rhs, &binary.lhs)
        } else {
            (&binary.lhs, &binary.rhs)
        };
        let scalars = self.scalar(scalar, grid)?;
        let renames = binary.op.changes_metric() || binary.return_bool;
        let produce = |sink: Sink<'_>| {
            self.vector(vector, grid, &Around::nothing(), &mut |mut row| {
                if row.histograms.is_some() {
                    self.operate_on_histograms(binary, &mut row, &scalars, swapped);
                } else {
                    operate_on_floats(binary, &mut row.floats, &scalars, swapped);
                }
                if row.is_empty() {
                    return Ok(());
                }
                if renames {
                    self.drop_name(&mut row);
                }
                sink(row)
            })
        };
        if renames {
            return self.renamed(vector, grid, sink, produce);
        }
        produce(sink)
    }

    fn operate_on_histograms(&self, binary: &Binary, row: &mut Row, scalars: &[f64], swapped: bool) {
        let is_comparison = binary.op.is_comparison();
        for (step, scalar) in scalars.iter().enumerate() {
            let Some(cell) = row.get(step) else { continue };
            row.clear(step);
            let scalar = Cell::Float(*scalar);
            let (left, right) = if swapped {
                (&scalar, &cell)
            } else {
                (&cell, &scalar)
            };
            let outcome = operate(Operands {
                op: binary.op,
                left,
                right,
                pos: binary.pos(),
            });
            for annotation in outcome.annotations {
                self.annotate(annotation);
            }
            let Some(result) = outcome.result else { continue };
            let keeps = outcome.keep;
            let result = match (binary.return_bool, is_comparison) {
                (true, _) => Cell::Float(from_bool(keeps)),
                (false, true) => cell,
                (false, false) => result,
            };
            if keeps || binary.return_bool {
                row.set(step, result);
            }
        }
    }
}

/// The same where there are floats only.
fn operate_on_floats(binary: &Binary, values: &mut [f64], scalars: &[f64], swapped: bool) {
    let op = binary.op;
    for (value, scalar) in values.iter_mut().zip(scalars) {
        if is_nothing(*value) {
            continue;
        }
        let (left, right) = if swapped {
            (*scalar, *value)
        } else {
            (*value, *scalar)
        };
        *value = result_of_floats(op, left, right, *value, binary.return_bool);
    }
}

/// The result for two floats; a comparison that holds gives `compared`, one that does not gives nothing.
#[inline]
fn result_of_floats(op: Operator, left: f64, right: f64, compared: f64, return_bool: bool) -> f64 {
    if !op.is_comparison() {
        return arithmetic(op, left, right);
    }
    let holds = compare(op, left, right);
    if return_bool {
        from_bool(holds)
    } else if holds {
        compared
    } else {
        NOTHING
    }
}
