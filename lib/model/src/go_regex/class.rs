//! Classes in brackets, and the classes that have names.

use std::fmt::Write;

use super::UNICODE_WEIGHT;
use super::cursor::Cursor;
use super::error::{RegexError, RegexErrorKind};
use super::{escape, names};

/// A class in the syntax of the `regex` crate.
#[derive(Debug)]
pub(super) struct Class {
    /// With its brackets.
    pub(super) text: String,
    pub(super) weight: usize,
}

/// The brackets that no character is in.
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// Reads a class in brackets; the cursor is at the opening one.
pub(super) fn bracketed(cursor: &mut Cursor<'_>) -> Result<Class, RegexError> {
    let start = cursor.at();
    cursor.eat("[");
    let negated = cursor.eat("^");
    let mut items = String::new();
    let mut weight = 1;
    let mut first = true;
    loop {
        if cursor.rest().is_empty() {
            return Err(cursor.error_to_end(RegexErrorKind::MissingBracket, start));
        }
        // A closing bracket in front is one of the characters.
        if !first && cursor.eat("]") {
            break;
        }
        first = false;
        if let Some(class) = named(cursor)? {
            items.push_str(&class.text);
            weight += class.weight;
        } else {
            range(cursor, start, &mut items)?;
            weight += 1;
        }
    }
    let text = match (items.is_empty(), negated) {
        (true, false) => NOTHING.to_owned(),
        (true, true) => r"[\x{0}-\x{10FFFF}]".to_owned(),
        (false, true) => format!("[^{items}]"),
        (false, false) => format!("[{items}]"),
    };
    Ok(Class { text, weight })
}

/// Reads a class that has a name, if one comes next: `\d`, `\pL`, and in brackets `[:alpha:]`.
fn named(cursor: &mut Cursor<'_>) -> Result<Option<Class>, RegexError> {
    if cursor.rest().starts_with("[:") {
        return posix(cursor);
    }
    escaped(cursor)
}

/// Reads `\d`, `\pL` and their like, if one comes next.
pub(super) fn escaped(cursor: &mut Cursor<'_>) -> Result<Option<Class>, RegexError> {
    let start = cursor.at();
    if !cursor.eat("\\") {
        return Ok(None);
    }
    let letter = cursor.next();
    if let Some('p' | 'P') = letter {
        return unicode(cursor, start, letter == Some('P')).map(Some);
    }
    match letter.and_then(names::perl) {
        Some((items, negated)) => Ok(Some(in_brackets(items, negated, 1))),
        None => {
            cursor.back_to(start);
            Ok(None)
        }
    }
}

/// Reads `[:name:]`. Without `:]` anywhere after it, `[:` is two characters.
fn posix(cursor: &mut Cursor<'_>) -> Result<Option<Class>, RegexError> {
    let start = cursor.at();
    cursor.eat("[:");
    let Some(name) = cursor.eat_until(":]") else {
        cursor.back_to(start);
        return Ok(None);
    };
    let (name, negated) = match name.strip_prefix('^') {
        Some(name) => (name, true),
        None => (name, false),
    };
    match names::posix(name) {
        Some(items) => Ok(Some(in_brackets(items, negated, 1))),
        None => Err(cursor.error(RegexErrorKind::InvalidRange, start)),
    }
}

/// Reads the name after `\p` or `\P`: one character, or several in braces where `^` in front means the opposite.
fn unicode(cursor: &mut Cursor<'_>, start: usize, opposite: bool) -> Result<Class, RegexError> {
    let name_start = cursor.at();
    let (name, negated) = if cursor.eat("{") {
        let Some(name) = cursor.eat_until("}") else {
            return Err(cursor.error_to_end(RegexErrorKind::InvalidRange, start));
        };
        match name.strip_prefix('^') {
            Some(name) => (name, !opposite),
            None => (name, opposite),
        }
    } else {
        cursor.next();
        (
            cursor.pattern().get(name_start..cursor.at()).unwrap_or(""),
            opposite,
        )
    };
    match names::unicode(name) {
        Some(items) => Ok(in_brackets(&items, negated, UNICODE_WEIGHT)),
        None => Err(cursor.error(RegexErrorKind::InvalidRange, start)),
    }
}

/// Reads one character or a range of them.
fn range(cursor: &mut Cursor<'_>, class_start: usize, items: &mut String) -> Result<(), RegexError> {
    let start = cursor.at();
    let low = member(cursor, class_start)?;
    let rest = cursor.rest();
    let high = if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
        cursor.eat("-");
        member(cursor, class_start)?
    } else {
        low
    };
    if high < low {
        return Err(cursor.error(RegexErrorKind::InvalidRange, start));
    }
    push_range(items, low, high);
    Ok(())
}

/// Reads one character of a class.
fn member(cursor: &mut Cursor<'_>, class_start: usize) -> Result<u32, RegexError> {
    if cursor.rest().starts_with('\\') {
        return escape::code_point(cursor);
    }
    match cursor.next() {
        Some(c) => Ok(u32::from(c)),
        None => Err(cursor.error_to_end(RegexErrorKind::MissingBracket, class_start)),
    }
}

/// Writes a range of code points without the surrogates, which no text has.
fn push_range(items: &mut String, low: u32, high: u32) {
    const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
    let low = if SURROGATES.contains(&low) {
        SURROGATES.end() + 1
    } else {
        low
    };
    let high = if SURROGATES.contains(&high) {
        SURROGATES.start() - 1
    } else {
        high
    };
    if low > high {
        return;
    }
    push_code_point(items, low);
    if high > low {
        items.push('-');
        push_code_point(items, high);
    }
}

/// Writes a code point that means nothing else in a class.
fn push_code_point(items: &mut String, code_point: u32) {
    match char::from_u32(code_point) {
        Some(c) if c.is_ascii_alphanumeric() => items.push(c),
        _ => {
            // Writing to a string cannot fail.
            let _ = write!(items, "\\x{{{code_point:X}}}");
        }
    }
}

fn in_brackets(items: &str, negated: bool, weight: usize) -> Class {
    let text = if negated {
        format!("[^{items}]")
    } else {
        format!("[{items}]")
    };
    Class { text, weight }
}

/// The class of one code point that is no character: a surrogate.
pub(super) fn nothing() -> Class {
    Class {
        text: NOTHING.to_owned(),
        weight: 1,
    }
}
