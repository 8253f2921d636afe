//! Label matchers.

mod expression;
mod glob;
mod literals;

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

use crate::go_regex::{RegexError, shortened};
use crate::labels::{Labels, is_legacy_name};
use crate::quote::GoQuoted;

use expression::Expression;

/// How a matcher compares; the numbers are those of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchKind {
    /// `=`
    Eq = 0,
    /// `!=`
    Neq = 1,
    /// `=~`
    Re = 2,
    /// `!~`
    Nre = 3,
}

/// A condition on the value of one label.
///
/// Expressions are those of Go and match whole values. Those that need no engine get none: finite alternatives
/// (`a|b`, `pod-[0-9]`, `x{2,3}`) are looked up in a sorted list, and texts with gaps (`api-.*`, `.*foo.+`) are compared
/// piece by piece.
///
/// ```
/// # use sabre_model::{MatchKind, Matcher};
/// let matcher = Matcher::new(MatchKind::Re, "pod", "api-[01]|web")?;
/// assert!(matcher.matches("api-1") && !matcher.matches("api-11"));
/// assert_eq!(matcher.literals().unwrap(), ["api-0", "api-1", "web"]);
/// # Ok::<(), sabre_model::MatcherError>(())
/// ```
#[derive(Clone)]
pub struct Matcher {
    kind: MatchKind,
    name: String,
    value: String,
    /// What `value` means, for `Re` and `Nre`.
    expression: Option<Arc<Expression>>,
}

/// Why a matcher cannot be made: its expression is not one of Go's, or it is too large.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("matcher {matcher}: {source} (at offset {})", .source.offset())]
pub struct MatcherError {
    matcher: String,
    source: RegexError,
}

impl MatchKind {
    /// The kind with this number on the wire.
    pub fn from_wire(number: i32) -> Option<MatchKind> {
        Some(match number {
            0 => MatchKind::Eq,
            1 => MatchKind::Neq,
            2 => MatchKind::Re,
            3 => MatchKind::Nre,
            _ => return None,
        })
    }

    /// The number of this kind on the wire.
    pub fn to_wire(self) -> i32 {
        self as i32
    }

    /// The operator of PromQL.
    pub fn operator(self) -> &'static str {
        match self {
            MatchKind::Eq => "=",
            MatchKind::Neq => "!=",
            MatchKind::Re => "=~",
            MatchKind::Nre => "!~",
        }
    }

    /// Whether it is `!=` or `!~`.
    pub fn is_negative(self) -> bool {
        matches!(self, MatchKind::Neq | MatchKind::Nre)
    }

    /// Whether it is `=~` or `!~`.
    pub fn is_regex(self) -> bool {
        matches!(self, MatchKind::Re | MatchKind::Nre)
    }
}

impl MatcherError {
    /// What is wrong with the expression.
    pub fn regex_error(&self) -> &RegexError {
        &self.source
    }
}

impl Matcher {
    /// Makes a matcher; the value of `Re` and `Nre` is an expression in Go's syntax.
    pub fn new(
        kind: MatchKind,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Matcher, MatcherError> {
        let (name, value) = (name.into(), value.into());
        let expression = if kind.is_regex() {
            let made = Expression::new(&value).map_err(|source| {
                let shown = Displayed {
                    kind,
                    name: &shortened(&name),
                    value: &shortened(&value),
                };
                MatcherError {
                    matcher: shown.to_string(),
                    source,
                }
            });
            Some(Arc::new(made?))
        } else {
            None
        };
        Ok(Matcher {
            kind,
            name,
            value,
            expression,
        })
    }

    /// About how many states the program has that was compiled for its expression; 0 if none was.
    pub fn program_weight(&self) -> usize {
        self.expression
            .as_ref()
            .map_or(0, |expression| expression.weight())
    }

    /// A matcher for one value.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Matcher {
        Matcher {
            kind: MatchKind::Eq,
            name: name.into(),
            value: value.into(),
            expression: None,
        }
    }

    /// How it compares.
    pub fn kind(&self) -> MatchKind {
        self.kind
    }

    /// The name of the label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value or the expression, as given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label with this value satisfies the matcher; a label that a series lacks has the empty value.
    pub fn matches(&self, value: &str) -> bool {
        let found = match &self.expression {
            None => self.value == value,
            Some(expression) => expression.is_match(value),
        };
        found != self.kind.is_negative()
    }

    /// Whether a series with these labels satisfies the matcher.
    pub fn matches_lset(&self, lset: &Labels) -> bool {
        self.matches(lset.get(&self.name).unwrap_or(""))
    }

    /// Whether a series without the label satisfies the matcher.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The values that the expression of `Re` or `Nre` matches, sorted, if they are few or written one by one;
    /// `None` for other expressions and for `Eq` and `Neq`.
    pub fn literals(&self) -> Option<&[String]> {
        self.expression.as_ref()?.literals()
    }

    /// What all values start with that the expression of `Re` or `Nre` matches, if that is known and not empty.
    pub fn prefix(&self) -> Option<&str> {
        self.expression.as_ref()?.prefix()
    }

    /// Whether this is `Re` or `Nre` with an expression like `.*`, which matches every value.
    pub fn is_match_all(&self) -> bool {
        self.expression
            .as_ref()
            .is_some_and(|expression| expression.is_match_all())
    }

    /// Whether this is `Re` or `Nre` with an expression like `.+`, which matches every value but the empty one.
    pub fn is_match_nonempty(&self) -> bool {
        self.expression
            .as_ref()
            .is_some_and(|expression| expression.is_match_nonempty())
    }

    /// The matcher that a label satisfies where it does not satisfy this one.
    pub fn inverted(&self) -> Matcher {
        let kind = match self.kind {
            MatchKind::Eq => MatchKind::Neq,
            MatchKind::Neq => MatchKind::Eq,
            MatchKind::Re => MatchKind::Nre,
            MatchKind::Nre => MatchKind::Re,
        };
        Matcher { kind, ..self.clone() }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (self.kind, &self.name, &self.value) == (other.kind, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, &self.name, &self.value).hash(state);
    }
}

/// Prints a matcher.
struct Displayed<'a> {
    kind: MatchKind,
    name: &'a str,
    value: &'a str,
}

impl fmt::Display for Displayed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_name(self.name) {
            f.write_str(self.name)?;
        } else {
            write!(f, "{}", GoQuoted(self.name))?;
        }
        write!(f, "{}{}", self.kind.operator(), GoQuoted(self.value))
    }
}

impl fmt::Display for Matcher {
    /// `job=~"a|b"`, as Prometheus prints matchers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Displayed {
            kind: self.kind,
            name: &self.name,
            value: &self.value,
        }
        .fmt(f)
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
