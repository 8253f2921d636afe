//! Literals, calls and what stands in parentheses.

use super::{Failure, Nested, Parsed, Parser, check_depth};
use crate::ast::{Call, Expr, NumberLiteral, Paren, StringLiteral};
use crate::function::Function;
use crate::go_text::quoted;
use crate::position::PosRange;
use crate::token::{Keyword, Kind, Operator, Preprocessor, Token};

impl<'a> Parser<'a> {
    /// Whether the next token can start an expression.
    pub(super) fn starts_expression(&mut self) -> Parsed<bool> {
        let kind = self.peek()?.kind;
        let plain = matches!(
            kind,
            Kind::Number | Kind::Duration | Kind::String | Kind::LeftParen | Kind::LeftBrace
        );
        let sign = matches!(kind, Kind::Operator(Operator::Add | Operator::Sub));
        Ok(plain || sign || is_metric_name(kind))
    }

    pub(super) fn primary(&mut self) -> Parsed<Nested> {
        let token = self.next()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let (value, is_duration) = self.number(token)?;
                Ok(Nested::flat(Expr::Number(NumberLiteral {
                    value,
                    is_duration,
                    pos: token.pos(),
                })))
            }
            Kind::String => Ok(Nested::flat(Expr::String(StringLiteral {
                value: self.unquoted(token)?,
                pos: token.pos(),
            }))),
            Kind::LeftParen => self.paren(token),
            Kind::Aggregator(op) => match self.peek()?.kind {
                Kind::LeftParen | Kind::Keyword(Keyword::By | Keyword::Without) => self.aggregate(op, token),
                _ => self.plain_selector(token),
            },
            Kind::Identifier if self.peek()?.kind == Kind::LeftParen => self.call(token),
            Kind::Preprocessor(Preprocessor::Step) if self.peek()?.kind == Kind::LeftParen => {
                self.misplaced_step(token)
            }
            Kind::LeftBrace => self.plain_selector(token),
            kind if is_metric_name(kind) => self.plain_selector(token),
            _ => Err(Failure::unexpected(token)),
        }
    }

    fn plain_selector(&mut self, token: Token<'a>) -> Parsed<Nested> {
        let selector = self.vector_selector(token)?;
        Ok(Nested::flat(Expr::Vector(Box::new(selector))))
    }

    fn paren(&mut self, open: Token<'a>) -> Parsed<Nested> {
        let inner = self.deeper(open.pos(), |parser| parser.expression(0))?;
        let close = self.expect(Kind::RightParen)?;
        let depth = inner.depth + 1;
        check_depth(depth, open.pos())?;
        let paren = Paren {
            expr: inner.expr,
            pos: open.pos().to(close.pos()),
        };
        Ok(Nested {
            expr: Expr::Paren(Box::new(paren)),
            depth,
        })
    }

    fn call(&mut self, name: Token<'a>) -> Parsed<Nested> {
        let arguments = self.arguments()?;
        let Some(function) = Function::find(name.text) else {
            let message = format!("unknown function with name {}", quoted(name.text));
            return Err(Failure::at(name.pos(), message));
        };
        if function.signature().experimental && !self.options.experimental_functions {
            let message = format!("function {} is not enabled", quoted(name.text));
            return Err(Failure::at(name.pos(), message));
        }
        let call = Call {
            function,
            args: arguments.list,
            pos: PosRange::new(name.start, arguments.end),
        };
        Ok(Nested {
            expr: Expr::Call(Box::new(call)),
            depth: arguments.depth + 1,
        })
    }

    /// `step()` belongs into durations; elsewhere Prometheus stumbles over it when it checks types.
    fn misplaced_step(&mut self, token: Token<'a>) -> Parsed<Nested> {
        self.expect(Kind::LeftParen)?;
        self.expect(Kind::RightParen)?;
        Err(Failure::at(
            token.pos(),
            "unknown node type: *parser.DurationExpr",
        ))
    }

    /// The text that a token in quotes stands for.
    pub(super) fn unquoted(&self, token: Token<'a>) -> Parsed<String> {
        match sabre_model::quote::unquote_prefix(token.text) {
            Ok((text, _)) => Ok(text),
            Err(error) => {
                let message = format!("error unquoting string {}: {error}", quoted(token.text));
                Err(Failure::at(token.pos(), message))
            }
        }
    }
}

/// Whether the token can be the name of a metric: most keywords can.
pub(super) fn is_metric_name(kind: Kind) -> bool {
    match kind {
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_) | Kind::Preprocessor(_) => true,
        Kind::Operator(op) => op.is_set(),
        Kind::Keyword(keyword) => matches!(
            keyword,
            Keyword::By | Keyword::Offset | Keyword::Without | Keyword::Anchored | Keyword::Smoothed
        ),
        _ => false,
    }
}
