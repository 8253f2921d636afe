//! Durations in brackets and behind `offset`, with arithmetic where it is enabled.

use super::{Failure, Parsed, Parser};
use crate::ast::{AggregateOp, Duration, DurationExpr, Operator};
use crate::position::PosRange;
use crate::token::{Kind, Preprocessor, Token};

/// The longest duration in seconds: that of 63 bits of nanoseconds.
const MAX_SECONDS: f64 = (1u64 << 63) as f64 / 1e9;

impl<'a> Parser<'a> {
    /// Reads a duration that must be positive.
    pub(super) fn positive_duration(&mut self) -> Parsed<Duration> {
        let expr = self.duration(0)?;
        match expr {
            DurationExpr::Literal { value, pos, .. } if value <= 0.0 => {
                Err(Failure::at(pos, "duration must be greater than 0"))
            }
            DurationExpr::Literal { value, .. } => Ok(Duration::from_seconds(value)),
            expr => Ok(Duration::Computed(expr)),
        }
    }

    /// Reads the duration of an offset: operators behind it belong to it only where it starts with a parenthesis.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        let token = self.peek()?;
        let sign = match token.kind {
            Kind::Operator(Operator::Add) => Some(false),
            Kind::Operator(Operator::Sub) => Some(true),
            _ => None,
        };
        if sign.is_some() {
            self.next()?;
        }
        let starts_with_paren = self.peek()?.kind == Kind::LeftParen;
        let expr = if starts_with_paren && sign.is_none() {
            self.duration(0)?
        } else {
            self.duration_operand()?
        };
        let expr = match sign {
            Some(true) => negated(expr, token.start),
            _ => expr,
        };
        match expr {
            DurationExpr::Literal { value, .. } => Ok(Duration::from_seconds(value)),
            expr => Ok(Duration::Computed(expr)),
        }
    }

    /// Reads a duration of operators that bind at least as strong as `precedence`.
    fn duration(&mut self, precedence: u8) -> Parsed<DurationExpr> {
        let mut left = self.signed_duration()?;
        loop {
            let token = self.peek()?;
            let Kind::Operator(op) = token.kind else {
                return Ok(left);
            };
            let computes = op.changes_metric() && op != Operator::Atan2;
            if !computes || op.precedence() < precedence {
                return Ok(left);
            }
            self.next()?;
            let stronger = if op == Operator::Pow { 0 } else { 1 };
            let right = self.deeper(token.pos(), |parser| parser.duration(op.precedence() + stronger))?;
            self.check_enabled(left.pos())?;
            if let (Operator::Div | Operator::Mod, DurationExpr::Literal { value, .. }) = (op, &right)
                && *value == 0.0
            {
                let what = if op == Operator::Div { "division" } else { "modulo" };
                return Err(Failure::at(token.pos(), format!("{what} by zero")));
            }
            self.count_duration(token)?;
            left = DurationExpr::Binary {
                op,
                args: Box::new((left, right)),
            };
        }
    }

    /// A chain of operators makes a deep tree without deep recursion: it is bounded too.
    fn count_duration(&mut self, token: Token<'a>) -> Parsed<()> {
        self.duration_operators += 1;
        super::check_depth(self.duration_operators, token.pos())
    }

    fn signed_duration(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek()?;
        let negative = match token.kind {
            Kind::Operator(Operator::Sub) => true,
            Kind::Operator(Operator::Add) => false,
            _ => return self.duration_operand(),
        };
        self.next()?;
        // A sign binds as `*` does.
        let operand = self.deeper(token.pos(), |parser| parser.duration(6))?;
        Ok(match negative {
            true => negated(operand, token.start),
            false => operand,
        })
    }

    fn duration_operand(&mut self) -> Parsed<DurationExpr> {
        let token = self.next()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let (value, is_duration) = self.number(token)?;
                // NaN is none of Prometheus' errors, but no duration either.
                if value.is_nan() || value.abs() > MAX_SECONDS {
                    return Err(Failure::at(token.pos(), "duration out of range"));
                }
                Ok(DurationExpr::Literal {
                    value,
                    is_duration,
                    pos: token.pos(),
                })
            }
            Kind::Preprocessor(Preprocessor::Step) => {
                self.expect(Kind::LeftParen)?;
                let close = self.expect(Kind::RightParen)?;
                Ok(DurationExpr::Step(PosRange::new(token.start, close.end())))
            }
            Kind::Aggregator(AggregateOp::Min) => self.extreme(token, false),
            Kind::Aggregator(AggregateOp::Max) => self.extreme(token, true),
            Kind::LeftParen => {
                let inner = self.deeper(token.pos(), |parser| parser.duration(0))?;
                self.expect(Kind::RightParen)?;
                self.check_enabled(inner.pos())?;
                Ok(match inner {
                    literal @ DurationExpr::Literal { .. } => literal,
                    inner => DurationExpr::Paren(Box::new(inner)),
                })
            }
            _ => Err(Failure::unexpected(token)),
        }
    }

    fn extreme(&mut self, name: Token<'a>, max: bool) -> Parsed<DurationExpr> {
        self.expect(Kind::LeftParen)?;
        let first = self.deeper(name.pos(), |parser| parser.duration(0))?;
        self.expect(Kind::Comma)?;
        let second = self.deeper(name.pos(), |parser| parser.duration(0))?;
        let close = self.expect(Kind::RightParen)?;
        Ok(DurationExpr::Extreme {
            max,
            args: Box::new((first, second)),
            pos: PosRange::new(name.start, close.end()),
        })
    }

    fn check_enabled(&self, pos: PosRange) -> Parsed<()> {
        if self.options.duration_expressions {
            return Ok(());
        }
        Err(Failure::at(
            pos,
            "experimental duration expression is not enabled",
        ))
    }
}

fn negated(expr: DurationExpr, start: usize) -> DurationExpr {
    match expr {
        DurationExpr::Literal {
            value,
            is_duration,
            mut pos,
        } => {
            pos.start = start;
            DurationExpr::Literal {
                value: -value,
                is_duration,
                pos,
            }
        }
        expr => DurationExpr::Negated {
            expr: Box::new(expr),
            start,
        },
    }
}
