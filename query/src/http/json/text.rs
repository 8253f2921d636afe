//! Texts, numbers and times as Prometheus writes them.

use std::io::Write as _;

use sabre_model::Labels;

/// Every whole number below is a float of its own.
const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0;

/// Writes a quoted text.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (plain, escaped) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = escaped.split_first() else {
            break;
        };
        escape(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => print(out, format_args!("\\u{byte:04x}")),
    }
}

/// Writes a list of texts.
pub(crate) fn strings(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'[');
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        string(out, text);
    }
    out.push(b']');
}

/// Writes labels as an object.
pub(crate) fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (number, (name, value)) in labels.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// Writes a sample's number: the shortest digits that read back, in quotes because of NaN and infinity. An exponent is
/// used below 1e-6 and from 1e21 on.
pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    let size = value.abs();
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if size < WHOLE_BELOW && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        print(out, format_args!("{}", value as i64));
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        exponent(out, value);
    } else {
        print(out, format_args!("{value}"));
    }
    out.push(b'"');
}

/// With an exponent of two digits at least, as Go.
fn exponent(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    print(out, format_args!("{value:e}"));
    let written = out.get(start..).unwrap_or_default();
    let Some(mark) = written.iter().position(|byte| *byte == b'e') else {
        return;
    };
    let mut digits = start + mark + 1;
    if out.get(digits) == Some(&b'-') {
        digits += 1;
    } else {
        out.insert(digits, b'+');
        digits += 1;
    }
    if out.len() == digits + 1 {
        out.insert(digits, b'0');
    }
}

/// Writes a time in milliseconds as seconds, with decimals where needed.
pub(crate) fn timestamp(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let size = ms.unsigned_abs();
    print(out, format_args!("{}", size / 1000));
    let decimals = size % 1000;
    if decimals != 0 {
        print(out, format_args!(".{decimals:03}"));
    }
}

/// Prints; writing to memory cannot fail.
pub(crate) fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_those_of_prometheus() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (0.000_001, "0.000001"),
            (0.000_000_9, "9e-07"),
            (9.999_999_999_999_997e-174, "9.999999999999997e-174"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(written(|out| float(out, value)), format!("\"{expected}\""));
        }
    }

    #[test]
    fn times_have_three_decimals_or_none() {
        let cases = [
            (0, "0"),
            (1, "0.001"),
            (-1, "-0.001"),
            (1_767_232_800_000, "1767232800"),
            (1_767_232_800_050, "1767232800.050"),
            (i64::MIN, "-9223372036854775.808"),
        ];
        for (ms, expected) in cases {
            assert_eq!(written(|out| timestamp(out, ms)), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_reads_back(text in "\\PC{0,20}|[\u{0}-\u{22}\\\\\"é\u{2028}]{0,20}") {
            let written = written(|out| string(out, &text));
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }

        #[test]
        fn every_number_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            let written = written(|out| float(out, value));
            let read: f64 = written.trim_matches('"').parse().unwrap();
            proptest::prop_assert!(read == value || (read.is_nan() && value.is_nan()));
        }
    }
}
