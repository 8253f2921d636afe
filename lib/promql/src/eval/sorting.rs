//! `sort` and its kin. Only the results of instant queries have an order.

mod natural;

use std::cmp::Ordering;

use self::natural::natural_order;
use super::evaluator::{Around, Evaluator, Sink};
use super::row::is_nothing;
use super::{Grid, Row};
use crate::ast::{Call, Expr};
use crate::error::Evaluated;
use crate::function::Function;

impl Evaluator<'_> {
    pub(super) fn sort(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Evaluated<()> {
        let Some(vector) = call.args.first() else {
            return Ok(());
        };
        let around = Around::function(call.function);
        let by_value = matches!(call.function, Function::Sort | Function::SortDesc);
        if grid.count > 1 {
            return self.vector(vector, grid, &around, &mut |mut row| {
                if by_value {
                    row.histograms = None;
                }
                if row.is_empty() { Ok(()) } else { sink(row) }
            });
        }
        let (mut rows, _reserved) = self.collect(vector, grid, &around)?;
        if by_value {
            rows.retain(|row| row.floats.first().is_some_and(|value| !is_nothing(*value)));
            let descending = call.function == Function::SortDesc;
            rows.sort_by(|a, b| value_order(value(a), value(b), descending));
        } else {
            let names: Vec<&str> = call.args.iter().skip(1).filter_map(text).collect();
            let descending = call.function == Function::SortByLabelDesc;
            rows.sort_by(|a, b| {
                let order = label_order(a, b, &names);
                if descending { order.reverse() } else { order }
            });
        }
        rows.into_iter().try_for_each(sink)
    }
}

fn value(row: &Row) -> f64 {
    row.floats.first().copied().unwrap_or(f64::NAN)
}

fn text(arg: &Expr) -> Option<&str> {
    match arg {
        Expr::String(text) => Some(&text.value),
        _ => None,
    }
}

/// The order of values; NaN comes last either way.
pub(super) fn value_order(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
    }
}

fn label_order(a: &Row, b: &Row, names: &[&str]) -> Ordering {
    for name in names {
        let (a, b) = (a.labels.get(name).unwrap_or(""), b.labels.get(name).unwrap_or(""));
        let order = natural_order(a, b);
        if order != Ordering::Equal {
            return order;
        }
    }
    a.labels.cmp(&b.labels)
}
