//! JSON as Go's encoder writes it: characters that HTML gives a meaning are escaped, floats keep Go's form.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// Serialises `value` with one tab per level and a trailing newline.
pub(super) fn to_indented<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = to_bytes(value, PrettyFormatter::with_indent(b"\t"));
    out.push(b'\n');
    out
}

/// Serialises `value` on a single line without a newline.
pub(super) fn to_compact<T: Serialize>(value: &T) -> Vec<u8> {
    to_bytes(value, CompactFormatter)
}

/// Serialises `value` on a single line without a newline, into `out`. Only `out` can fail.
pub(super) fn write_compact<T: Serialize>(value: &T, out: impl Write) -> io::Result<()> {
    let layout = CompactFormatter;
    let mut serializer = serde_json::Serializer::with_formatter(out, GoFormatter { layout });
    value.serialize(&mut serializer).map_err(io::Error::from)
}

#[expect(
    clippy::expect_used,
    reason = "the types of this module have string keys only, and a Vec takes all bytes"
)]
fn to_bytes<T: Serialize, F: Formatter>(value: &T, layout: F) -> Vec<u8> {
    let mut out = Vec::new();
    value
        .serialize(&mut serde_json::Serializer::with_formatter(
            &mut out,
            GoFormatter { layout },
        ))
        .expect("metadata always serialises");
    out
}

/// White space as `layout` says, text and floats as Go writes them.
struct GoFormatter<F> {
    layout: F,
}

impl<F: Formatter> Formatter for GoFormatter<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, c) in fragment.char_indices() {
            if !matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                continue;
            }
            write_text(out, fragment, plain_from..at)?;
            write!(out, "\\u{:04x}", u32::from(c))?;
            plain_from = at + c.len_utf8();
        }
        write_text(out, fragment, plain_from..fragment.len())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        let magnitude = value.abs();
        if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
            let text = format!("{value:e}");
            return match text.contains("e-") {
                true => out.write_all(text.as_bytes()),
                false => out.write_all(text.replacen('e', "e+", 1).as_bytes()),
            };
        }
        write!(out, "{value}")
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.layout.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.layout.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.layout.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.layout.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.layout.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.layout.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.layout.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.layout.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.layout.end_object_value(out)
    }
}

fn write_text<W: ?Sized + Write>(out: &mut W, text: &str, range: std::ops::Range<usize>) -> io::Result<()> {
    out.write_all(text.get(range).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compact(value: &serde_json::Value) -> String {
        String::from_utf8(to_compact(value)).unwrap()
    }

    #[test]
    fn html_characters_and_line_separators_are_escaped() {
        let text = "a<b>&c\u{2028}\u{2029}é\u{7f}\"\\\n";
        assert_eq!(
            compact(&json!(text)),
            "\"a\\u003cb\\u003e\\u0026c\\u2028\\u2029é\u{7f}\\\"\\\\\\n\""
        );
        assert_eq!(compact(&json!({"<": ">"})), r#"{"\u003c":"\u003e"}"#, "keys too");
    }

    #[test]
    fn floats_have_the_form_of_go() {
        for (value, text) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (-0.25, "-0.25"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (2.5e-7, "2.5e-7"),
            (0.0, "0"),
        ] {
            assert_eq!(compact(&json!(value)), text);
        }
    }

    #[test]
    fn indentation_is_a_tab_and_empty_containers_stay_on_their_line() {
        let value = json!({"a": [1, 2], "b": {}, "c": []});
        let text = String::from_utf8(to_indented(&value)).unwrap();
        assert_eq!(
            text,
            "{\n\t\"a\": [\n\t\t1,\n\t\t2\n\t],\n\t\"b\": {},\n\t\"c\": []\n}\n"
        );
    }
}
