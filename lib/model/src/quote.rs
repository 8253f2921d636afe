//! Go's quoted strings, which label values and matchers are printed with, and PromQL's, which have more kinds of quotes.

use std::fmt::{self, Write};
use std::str::CharIndices;
use std::sync::LazyLock;

use regex::Regex;
use thiserror::Error;

/// Displays a text as Go's `strconv.Quote` writes it: in double quotes, with `\n`, `\x7f`, `\u00ad` and the like for
/// what does not print.
#[derive(Clone, Copy, Debug)]
pub struct GoQuoted<'a>(pub &'a str);

impl fmt::Display for GoQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\x0b' => f.write_str("\\v")?,
                c if is_print(c) => f.write_char(c)?,
                c if c.is_ascii() => write!(f, "\\x{:02x}", u32::from(c))?,
                c if u32::from(c) <= 0xffff => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "\\U{:08x}", u32::from(c))?,
            }
        }
        f.write_char('"')
    }
}

/// Whether Go prints a character as itself: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_print(c: char) -> bool {
    #[expect(clippy::expect_used, reason = "a constant expression, compiled by a test")]
    static PRINTABLE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[\pL\pM\pN\pP\pS]").expect("a valid expression"));
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    PRINTABLE.is_match(c.encode_utf8(&mut [0; 4]))
}

/// Why a quoted text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct UnquoteError {
    offset: usize,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Problem {
    #[error("quoted text has no end")]
    Unterminated,
    #[error("unknown escape \\{0} in quoted text")]
    UnknownEscape(char),
    #[error("escape in quoted text is no character or byte")]
    BadNumber,
    #[error("quoted text is not UTF-8")]
    NotUtf8,
}

impl UnquoteError {
    /// Where the text is wrong, in bytes from the opening quote.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// Reads the quoted text that `text` starts with, as PromQL does: `"…"` and `'…'` with Go's escapes and on one line,
/// or `` `…` `` as it stands. Gives what is quoted and the length with its quotes in bytes.
pub fn unquote_prefix(text: &str) -> Result<(String, usize), UnquoteError> {
    let unterminated = UnquoteError {
        offset: 0,
        problem: Problem::Unterminated,
    };
    let mut chars = text.char_indices();
    let quote = match chars.next() {
        Some((_, quote @ ('"' | '\'' | '`'))) => quote,
        _ => return Err(unterminated),
    };
    // Escapes can put a character together from bytes.
    let mut bytes = Vec::new();
    while let Some((offset, c)) = chars.next() {
        match c {
            c if c == quote => {
                let not_utf8 = UnquoteError {
                    offset: 0,
                    problem: Problem::NotUtf8,
                };
                return Ok((String::from_utf8(bytes).map_err(|_| not_utf8)?, offset + 1));
            }
            '\\' if quote != '`' => {
                let escaped = unescape(&mut chars, quote);
                escaped
                    .map_err(|problem| UnquoteError { offset, problem })?
                    .push_to(&mut bytes);
            }
            '\n' if quote != '`' => return Err(unterminated),
            c => Unescaped::Char(c).push_to(&mut bytes),
        }
    }
    Err(unterminated)
}

/// What an escape stands for.
enum Unescaped {
    Char(char),
    Byte(u8),
}

impl Unescaped {
    fn push_to(self, bytes: &mut Vec<u8>) {
        match self {
            Unescaped::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unescaped::Byte(byte) => bytes.push(byte),
        }
    }
}

/// Reads an escape after its backslash.
fn unescape(chars: &mut CharIndices<'_>, quote: char) -> Result<Unescaped, Problem> {
    let (_, c) = chars.next().ok_or(Problem::Unterminated)?;
    Ok(Unescaped::Char(match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        c if c == quote => c,
        'x' => return byte(number(chars, 0, 2, 16)?),
        '0'..='7' => return byte(number(chars, c.to_digit(8).unwrap_or(0), 2, 8)?),
        'u' => char::from_u32(number(chars, 0, 4, 16)?).ok_or(Problem::BadNumber)?,
        'U' => char::from_u32(number(chars, 0, 8, 16)?).ok_or(Problem::BadNumber)?,
        c => return Err(Problem::UnknownEscape(c)),
    }))
}

fn byte(value: u32) -> Result<Unescaped, Problem> {
    u8::try_from(value)
        .map(Unescaped::Byte)
        .map_err(|_| Problem::BadNumber)
}

/// Reads so many digits after those that made `first`.
fn number(chars: &mut CharIndices<'_>, first: u32, digits: u32, radix: u32) -> Result<u32, Problem> {
    let mut value = first;
    for _ in 0..digits {
        let digit = chars
            .next()
            .and_then(|(_, c)| c.to_digit(radix))
            .ok_or(Problem::BadNumber)?;
        value = value
            .checked_mul(radix)
            .and_then(|v| v.checked_add(digit))
            .ok_or(Problem::BadNumber)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
