//! Puts in what depends on the times of the query: durations that are computed, `@ start()` and `@ end()`.

use crate::ast::{At, Duration, Expr, VectorSelector};
use crate::error::{Evaluated, QueryError};

struct Times {
    start: i64,
    end: i64,
    step_seconds: f64,
}

/// Prepares a query over these times, in milliseconds; parentheses around arguments go.
pub(super) fn prepare(expr: &mut Expr, start: i64, end: i64, step: i64) -> Evaluated<()> {
    Times {
        start,
        end,
        step_seconds: step as f64 / 1000.0,
    }
    .expr(expr)
}

fn unwrap_parens(expr: &mut Expr) {
    while let Expr::Paren(paren) = expr {
        let inner = std::mem::replace(
            &mut paren.expr,
            Expr::String(crate::ast::StringLiteral {
                value: String::new(),
                pos: paren.pos,
            }),
        );
        *expr = inner;
    }
}

impl Times {
    fn expr(&self, expr: &mut Expr) -> Evaluated<()> {
        match expr {
            Expr::Aggregate(e) => {
                e.grouping.sort();
                unwrap_parens(&mut e.expr);
                self.expr(&mut e.expr)?;
                match &mut e.param {
                    Some(param) => {
                        unwrap_parens(param);
                        self.expr(param)
                    }
                    None => Ok(()),
                }
            }
            Expr::Binary(e) => {
                self.expr(&mut e.lhs)?;
                self.expr(&mut e.rhs)
            }
            Expr::Call(e) => {
                for arg in &mut e.args {
                    unwrap_parens(arg);
                    self.expr(arg)?;
                }
                Ok(())
            }
            Expr::Matrix(e) => {
                self.duration(&mut e.range, false)?;
                self.selector(&mut e.selector)
            }
            Expr::Subquery(e) => {
                self.duration(&mut e.range, false)?;
                self.duration(&mut e.step, false)?;
                self.duration(&mut e.offset, true)?;
                self.at(&mut e.at);
                self.expr(&mut e.expr)
            }
            Expr::Paren(e) => self.expr(&mut e.expr),
            Expr::Unary(e) => self.expr(&mut e.expr),
            Expr::Vector(e) => self.selector(e),
            Expr::Number(_) | Expr::String(_) => Ok(()),
        }
    }

    fn selector(&self, selector: &mut VectorSelector) -> Evaluated<()> {
        self.duration(&mut selector.offset, true)?;
        self.at(&mut selector.at);
        Ok(())
    }

    fn at(&self, at: &mut Option<At>) {
        match at {
            Some(At::Start) => *at = Some(At::Time(self.start)),
            Some(At::End) => *at = Some(At::Time(self.end)),
            _ => {}
        }
    }

    fn duration(&self, duration: &mut Duration, may_be_negative: bool) -> Evaluated<()> {
        if let Duration::Computed(expr) = duration {
            let ns = expr
                .resolve(self.step_seconds, may_be_negative)
                .map_err(QueryError::Evaluation)?;
            *duration = Duration::Known(ns);
        }
        Ok(())
    }
}

impl Duration {
    /// Nanoseconds, once prepared.
    pub(crate) fn ns(&self) -> i64 {
        match self {
            Duration::Known(ns) => *ns,
            Duration::Computed(_) => 0,
        }
    }

    /// Milliseconds, once prepared.
    pub(crate) fn ms(&self) -> i64 {
        self.ns() / 1_000_000
    }
}
