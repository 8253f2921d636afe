//! `key=value` pairs as go-kit's encoder writes them.

use std::fmt::Write as _;

/// Appends ` key=value`, without the space at the start of a line.
pub(super) fn push_pair(line: &mut String, key: &str, value: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.extend(key.chars().filter(|letter| is_plain(*letter)));
    line.push('=');
    if value.chars().all(is_plain) {
        line.push_str(value);
    } else {
        push_quoted(line, value);
    }
}

/// Anything else makes a value quoted and is dropped from a key.
fn is_plain(letter: char) -> bool {
    letter > ' ' && !matches!(letter, '=' | '"' | '\u{7f}' | char::REPLACEMENT_CHARACTER)
}

fn push_quoted(line: &mut String, value: &str) {
    line.push('"');
    for letter in value.chars() {
        match letter {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            _ if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
                // Writing to a string does not fail.
                let _infallible = write!(line, "\\u{:04x}", u32::from(letter));
            }
            _ => line.push(letter),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::push_pair;

    #[test]
    fn values_are_quoted_as_go_kit_does() {
        for (value, written) in [
            ("", "k="),
            ("plain", "k=plain"),
            ("a/b:c,d{e}'f'", "k=a/b:c,d{e}'f'"),
            ("back\\slash", "k=back\\slash"),
            ("two words", "k=\"two words\""),
            ("a=b", "k=\"a=b\""),
            ("say \"hi\"", r#"k="say \"hi\"""#),
            ("\"\\", r#"k="\"\\""#),
            ("a\nb\tc\r", r#"k="a\nb\tc\r""#),
            ("\u{1b}[31m", r#"k="\u001b[31m""#),
            ("grüße", "k=grüße"),
            ("\u{fffd}", "k=\"\u{fffd}\""),
        ] {
            let mut line = String::new();
            push_pair(&mut line, "k", value);
            assert_eq!(line, written);
        }
    }

    #[test]
    fn keys_lose_what_would_break_the_line() {
        let mut line = "a=1".to_owned();
        push_pair(&mut line, "b c=\"d\n", "2");
        assert_eq!(line, "a=1 bcd=2");
    }
}
