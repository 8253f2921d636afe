//! Expressions that a query has more than once: they are evaluated once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::evaluator::{Around, Evaluator, Sink};
use super::{Grid, Row};
use crate::ast::Expr;
use crate::budget::Reservation;
use crate::error::Evaluated;
use crate::function::ValueType;

/// The longest text of an expression that is compared with others.
const MAX_TEXT_BYTES: usize = 4096;

/// The greatest number of expressions in a query in which equal ones are looked for.
const MAX_EXPRESSIONS: usize = 500;

/// Rows by the text of their expression and the times.
type Cache<'e> = HashMap<(String, Grid, &'static str), Rc<(Vec<Row>, Reservation<'e>)>>;

/// Finds expressions that come more than once, and keeps their rows.
pub(super) struct Shared<'e> {
    /// Texts of those that come more than once, and not only within one that does.
    repeated: HashMap<String, usize>,
    rows: RefCell<Cache<'e>>,
}

impl<'e> Shared<'e> {
    pub(super) fn new(expr: &Expr) -> Shared<'e> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut parents: HashMap<String, usize> = HashMap::new();
        let mut seen = 0;
        count(expr, &mut counts, &mut seen);
        counts.retain(|_, count| *count > 1);
        if !counts.is_empty() && seen <= MAX_EXPRESSIONS {
            count_within(expr, &counts, 1, &mut parents);
            counts.retain(|text, count| parents.get(text).is_none_or(|within| within < count));
        } else {
            counts.clear();
        }
        Shared {
            repeated: counts,
            rows: RefCell::default(),
        }
    }

    /// The text of the expression, if it comes more than once.
    pub(super) fn wanted(&self, expr: &Expr) -> Option<String> {
        if self.repeated.is_empty() || !is_shareable(expr) {
            return None;
        }
        let text = expr.to_string();
        self.repeated.contains_key(&text).then_some(text)
    }
}

fn is_shareable(expr: &Expr) -> bool {
    matches!(expr, Expr::Vector(_) | Expr::Call(_) | Expr::Aggregate(_))
        && expr.value_type() == ValueType::Vector
}

fn count(expr: &Expr, counts: &mut HashMap<String, usize>, seen: &mut usize) {
    *seen += 1;
    if *seen > MAX_EXPRESSIONS {
        return;
    }
    if is_shareable(expr) {
        let text = expr.to_string();
        if text.len() <= MAX_TEXT_BYTES {
            *counts.entry(text).or_default() += 1;
        }
    }
    for child in expr.children() {
        count(child, counts, seen);
    }
}

/// Counts how often each repeated expression stands within one that comes as often.
fn count_within(
    expr: &Expr,
    counts: &HashMap<String, usize>,
    outer: usize,
    within: &mut HashMap<String, usize>,
) {
    let mut here = outer;
    if is_shareable(expr) {
        let text = expr.to_string();
        let own = counts.get(&text).copied().unwrap_or(1);
        if own > 1 && outer >= own {
            *within.entry(text).or_default() += 1;
        }
        here = here.max(own);
    }
    for child in expr.children() {
        count_within(child, counts, here, within);
    }
}

impl<'e> Evaluator<'e> {
    /// Gives the rows of an expression that comes more than once.
    pub(super) fn shared_vector(
        &self,
        expr: &Expr,
        text: String,
        grid: &Grid,
        around: &Around<'_>,
        sink: Sink<'_>,
    ) -> Evaluated<()> {
        // A downsampled series gives other samples to another function.
        let key = (text, *grid, around.func);
        let known = self.shared.rows.borrow().get(&key).cloned();
        let rows = match known {
            Some(rows) => rows,
            None => {
                let mut reserved = self.reservation();
                let mut rows = Vec::new();
                self.vector_anew(expr, grid, around, &mut |row| {
                    reserved.grow(row.memory_bytes())?;
                    rows.push(row);
                    Ok(())
                })?;
                let rows = Rc::new((rows, reserved));
                self.shared.rows.borrow_mut().insert(key, Rc::clone(&rows));
                rows
            }
        };
        rows.0.iter().try_for_each(|row| sink(row.clone()))
    }
}
