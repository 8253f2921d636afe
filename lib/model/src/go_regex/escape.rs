//! Escapes that stand for one character.

use super::cursor::Cursor;
use super::error::{RegexError, RegexErrorKind};

/// Reads an escape that stands for one character; the cursor is at its backslash. What comes back is a code point,
/// which can be a surrogate: Go takes those.
pub(super) fn code_point(cursor: &mut Cursor<'_>) -> Result<u32, RegexError> {
    let start = cursor.at();
    cursor.eat("\\");
    let Some(c) = cursor.next() else {
        return Err(RegexError::new(RegexErrorKind::TrailingBackslash, "", start));
    };
    Ok(match c {
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        'x' => return hexadecimal(cursor, start),
        // One digit but 0 alone would be a reference back to a group.
        '1'..='7' if !matches!(cursor.peek(), Some('0'..='7')) => {
            return Err(cursor.error(RegexErrorKind::InvalidEscape, start));
        }
        '0'..='7' => octal(cursor, u32::from(c) - u32::from('0')),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(cursor.error(RegexErrorKind::InvalidEscape, start)),
    })
}

/// Reads up to two digits after the first: at most `\777`.
fn octal(cursor: &mut Cursor<'_>, first: u32) -> u32 {
    let mut value = first;
    for _ in 0..2 {
        match cursor.peek().and_then(|c| c.to_digit(8)) {
            Some(digit) => {
                value = value * 8 + digit;
                cursor.next();
            }
            None => break,
        }
    }
    value
}

/// Reads `41` or `{1F600}` after `\x`.
fn hexadecimal(cursor: &mut Cursor<'_>, start: usize) -> Result<u32, RegexError> {
    let mut value = 0_u32;
    let mut digits = 0;
    let braces = cursor.eat("{");
    while braces || digits < 2 {
        let Some(c) = cursor.next() else {
            return Err(cursor.error(RegexErrorKind::InvalidEscape, start));
        };
        if braces && c == '}' && digits > 0 {
            break;
        }
        match c.to_digit(16) {
            // Zeros in front may be many.
            Some(digit) if value * 16 + digit <= u32::from(char::MAX) => value = value * 16 + digit,
            _ => return Err(cursor.error(RegexErrorKind::InvalidEscape, start)),
        }
        digits += 1;
    }
    Ok(value)
}
