//! Texts as Go's `fmt` and `strconv` write them, which Prometheus' messages and labels are made with.

use sabre_model::quote::GoQuoted;

/// `%q` of a text.
pub(crate) fn quoted(text: &str) -> String {
    GoQuoted(text).to_string()
}

/// `%.Nq` of a text: its first `characters` only.
pub(crate) fn quoted_start(text: &str, characters: usize) -> String {
    let end = text
        .char_indices()
        .nth(characters)
        .map_or(text.len(), |(at, _)| at);
    quoted(text.get(..end).unwrap_or(text))
}

/// `%q` of a character; `None` is the end of the text.
pub(crate) fn quoted_char(c: Option<char>) -> String {
    match c {
        None => "'\\ufffd'".to_owned(),
        Some('\'') => "'\\''".to_owned(),
        Some('"') => "'\"'".to_owned(),
        Some(c) => {
            let text = quoted(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", text.trim_matches('"'))
        }
    }
}

/// `%#U` of a character: `U+0041 'A'`.
pub(crate) fn unicode(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

/// `strconv.FormatFloat(v, 'f', -1, 64)`: the shortest digits that read back, never with an exponent.
pub fn format_f(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format!("{value}")
}

/// `%g`: the shortest digits that read back, with an exponent below -4 and from 6 on.
pub fn format_g(value: f64) -> String {
    if !value.is_finite() {
        return format_f(value);
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        assert_eq!(format_f(1e21), "1000000000000000000000");
        assert_eq!(format_f(-0.0), "-0");
        assert_eq!(format_f(0.000_001), "0.000001");
        assert_eq!(format_f(f64::INFINITY), "+Inf");
        assert_eq!(format_g(100_000.0), "100000");
        assert_eq!(format_g(1_000_000.0), "1e+06");
        assert_eq!(format_g(123_456_789.0), "1.23456789e+08");
        assert_eq!(format_g(1.5e-5), "1.5e-05");
        assert_eq!(format_g(0.0001), "0.0001");
        assert_eq!(format_g(f64::NAN), "NaN");
        assert_eq!(format_g(-12.5), "-12.5");
    }

    #[test]
    fn characters_are_quoted_as_go_quotes_them() {
        assert_eq!(quoted_char(Some('a')), "'a'");
        assert_eq!(quoted_char(Some('\'')), "'\\''");
        assert_eq!(quoted_char(Some('"')), "'\"'");
        assert_eq!(quoted_char(Some('\n')), "'\\n'");
        assert_eq!(quoted_char(None), "'\\ufffd'");
        assert_eq!(unicode('q'), "U+0071 'q'");
    }
}
