//! A place in an expression.

use super::error::{RegexError, RegexErrorKind};

/// Reads an expression from left to right. All offsets lie between characters.
#[derive(Debug)]
pub(super) struct Cursor<'p> {
    pattern: &'p str,
    at: usize,
}

impl<'p> Cursor<'p> {
    pub(super) fn new(pattern: &'p str) -> Cursor<'p> {
        Cursor { pattern, at: 0 }
    }

    pub(super) fn pattern(&self) -> &'p str {
        self.pattern
    }

    /// The offset of the next character.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'p str {
        self.pattern.get(self.at..).unwrap_or("")
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Goes past `text` if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let there = self.rest().starts_with(text);
        if there {
            self.at += text.len();
        }
        there
    }

    /// Goes past the text up to and with `end`, which is given back without it.
    pub(super) fn eat_until(&mut self, end: &str) -> Option<&'p str> {
        let (before, _) = self.rest().split_once(end)?;
        self.at += before.len() + end.len();
        Some(before)
    }

    /// Goes past decimal digits, which are given back.
    pub(super) fn eat_digits(&mut self) -> &'p str {
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += digits;
        rest.get(..digits).unwrap_or("")
    }

    /// Goes to the end.
    pub(super) fn eat_rest(&mut self) -> &'p str {
        let rest = self.rest();
        self.at = self.pattern.len();
        rest
    }

    /// Goes back to an offset had from [`Cursor::at`].
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// An error about the text from `start` to here.
    pub(super) fn error(&self, kind: RegexErrorKind, start: usize) -> RegexError {
        RegexError::new(kind, self.pattern.get(start..self.at).unwrap_or(""), start)
    }

    /// An error about the text from `start` to the end.
    pub(super) fn error_to_end(&self, kind: RegexErrorKind, start: usize) -> RegexError {
        RegexError::new(kind, self.pattern.get(start..).unwrap_or(""), start)
    }
}
