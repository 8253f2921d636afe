//! Numbers, durations and texts in quotes.

use super::{Lexer, Result, is_alpha, is_alphanumeric};
use crate::go_text::{quoted, unicode};
use crate::token::{AggregateOp, Kind, Preprocessor, Token};

impl<'a> Lexer<'a> {
    pub(super) fn number_or_duration(&mut self) -> Result<Option<Token<'a>>> {
        if self.scan_number() {
            return self.emit(Kind::Number);
        }
        if self.scan_rest_of_duration() {
            return self.emit(Kind::Duration);
        }
        // The character that ended the attempt belongs to what is shown.
        let shown = quoted(self.word());
        self.fail(format!("bad number or duration syntax: {shown}"))
    }

    fn next_is(&self, is_wanted: impl Fn(char) -> bool) -> bool {
        self.peek().is_some_and(is_wanted)
    }

    /// Goes past a number; where it is none, past as much of it as was looked at.
    fn scan_number(&mut self) -> bool {
        let start = self.at;
        let is_exponent = |c| c == 'e' || c == 'E';
        let is_misplaced = |c| matches!(c, '.' | '_' | 'e' | 'E');
        let hex = self.accept(|c| c == '0') && self.accept(|c| c == 'x' || c == 'X');
        if hex {
            self.accept(|c| c == '_');
        }
        let is_digit = move |c: char| {
            if hex {
                c.is_ascii_hexdigit()
            } else {
                c.is_ascii_digit()
            }
        };
        self.accept(|c| c == '.');
        self.accept(is_digit);
        let (mut dot, mut exponent) = (false, false);
        while self.next_is(|c| is_digit(c) || is_misplaced(c)) {
            if dot && self.accept(|c| c == '.') {
                return false;
            }
            if exponent && self.accept(is_exponent) {
                return false;
            }
            if self.accept(|c| c == '.') {
                dot = true;
                if self.accept(|c| c == '_' || c == '.') || hex {
                    return false;
                }
            } else if self.accept(is_exponent) {
                exponent = true;
                self.accept(|c| c == '+' || c == '-');
                if self.accept(is_misplaced) || self.peek().is_none() {
                    return false;
                }
            } else if self.accept(|c| c == '_') {
                if self.accept(is_misplaced) || self.peek().is_none() {
                    return false;
                }
            } else {
                self.accept_run(is_digit);
            }
        }
        self.at != start && !self.next_is(is_alphanumeric)
    }

    /// Goes past unit and further numbers with units.
    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept(|c| "smhdwy".contains(c)) {
            return false;
        }
        // For ms; that there is no hs is seen when the duration is read.
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.accept_run(|c| c.is_ascii_digit());
            if !self.accept(|c| "smhdw".contains(c)) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        if self.next_is(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }

    /// Reads the rest of `step`, `min` or `max`, which started with `first`.
    pub(super) fn duration_word(&mut self, first: char) -> Option<Kind> {
        if !matches!(first, 's' | 'S' | 'm' | 'M') {
            return None;
        }
        self.accept_run(is_alpha);
        match self.word().to_ascii_lowercase().as_str() {
            "step" => Some(Kind::Preprocessor(Preprocessor::Step)),
            "min" => Some(Kind::Aggregator(AggregateOp::Min)),
            "max" => Some(Kind::Aggregator(AggregateOp::Max)),
            _ => None,
        }
    }

    /// Reads a text behind its first quote.
    pub(super) fn string(&mut self, quote: char) -> Result<Option<Token<'a>>> {
        let raw = quote == '`';
        loop {
            match self.next() {
                Some('\\') if !raw => self.escape(quote)?,
                Some('\u{fffd}') => return self.fail("invalid UTF-8 rune"),
                None if raw => return self.fail("unterminated raw string"),
                None => return self.fail("unterminated quoted string"),
                Some('\n') if !raw => return self.fail("unterminated quoted string"),
                Some(c) if c == quote => return self.emit(Kind::String),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<()> {
        let (digits, radix, max) = match self.next() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => return Ok(()),
            Some(c) if c == quote => return Ok(()),
            Some('0'..='7') => {
                self.at -= 1;
                (3, 8, 255)
            }
            Some('x') => (2, 16, 255),
            Some('u') => (4, 16, u32::from(char::MAX)),
            Some('U') => (8, 16, u32::from(char::MAX)),
            None => return self.fail("escape sequence not terminated"),
            Some(c) => return self.fail(format!("unknown escape sequence {}", unicode(c))),
        };
        let mut value: u64 = 0;
        for _ in 0..digits {
            match self.next() {
                None => return self.fail("escape sequence not terminated"),
                Some(c) => match c.to_digit(radix) {
                    Some(digit) => value = value * u64::from(radix) + u64::from(digit),
                    None => {
                        return self.fail(format!("illegal character {} in escape sequence", unicode(c)));
                    }
                },
            }
        }
        // Prometheus counts in 32 bits.
        let value = value & u64::from(u32::MAX);
        if value > u64::from(max) || (0xd800..0xe000).contains(&value) {
            return self.fail("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }
}
