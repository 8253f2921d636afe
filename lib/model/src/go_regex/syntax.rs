//! The tree of an expression.

/// A part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    /// Matches nothing at all, that is the empty text.
    Empty,
    /// One character; with `fold` in upper or lower case.
    Literal { c: char, fold: bool },
    /// A class in brackets, in the syntax of the `regex` crate.
    Class { text: String, fold: bool },
    /// Any character.
    Any,
    /// Any character but a line feed.
    AnyButNewline,
    /// A place between characters.
    Look(Look),
    /// `min` to `max` times, without bound where `max` is missing.
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        greedy: bool,
    },
    /// A group that captures.
    Capture(Box<Node>),
    /// One after another.
    Concat(Vec<Node>),
    /// The first that leads to a match.
    Alternate(Vec<Node>),
}

/// A place between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    /// Between a word character and another, in ASCII.
    WordBoundary,
    NotWordBoundary,
}

/// The flags in force at a place of an expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    /// `i`: letters match in either case.
    pub(super) fold: bool,
    /// `m`: `^` and `$` match at lines.
    pub(super) multi_line: bool,
    /// `s`: a dot matches line feeds.
    pub(super) dot_all: bool,
    /// `U`: `a*` is lazy and `a*?` is greedy.
    pub(super) swap_greed: bool,
}
