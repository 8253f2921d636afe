//! Selectors as PromQL writes them: `up{job="a", pod=~"x-.*"}`.

use thiserror::Error;

use crate::matcher::{MatchKind, Matcher, MatcherError};
use crate::quote::{self, UnquoteError};

/// The label that holds the name of a metric.
pub const METRIC_NAME: &str = "__name__";

/// Why a text is not a selector or a matcher.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem} (at offset {offset})")]
pub struct SelectorError {
    offset: usize,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Problem {
    #[error("expected {expected}, found {found}")]
    Expected { expected: &'static str, found: String },
    #[error("metric name must not be set twice")]
    SecondName,
    #[error(transparent)]
    Quote(UnquoteError),
    #[error(transparent)]
    Matcher(MatcherError),
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// Reads one matcher: `job="a"`, `"my.label"!~'x|y'`.
pub fn parse_matcher(text: &str) -> Result<Matcher, SelectorError> {
    let mut parser = Parser { text, at: 0 };
    let name = parser.label_name("a label name")?;
    let matcher = parser.rest_of_matcher(name)?;
    parser.end()?;
    Ok(matcher)
}

/// Reads a selector: a metric name, matchers in braces, or both. In braces a quoted name alone is the metric's, and a
/// comma may end the list. `{}` selects everything and gives no matchers.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, SelectorError> {
    let mut parser = Parser { text, at: 0 };
    let mut matchers = Vec::new();
    // A name that is not in a matcher forbids all matchers of the name.
    let mut named = false;
    if let Some(name) = parser.word(true) {
        matchers.push(Matcher::equal(METRIC_NAME, name));
        named = true;
        parser.space();
        if parser.rest().is_empty() {
            return Ok(matchers);
        }
    }
    parser.expect("{", if named { "{" } else { "a metric name or {" })?;
    while !parser.eat("}") {
        parser.space();
        let start = parser.at;
        let (name, alone) = parser.name_or_metric()?;
        let matcher = if alone {
            Matcher::equal(METRIC_NAME, name)
        } else {
            parser.rest_of_matcher(name)?
        };
        let second = matcher.name() == METRIC_NAME && matchers.iter().any(|m| m.name() == METRIC_NAME);
        if second && (alone || named) {
            return Err(SelectorError {
                offset: start,
                problem: Problem::SecondName,
            });
        }
        named |= alone;
        matchers.push(matcher);
        if !parser.eat(",") {
            parser.expect("}", ", or }")?;
            break;
        }
    }
    parser.end()?;
    Ok(matchers)
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Goes past white space and `symbol`, if it comes next.
    fn eat(&mut self, symbol: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(symbol);
        if there {
            self.at += symbol.len();
        }
        there
    }

    fn expect(&mut self, symbol: &str, expected: &'static str) -> Result<(), SelectorError> {
        if self.eat(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn end(&mut self) -> Result<(), SelectorError> {
        self.space();
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.unexpected("the end"))
        }
    }

    fn unexpected(&self, expected: &'static str) -> SelectorError {
        let found = match self.rest().chars().next() {
            Some(c) => format!("{c:?}"),
            None => "the end".to_owned(),
        };
        SelectorError {
            offset: self.at,
            problem: Problem::Expected { expected, found },
        }
    }

    /// Reads a name without quotes; those of metrics may have colons.
    fn word(&mut self, colons: bool) -> Option<&'a str> {
        self.space();
        let rest = self.rest();
        let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric() || (colons && c == ':');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = rest
            .get(..end)
            .filter(|word| !word.is_empty() && !word.starts_with(|c: char| c.is_ascii_digit()));
        if word.is_some() {
            self.at += end;
        }
        word
    }

    /// Reads a text in quotes, if a quote comes next.
    fn quoted(&mut self) -> Result<Option<String>, SelectorError> {
        self.space();
        if !self.rest().starts_with(['"', '\'', '`']) {
            return Ok(None);
        }
        match quote::unquote_prefix(self.rest()) {
            Ok((text, length)) => {
                self.at += length;
                Ok(Some(text))
            }
            Err(error) => Err(SelectorError {
                offset: self.at + error.offset(),
                problem: Problem::Quote(error),
            }),
        }
    }

    fn label_name(&mut self, expected: &'static str) -> Result<String, SelectorError> {
        match self.quoted()? {
            Some(name) => Ok(name),
            None => self
                .word(false)
                .map(str::to_owned)
                .ok_or_else(|| self.unexpected(expected)),
        }
    }

    /// Reads what a matcher in braces starts with, and whether it is a quoted metric name and so all there is.
    fn name_or_metric(&mut self) -> Result<(String, bool), SelectorError> {
        self.space();
        let quoted = self.rest().starts_with(['"', '\'', '`']);
        let name = self.label_name("a label name or }")?;
        self.space();
        let alone = quoted && (self.rest().is_empty() || self.rest().starts_with([',', '}']));
        Ok((name, alone))
    }

    fn rest_of_matcher(&mut self, name: String) -> Result<Matcher, SelectorError> {
        let kinds = [MatchKind::Re, MatchKind::Nre, MatchKind::Neq, MatchKind::Eq];
        let Some(kind) = kinds.into_iter().find(|kind| self.eat(kind.operator())) else {
            return Err(self.unexpected("=, !=, =~ or !~"));
        };
        self.space();
        let start = self.at;
        let value = self
            .quoted()?
            .ok_or_else(|| self.unexpected("a value in quotes"))?;
        Matcher::new(kind, name, value).map_err(|error| SelectorError {
            offset: start,
            problem: Problem::Matcher(error),
        })
    }
}

impl SelectorError {
    /// Where the text is wrong, in bytes.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

#[cfg(test)]
mod tests;
