//! Errors of expressions, in Go's words where Go has them.

use thiserror::Error;

use super::{MAX_NESTING, MAX_PATTERN_BYTES, MAX_PROGRAM_BYTES, MAX_WEIGHT};

/// The most of an expression that an error repeats.
const MAX_FRAGMENT_BYTES: usize = 200;

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("error parsing regexp: {kind}: `{fragment}`")]
pub struct RegexError {
    kind: RegexErrorKind,
    fragment: String,
    offset: usize,
}

/// The kinds of errors in expressions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegexErrorKind {
    /// `(a`
    #[error("missing closing )")]
    MissingParen,
    /// `a)`
    #[error("unexpected )")]
    UnexpectedParen,
    /// `[a`
    #[error("missing closing ]")]
    MissingBracket,
    /// `[z-a]`, `\p{Nothing}`, `[[:nothing:]]`
    #[error("invalid character class range")]
    InvalidRange,
    /// `\8`, `\C`, `\Z`, a back reference
    #[error("invalid escape sequence")]
    InvalidEscape,
    /// `(?P<a b>c)`
    #[error("invalid named capture")]
    InvalidCapture,
    /// `(?=a)`, `(?x)`
    #[error("invalid or unsupported Perl syntax")]
    InvalidPerl,
    /// `a**`
    #[error("invalid nested repetition operator")]
    NestedRepeat,
    /// `a{1001}`, `a{2,1}`, `(a{500}){3}`
    #[error("invalid repeat count")]
    RepeatCount,
    /// `*a`
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    /// `a\`
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// Longer than [`MAX_PATTERN_BYTES`].
    #[error("expression is longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    /// Nested deeper than [`MAX_NESTING`].
    #[error("expression nests deeper than {MAX_NESTING} levels")]
    TooDeep,
    /// More parts than [`MAX_WEIGHT`].
    #[error("parts of the expression weigh more than {MAX_WEIGHT}")]
    TooHeavy,
    /// The program needs more than [`MAX_PROGRAM_BYTES`].
    #[error("compiled expression is larger than {MAX_PROGRAM_BYTES} bytes")]
    ProgramTooLarge,
    /// The engine refused what was made of the expression.
    #[error("cannot be compiled: {0}")]
    Engine(String),
}

impl RegexError {
    pub(super) fn new(kind: RegexErrorKind, fragment: &str, offset: usize) -> RegexError {
        RegexError {
            kind,
            fragment: shortened(fragment),
            offset,
        }
    }

    pub(super) fn engine(pattern: &str, problem: String) -> RegexError {
        RegexError::new(RegexErrorKind::Engine(problem), pattern, 0)
    }

    /// What is wrong.
    pub fn kind(&self) -> &RegexErrorKind {
        &self.kind
    }

    /// Where in the expression it is wrong, in bytes; 0 where the whole is meant.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// A text cut to a length that fits into an error.
pub(crate) fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_FRAGMENT_BYTES);
    match text.get(..end) {
        Some(start) if end < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}
