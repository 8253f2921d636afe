//! What stands behind an expression: ranges, subqueries, `offset`, `@`, `anchored` and `smoothed`.

use super::{Failure, Nested, Parsed, Parser, check_depth};
use crate::ast::{At, Duration, Expr, MatrixSelector, Subquery, VectorSelector};
use crate::position::PosRange;
use crate::token::{Keyword, Kind, Preprocessor, Token};

/// The parts of a selector or subquery that `offset` and `@` set.
struct Shiftable<'e> {
    offset: &'e mut Duration,
    at: &'e mut Option<At>,
    end: &'e mut usize,
}

impl<'a> Parser<'a> {
    /// Reads an expression without operators, and what stands behind it.
    pub(super) fn postfixed(&mut self) -> Parsed<Nested> {
        let mut nested = self.primary()?;
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::LeftBracket => {
                    self.next()?;
                    nested = self.bracket(nested, token)?;
                }
                Kind::At => {
                    self.next()?;
                    self.at(&mut nested.expr)?;
                }
                Kind::Keyword(Keyword::Offset) => {
                    self.next()?;
                    self.offset(&mut nested.expr)?;
                }
                Kind::Keyword(Keyword::Anchored) => {
                    self.next()?;
                    self.extended(&mut nested.expr, "anchored")?;
                }
                Kind::Keyword(Keyword::Smoothed) => {
                    self.next()?;
                    self.extended(&mut nested.expr, "smoothed")?;
                }
                _ => return Ok(nested),
            }
        }
    }

    /// Reads a range or a subquery behind its bracket.
    fn bracket(&mut self, nested: Nested, open: Token<'a>) -> Parsed<Nested> {
        let range = self.positive_duration();
        let range = range
            .map_err(|failure| failure.within("subquery or range selector", "number, duration, or step()"))?;
        let token = self.next()?;
        match token.kind {
            Kind::RightBracket => self.matrix_selector(nested, range, open, token),
            Kind::Colon => self.subquery(nested, range),
            _ => Err(Failure::unexpected(token).within("subquery or range", "\":\" or \"]\"")),
        }
    }

    fn matrix_selector(
        &self,
        nested: Nested,
        range: Duration,
        open: Token<'a>,
        close: Token<'a>,
    ) -> Parsed<Nested> {
        let brackets = open.pos().to(close.pos());
        let Expr::Vector(selector) = nested.expr else {
            return Err(Failure::at(brackets, "ranges only allowed for vector selectors"));
        };
        if selector.offset != Duration::ZERO && matches!(selector.offset, Duration::Known(_)) {
            return Err(Failure::at(brackets, "no offset modifiers allowed before range"));
        }
        if matches!(selector.at, Some(At::Time(_))) {
            return Err(Failure::at(brackets, "no @ modifiers allowed before range"));
        }
        Ok(Nested::flat(Expr::Matrix(Box::new(MatrixSelector {
            selector: *selector,
            range,
            end: close.end(),
        }))))
    }

    /// Reads a subquery behind its colon.
    fn subquery(&mut self, nested: Nested, range: Duration) -> Parsed<Nested> {
        const CONTEXT: &str = "subquery selector";
        let mut step = Duration::ZERO;
        let mut close = self.next_if(Kind::RightBracket)?;
        if close.is_none() {
            step = self
                .positive_duration()
                .map_err(|failure| failure.within(CONTEXT, "number, duration, or step() or \"]\""))?;
            let token = self.expect(Kind::RightBracket);
            close = Some(token.map_err(|failure| failure.within(CONTEXT, "\"]\""))?);
        }
        let depth = nested.depth + 1;
        let end = close.map_or(0, |token| token.end());
        check_depth(depth, PosRange::new(end, end))?;
        let subquery = Subquery {
            expr: nested.expr,
            range,
            step,
            offset: Duration::ZERO,
            at: None,
            end,
        };
        Ok(Nested {
            expr: Expr::Subquery(Box::new(subquery)),
            depth,
        })
    }

    /// Reads the duration behind `offset`.
    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        let offset = self.offset_duration();
        let offset = offset.map_err(|failure| failure.within("offset", "number, duration, or step()"))?;
        let pos = expr.pos();
        let Some(parts) = shiftable(expr) else {
            return Err(Failure::at(
                pos,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ));
        };
        if *parts.offset != Duration::ZERO {
            return Err(Failure::at(pos, "offset may not be set multiple times"));
        }
        *parts.offset = offset;
        *parts.end = self.last_end;
        Ok(())
    }

    /// Reads the time behind `@`.
    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        let at = self.timestamp(expr.pos());
        let at = at.map_err(|failure| failure.within("@", "timestamp"))?;
        let pos = expr.pos();
        let Some(parts) = shiftable(expr) else {
            return Err(Failure::at(
                pos,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ));
        };
        if parts.at.is_some() {
            return Err(Failure::at(pos, "@ <timestamp> may not be set multiple times"));
        }
        *parts.at = Some(at);
        *parts.end = self.last_end;
        Ok(())
    }

    fn timestamp(&mut self, pos: PosRange) -> Parsed<At> {
        let token = self.next()?;
        let preset = match token.kind {
            Kind::Preprocessor(Preprocessor::Start) => At::Start,
            Kind::Preprocessor(Preprocessor::End) => At::End,
            _ => return self.signed_timestamp(token, pos),
        };
        self.expect(Kind::LeftParen)?;
        self.expect(Kind::RightParen)?;
        Ok(preset)
    }

    fn signed_timestamp(&mut self, first: Token<'a>, pos: PosRange) -> Parsed<At> {
        let seconds = self.signed_number(first)?;
        // The bounds are those of an i64, though it is milliseconds that are kept.
        if !seconds.is_finite() || seconds >= i64::MAX as f64 || seconds <= i64::MIN as f64 {
            let message = format!(
                "timestamp out of bounds for @ modifier: {}",
                super::number::fixed(seconds)
            );
            return Err(Failure::at(pos, message));
        }
        Ok(At::Time((seconds * 1000.0).round() as i64))
    }

    fn extended(&self, expr: &mut Expr, name: &str) -> Parsed<()> {
        let pos = expr.pos();
        let fail = |message: String| Err(Failure::at(pos, message));
        if !self.options.extended_range_selectors {
            return fail(format!("{name} modifier is experimental and not enabled"));
        }
        let selector: &mut VectorSelector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => return fail(format!("{name} modifier is not supported for subqueries")),
            _ => return fail(format!("{name} modifier not implemented")),
        };
        match name {
            "anchored" => selector.anchored = true,
            _ => selector.smoothed = true,
        }
        if selector.anchored && selector.smoothed {
            return fail("anchored and smoothed modifiers cannot be used together".to_owned());
        }
        Ok(())
    }
}

fn shiftable(expr: &mut Expr) -> Option<Shiftable<'_>> {
    match expr {
        Expr::Vector(selector) => Some(Shiftable {
            offset: &mut selector.offset,
            at: &mut selector.at,
            end: &mut selector.pos.end,
        }),
        Expr::Matrix(matrix) => Some(Shiftable {
            offset: &mut matrix.selector.offset,
            at: &mut matrix.selector.at,
            end: &mut matrix.end,
        }),
        Expr::Subquery(subquery) => Some(Shiftable {
            offset: &mut subquery.offset,
            at: &mut subquery.at,
            end: &mut subquery.end,
        }),
        _ => None,
    }
}
