//! Aggregations, the arguments of calls, and lists of labels.

use super::{Failure, Nested, Parsed, Parser};
use crate::ast::{Aggregate, AggregateOp, Expr};
use crate::position::PosRange;
use crate::token::{Keyword, Kind, Token};

/// Expressions in parentheses, the depth of the deepest, and where the parentheses end.
pub(super) struct Arguments {
    pub(super) list: Vec<Expr>,
    pub(super) depth: usize,
    pub(super) end: usize,
}

impl<'a> Parser<'a> {
    /// Reads an aggregation behind its name.
    pub(super) fn aggregate(&mut self, op: AggregateOp, name: Token<'a>) -> Parsed<Nested> {
        let mut grouping = self.aggregate_modifier()?;
        let arguments = self
            .arguments()
            .map_err(|failure| failure.within("aggregation", ""))?;
        let mut end = arguments.end;
        if grouping.is_none() {
            grouping = self.aggregate_modifier()?;
            if grouping.is_some() {
                end = self.last_end;
            }
        }
        let pos = PosRange::new(name.start, end);
        let (grouping, without) = grouping.unwrap_or_default();
        self.assemble_aggregate(op, pos, arguments, grouping, without)
    }

    fn assemble_aggregate(
        &self,
        op: AggregateOp,
        pos: PosRange,
        arguments: Arguments,
        grouping: Vec<String>,
        without: bool,
    ) -> Parsed<Nested> {
        let count = arguments.list.len();
        if count == 0 {
            return Err(Failure::at(pos, "no arguments for aggregate expression provided"));
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let name = op.as_str();
            return Err(Failure::at(
                pos,
                format!(
                    "{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
                ),
            ));
        }
        let wanted = if op.has_parameter() { 2 } else { 1 };
        let mut list = arguments.list.into_iter();
        let param = if op.has_parameter() { list.next() } else { None };
        match (list.next(), list.next()) {
            (Some(expr), None) => Ok(Nested {
                expr: Expr::Aggregate(Box::new(Aggregate {
                    op,
                    param,
                    expr,
                    grouping,
                    without,
                    pos,
                })),
                depth: arguments.depth + 1,
            }),
            _ => Err(Failure::at(
                pos,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {count}"
                ),
            )),
        }
    }

    /// Reads `by (…)` or `without (…)`, if it comes next.
    fn aggregate_modifier(&mut self) -> Parsed<Option<(Vec<String>, bool)>> {
        let without = match self.peek()?.kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some((self.grouping_labels()?, without)))
    }

    /// Reads the arguments of a call or an aggregation, with their parentheses.
    pub(super) fn arguments(&mut self) -> Parsed<Arguments> {
        let open = self.expect(Kind::LeftParen)?;
        let mut arguments = Arguments {
            list: Vec::new(),
            depth: 0,
            end: open.end(),
        };
        if self.peek()?.kind != Kind::RightParen {
            loop {
                let argument = self.deeper(open.pos(), |parser| parser.expression(0))?;
                arguments.depth = arguments.depth.max(argument.depth);
                arguments.list.push(argument.expr);
                let Some(comma) = self.next_if(Kind::Comma)? else {
                    break;
                };
                if !self.starts_expression()? {
                    return Err(Failure::at(
                        comma.pos(),
                        "trailing commas not allowed in function call args",
                    ));
                }
            }
        }
        super::check_depth(arguments.depth + 1, open.pos())?;
        arguments.end = self.expect(Kind::RightParen)?.end();
        Ok(arguments)
    }

    /// Reads label names in parentheses.
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        let open = self.expect(Kind::LeftParen);
        open.map_err(|failure| failure.within(CONTEXT, "\"(\""))?;
        let mut labels = Vec::new();
        if self.next_if(Kind::RightParen)?.is_some() {
            return Ok(labels);
        }
        loop {
            let token = self.next()?;
            let label = self.grouping_label(token);
            labels.push(label.map_err(|failure| failure.within(CONTEXT, "label"))?);
            let token = self.next()?;
            match token.kind {
                Kind::RightParen => return Ok(labels),
                Kind::Comma => {
                    if self.next_if(Kind::RightParen)?.is_some() {
                        return Ok(labels);
                    }
                }
                _ => return Err(Failure::unexpected(token).within(CONTEXT, "\",\" or \")\"")),
            }
        }
    }

    fn grouping_label(&self, token: Token<'a>) -> Parsed<String> {
        match token.kind {
            Kind::Identifier
            | Kind::MetricIdentifier
            | Kind::Aggregator(_)
            | Kind::Keyword(_)
            | Kind::Preprocessor(_) => Ok(token.text.to_owned()),
            Kind::Operator(op) if op.as_str().starts_with(|c: char| c.is_ascii_alphabetic()) => {
                Ok(token.text.to_owned())
            }
            Kind::String => {
                let label = self.unquoted(token)?;
                if label.is_empty() {
                    return Err(Failure::at(token.pos(), "invalid label name for grouping: \"\""));
                }
                Ok(label)
            }
            _ => Err(Failure::unexpected(token)),
        }
    }
}
