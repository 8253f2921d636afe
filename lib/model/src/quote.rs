//! Go's quoted strings, as label values and matchers are printed with.

use std::fmt::{self, Write};
use std::sync::LazyLock;

use regex::Regex;

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

#[cfg(test)]
mod tests {
    use super::GoQuoted;

    #[test]
    fn quotes_as_go_does() {
        let table = [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("say \"hi\" \\", r#""say \"hi\" \\""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x1b\x7f", r#""\x00\x1b\x7f""#),
            ("żółw 猫 😀", r#""żółw 猫 😀""#),
            (
                "\u{ad}\u{200b}\u{a0}\u{fffd}",
                "\"\\u00ad\\u200b\\u00a0\u{fffd}\"",
            ),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
        ];
        for (text, quoted) in table {
            assert_eq!(GoQuoted(text).to_string(), quoted);
        }
    }
}
