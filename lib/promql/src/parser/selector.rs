//! Selectors of series.

use sabre_model::selector::METRIC_NAME;
use sabre_model::{MatchKind, Matcher};

use super::primary::is_metric_name;
use super::{Failure, MAX_REGEX_WEIGHT, Parsed, Parser, REGEX_WEIGHT, TOO_MANY_REGEXES};
use crate::ast::{Duration, VectorSelector};
use crate::position::PosRange;
use crate::token::{Kind, Operator, Token};

const CONTEXT: &str = "label matching";

impl<'a> Parser<'a> {
    /// Reads a selector that starts with `first`, a name or a brace.
    pub(super) fn vector_selector(&mut self, first: Token<'a>) -> Parsed<VectorSelector> {
        let mut selector = VectorSelector {
            name: String::new(),
            matchers: Vec::new(),
            offset: Duration::ZERO,
            at: None,
            anchored: false,
            smoothed: false,
            pos: first.pos(),
        };
        let mut brace = first;
        if is_metric_name(first.kind) {
            first.text.clone_into(&mut selector.name);
            match self.next_if(Kind::LeftBrace)? {
                Some(token) => brace = token,
                None => {
                    selector.matchers.push(Matcher::equal(METRIC_NAME, first.text));
                    return Ok(selector);
                }
            }
        }
        if brace.kind != Kind::LeftBrace {
            return Err(Failure::unexpected(brace));
        }
        let end = self.matchers(&mut selector.matchers)?;
        selector.pos.end = end;
        if !selector.name.is_empty() {
            selector.matchers.push(Matcher::equal(METRIC_NAME, first.text));
        }
        Ok(selector)
    }

    /// Reads conditions up to the closing brace, and returns where that ends.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<usize> {
        if let Some(brace) = self.next_if(Kind::RightBrace)? {
            return Ok(brace.end());
        }
        loop {
            let token = self.next()?;
            matchers.push(self.matcher(token)?);
            let token = self.next()?;
            match token.kind {
                Kind::RightBrace => return Ok(token.end()),
                Kind::Comma => {
                    if let Some(brace) = self.next_if(Kind::RightBrace)? {
                        return Ok(brace.end());
                    }
                }
                _ => return Err(Failure::unexpected(token).within(CONTEXT, "\",\" or \"}\"")),
            }
        }
    }

    fn matcher(&mut self, name: Token<'a>) -> Parsed<Matcher> {
        let label = match name.kind {
            Kind::Identifier => name.text.to_owned(),
            Kind::String => self.unquoted(name)?,
            _ => return Err(Failure::unexpected(name).within(CONTEXT, "identifier or \"}\"")),
        };
        let operator = self.peek()?;
        let kind = match operator.kind {
            Kind::Eql => MatchKind::Eq,
            Kind::Operator(Operator::Neq) => MatchKind::Neq,
            Kind::EqlRegex => MatchKind::Re,
            Kind::NeqRegex => MatchKind::Nre,
            _ if name.kind == Kind::String => return Ok(Matcher::equal(METRIC_NAME, label)),
            _ => return Err(Failure::unexpected(operator).within(CONTEXT, "label matching operator")),
        };
        self.next()?;
        let value = self.expect(Kind::String);
        let value = value.map_err(|failure| failure.within(CONTEXT, "string"))?;
        let text = self.unquoted(value)?;
        let pos = PosRange::new(name.start, value.end());
        let matcher = Matcher::new(kind, label, text)
            .map_err(|error| Failure::at(pos, error.regex_error().to_string()))?;
        if kind.is_regex() {
            let weight = matcher.program_weight().saturating_add(REGEX_WEIGHT);
            self.regex_weight = self.regex_weight.saturating_add(weight);
            if self.regex_weight > MAX_REGEX_WEIGHT {
                return Err(Failure::at(pos, TOO_MANY_REGEXES));
            }
        }
        Ok(matcher)
    }
}
