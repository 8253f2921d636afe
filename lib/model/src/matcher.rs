//! Label matchers.

use std::fmt;

use regex::Regex;
use thiserror::Error;

use crate::labels::is_legacy_name;
use crate::quote::GoQuoted;

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
#[derive(Clone, Debug)]
pub struct Matcher {
    kind: MatchKind,
    name: String,
    value: String,
    regex: Option<Regex>,
}

/// Why a matcher cannot be made.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("matcher {matcher}: {source}")]
pub struct MatcherError {
    matcher: String,
    source: regex::Error,
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
}

impl Matcher {
    /// Makes a matcher; the value of `Re` and `Nre` is an expression in Go's syntax that must match the whole of a label's value.
    pub fn new(
        kind: MatchKind,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Matcher, MatcherError> {
        let (name, value) = (name.into(), value.into());
        let regex = match kind {
            MatchKind::Eq | MatchKind::Neq => None,
            MatchKind::Re | MatchKind::Nre => {
                Some(Regex::new(&format!("^(?s:{value})$")).map_err(|source| {
                    MatcherError {
                        matcher: Displayed {
                            kind,
                            name: &name,
                            value: &value,
                        }
                        .to_string(),
                        source,
                    }
                })?)
            }
        };
        Ok(Matcher {
            kind,
            name,
            value,
            regex,
        })
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

    /// Whether a label with this value satisfies the matcher; the value of a label that a series lacks is empty.
    pub fn matches(&self, value: &str) -> bool {
        let found = match &self.regex {
            None => self.value == value,
            Some(regex) => regex.is_match(value),
        };
        found != matches!(self.kind, MatchKind::Neq | MatchKind::Nre)
    }

    /// Whether a series without the label satisfies the matcher.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The values that the expression of `Re` or `Nre` stands for, sorted, where they are few; else none.
    pub fn literals(&self) -> Option<&[String]> {
        None
    }

    /// What every value that the expression matches starts with, where that is known and not empty.
    pub fn prefix(&self) -> Option<&str> {
        None
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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Displayed {
            kind: self.kind,
            name: &self.name,
            value: &self.value,
        }
        .fmt(f)
    }
}
