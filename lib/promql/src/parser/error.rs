//! Why a query cannot be read.

use crate::lexer::LexError;
use crate::position::PosRange;
use crate::token::Token;

use super::MAX_QUERY_BYTES;

/// Why a text is no query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: parse error: {message}")]
pub struct ParseError {
    pos: PosRange,
    place: String,
    message: String,
}

/// A [`ParseError`] under way.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pos: PosRange,
    message: String,
    /// Whether the message may still be told what was expected.
    is_bare: bool,
}

pub(crate) type Parsed<T> = Result<T, Failure>;

impl ParseError {
    pub(super) fn too_long(bytes: usize) -> ParseError {
        ParseError {
            pos: PosRange::default(),
            place: "1:1".to_owned(),
            message: format!("query of {bytes} bytes is longer than {MAX_QUERY_BYTES} bytes"),
        }
    }

    /// Where the query is wrong.
    pub fn pos(&self) -> PosRange {
        self.pos
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Failure {
    pub(crate) fn at(pos: PosRange, message: impl Into<String>) -> Failure {
        Failure {
            pos,
            message: message.into(),
            is_bare: false,
        }
    }

    /// A token that does not fit.
    pub(super) fn unexpected(token: Token<'_>) -> Failure {
        Failure {
            pos: token.pos(),
            message: format!("unexpected {}", token.description()),
            is_bare: true,
        }
    }

    /// Says in which construct the token does not fit, unless something within that construct said so already.
    pub(super) fn within(mut self, context: &str, expected: &str) -> Failure {
        if self.is_bare {
            self.is_bare = false;
            self.message.push_str(" in ");
            self.message.push_str(context);
            if !expected.is_empty() {
                self.message.push_str(", expected ");
                self.message.push_str(expected);
            }
        }
        self
    }

    pub(crate) fn into_error(self, query: &str) -> ParseError {
        ParseError {
            pos: self.pos,
            place: self.pos.line_and_column(query),
            message: self.message,
        }
    }
}

impl From<&LexError> for Failure {
    fn from(error: &LexError) -> Failure {
        Failure::at(PosRange::new(error.start, error.start), error.message.clone())
    }
}
