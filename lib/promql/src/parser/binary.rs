//! Operators between and before expressions.

use super::{Nested, Parsed, Parser, check_depth};
use crate::ast::{Binary, Cardinality, Expr, Operator, Unary, VectorMatching};
use crate::position::PosRange;
use crate::token::{Keyword, Kind};

/// A sign binds as `*` does: of all operators only `^` binds stronger.
const SIGN_OPERAND_PRECEDENCE: u8 = 6;

impl Parser<'_> {
    /// Reads an expression of operators that bind at least as strong as `precedence`.
    pub(super) fn expression(&mut self, precedence: u8) -> Parsed<Nested> {
        let mut left = self.signed()?;
        loop {
            let Kind::Operator(op) = self.peek()?.kind else {
                return Ok(left);
            };
            if op.precedence() < precedence {
                return Ok(left);
            }
            self.next()?;
            let (return_bool, matching) = self.binary_modifiers()?;
            let stronger = if op == Operator::Pow { 0 } else { 1 };
            let start = PosRange::new(self.lexer_place(), self.lexer_place());
            let right = self.deeper(start, |parser| parser.expression(op.precedence() + stronger))?;
            let depth = left.depth.max(right.depth) + 1;
            check_depth(depth, start)?;
            left = Nested {
                expr: Expr::Binary(Box::new(Binary {
                    op,
                    lhs: left.expr,
                    rhs: right.expr,
                    matching: Some(matching),
                    return_bool,
                })),
                depth,
            };
        }
    }

    fn lexer_place(&self) -> usize {
        match &self.ahead {
            Some(Ok(token)) => token.start,
            _ => 0,
        }
    }

    fn signed(&mut self) -> Parsed<Nested> {
        let token = self.peek()?;
        let negative = match token.kind {
            Kind::Operator(Operator::Sub) => true,
            Kind::Operator(Operator::Add) => false,
            _ => return self.postfixed(),
        };
        self.next()?;
        let operand = self.deeper(token.pos(), |parser| parser.expression(SIGN_OPERAND_PRECEDENCE))?;
        let depth = operand.depth + 1;
        check_depth(depth, token.pos())?;
        let expr = match operand.expr {
            Expr::Number(mut number) => {
                if negative {
                    number.value = -number.value;
                }
                number.pos.start = token.start;
                Expr::Number(number)
            }
            expr => Expr::Unary(Box::new(Unary {
                negative,
                expr,
                start: token.start,
            })),
        };
        Ok(Nested { expr, depth })
    }

    /// Reads `bool`, `on`, `ignoring`, `group_left` and `group_right` behind an operator.
    fn binary_modifiers(&mut self) -> Parsed<(bool, VectorMatching)> {
        let mut matching = VectorMatching::one_to_one();
        let return_bool = self.next_if(Kind::Keyword(Keyword::Bool))?.is_some();
        match self.peek()?.kind {
            Kind::Keyword(Keyword::On) => matching.on = true,
            Kind::Keyword(Keyword::Ignoring) => {}
            _ => return Ok((return_bool, matching)),
        }
        self.next()?;
        matching.labels = self.grouping_labels()?;
        matching.card = match self.peek()?.kind {
            Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
            Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok((return_bool, matching)),
        };
        self.next()?;
        if self.peek()?.kind == Kind::LeftParen {
            matching.include = self.grouping_labels()?;
        }
        Ok((return_bool, matching))
    }
}
