//! The times whose samples a selector needs, as Prometheus tells them to its storage.
//!
//! They are told by the text of the query alone, and may be wider than what the steps of a subquery look at. How
//! replicas are deduplicated depends on where their samples begin, so it matters that these times are the same.

use std::cell::RefCell;

use super::evaluator::Evaluator;
use super::extended::Extension;
use crate::ast::{At, Expr, Subquery, VectorSelector};

/// The times of a query, and where in it the evaluation is.
#[derive(Debug)]
pub(super) struct QueryTimes {
    start_ms: i64,
    end_ms: i64,
    lookback_ms: i64,
    /// The first and the last time that any selector needs.
    whole: (i64, i64),
    /// The subqueries around what is evaluated, outermost first.
    around: RefCell<Vec<Outer>>,
}

/// How a subquery moves what it holds.
#[derive(Clone, Copy, Debug, Default)]
struct Outer {
    offset_ms: i64,
    range_ms: i64,
    at_ms: Option<i64>,
}

impl Outer {
    fn of(subquery: &Subquery) -> Outer {
        Outer {
            offset_ms: subquery.offset.ms(),
            range_ms: subquery.range.ms(),
            at_ms: time_of(subquery.at),
        }
    }

    /// Both, the other within this one: `@` of the inner one makes the outer one meaningless.
    fn around(self, inner: Outer) -> Outer {
        if inner.at_ms.is_some() {
            return inner;
        }
        Outer {
            offset_ms: self.offset_ms.saturating_add(inner.offset_ms),
            range_ms: self.range_ms.saturating_add(inner.range_ms),
            at_ms: self.at_ms,
        }
    }
}

fn time_of(at: Option<At>) -> Option<i64> {
    match at {
        Some(At::Time(t)) => Some(t),
        _ => None,
    }
}

impl QueryTimes {
    /// Of a prepared query that is evaluated from `start_ms` to `end_ms`.
    pub(super) fn new(expr: &Expr, start_ms: i64, end_ms: i64, lookback_ms: i64) -> QueryTimes {
        let mut times = QueryTimes {
            start_ms,
            end_ms,
            lookback_ms,
            whole: (0, 0),
            around: RefCell::default(),
        };
        let mut whole = None;
        times.widen(expr, Outer::default(), &mut whole);
        times.whole = whole.unwrap_or_default();
        times
    }

    /// The first and the last time that any selector of the query needs; zeros where there is no selector.
    pub(super) fn whole(&self) -> (i64, i64) {
        self.whole
    }

    /// The first and the last time that a selector needs, for a range of `range_ms` or with 0 for its newest sample.
    pub(super) fn of_selector(&self, selector: &VectorSelector, range_ms: i64) -> (i64, i64) {
        let outer = self
            .around
            .borrow()
            .iter()
            .fold(Outer::default(), |outer, inner| outer.around(*inner));
        self.within(selector, range_ms, outer)
    }

    fn within(&self, selector: &VectorSelector, range_ms: i64, outer: Outer) -> (i64, i64) {
        let (start, end) = match (time_of(selector.at), outer.at_ms) {
            (Some(at), _) => (at, at),
            (None, at) => (
                at.unwrap_or(self.start_ms)
                    .saturating_sub(outer.offset_ms)
                    .saturating_sub(outer.range_ms),
                at.unwrap_or(self.end_ms).saturating_sub(outer.offset_ms),
            ),
        };
        let extension = Extension::of(selector);
        let ahead_ms = extension.map_or(0, |extension| extension.ahead(self.lookback_ms));
        let mut back_ms = if range_ms == 0 { self.lookback_ms } else { range_ms };
        if extension.is_some() && range_ms > 0 {
            back_ms = back_ms.saturating_add(self.lookback_ms);
        }
        // Ranges are open on the left.
        let offset_ms = selector.offset.ms();
        (
            start
                .saturating_sub(back_ms)
                .saturating_add(1)
                .saturating_sub(offset_ms),
            end.saturating_sub(offset_ms).saturating_add(ahead_ms),
        )
    }

    fn widen(&self, expr: &Expr, outer: Outer, whole: &mut Option<(i64, i64)>) {
        let mut add = |selector: &VectorSelector, range_ms| {
            let (start, end) = self.within(selector, range_ms, outer);
            let (first, last) = whole.unwrap_or((start, end));
            *whole = Some((first.min(start), last.max(end)));
        };
        match expr {
            Expr::Vector(selector) => add(selector, 0),
            Expr::Matrix(matrix) => add(&matrix.selector, matrix.range.ms()),
            Expr::Subquery(subquery) => {
                self.widen(&subquery.expr, outer.around(Outer::of(subquery)), whole);
            }
            _ => {
                for child in expr.children() {
                    self.widen(child, outer, whole);
                }
            }
        }
    }
}

impl Evaluator<'_> {
    /// Evaluates something within a subquery.
    pub(super) fn within<T>(&self, subquery: &Subquery, evaluate: impl FnOnce() -> T) -> T {
        self.times.around.borrow_mut().push(Outer::of(subquery));
        let result = evaluate();
        self.times.around.borrow_mut().pop();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::prepare;
    use crate::parser::{ParseOptions, parse};

    /// The times of the whole query.
    fn whole(query: &str) -> (i64, i64) {
        let mut expr = parse(query, ParseOptions::all()).unwrap();
        prepare::prepare(&mut expr, 1_000_000, 2_000_000, 10_000).unwrap();
        QueryTimes::new(&expr, 1_000_000, 2_000_000, 300_000).whole()
    }

    #[test]
    fn ranges_are_open_on_the_left() {
        assert_eq!(whole("up"), (700_001, 2_000_000));
        assert_eq!(whole("rate(up[1m])"), (940_001, 2_000_000));
        assert_eq!(whole("up offset 1m"), (640_001, 1_940_000));
        assert_eq!(whole("up @ 500 offset 1m"), (140_001, 440_000));
    }

    #[test]
    fn subqueries_widen_what_they_hold_whatever_their_steps() {
        assert_eq!(whole("max_over_time(up[10m:7m])"), (100_001, 2_000_000));
        assert_eq!(
            whole("max_over_time(rate(up[1m])[5m:1m] offset 1m)"),
            (580_001, 1_940_000)
        );
        assert_eq!(whole("max_over_time(up[5m:1m] @ 5000)"), (4_400_001, 5_000_000));
    }

    #[test]
    fn a_query_needs_what_its_selectors_need() {
        assert_eq!(whole("up + rate(up[10m] offset -1m)"), (460_001, 2_060_000));
        assert_eq!(whole("1 + 1"), (0, 0));
    }

    #[test]
    fn extended_selectors_look_further() {
        assert_eq!(whole("rate(up[1m] anchored)"), (640_001, 2_000_000));
        assert_eq!(whole("rate(up[1m] smoothed)"), (640_001, 2_300_000));
    }
}
