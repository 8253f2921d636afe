//! Sizes in bytes, as flags and configuration give them.

use thiserror::Error;

/// The units from great to small, with the names they go by. All are powers of two: `MB` is `MiB`.
const UNITS: [(&str, &str, u64); 7] = [
    ("EiB", "EB", 1 << 60),
    ("PiB", "PB", 1 << 50),
    ("TiB", "TB", 1 << 40),
    ("GiB", "GB", 1 << 30),
    ("MiB", "MB", 1 << 20),
    ("KiB", "KB", 1 << 10),
    ("B", "B", 1),
];

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// A number is missing.
    #[error("not a size in bytes: {text:?}: expected a number at offset {offset}, such as in 250MB")]
    MissingNumber {
        /// The text.
        text: String,
        /// Where the number should be.
        offset: usize,
    },
    /// A unit is not known.
    #[error(
        "not a size in bytes: {text:?}: unknown unit {unit:?}, expected B, KB, MB, GB, TB, PB, EB, KiB, MiB and so on"
    )]
    UnknownUnit {
        /// The text.
        text: String,
        /// The unit.
        unit: String,
    },
    /// It is above 2^63 - 1.
    #[error("not a size in bytes: {text:?}: above 2^63 - 1")]
    Overflow {
        /// The text.
        text: String,
    },
}

/// Reads a size in bytes: `250MB`, `2GB`, `64GiB`, `1.5GiB`, `1GiB512MiB`, or a plain number. Units are powers of two,
/// `MB` as well as `MiB`.
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let mut total: u64 = 0;
    let mut left = text;
    loop {
        let offset = text.len() - left.len();
        let (whole, rest) = split_digits(left);
        let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(SizeError::MissingNumber {
                text: text.to_owned(),
                offset,
            });
        }
        let end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let plain_number = unit.is_empty() && offset == 0 && fraction.is_empty();
        let unit_bytes = match UNITS
            .iter()
            .find(|(long, short, _)| unit == *long || unit == *short)
        {
            Some((_, _, bytes)) => *bytes,
            None if plain_number => 1,
            None => {
                return Err(SizeError::UnknownUnit {
                    text: text.to_owned(),
                    unit: unit.to_owned(),
                });
            }
        };
        total = term(whole, fraction, unit_bytes)
            .and_then(|bytes| total.checked_add(bytes))
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or_else(|| SizeError::Overflow {
                text: text.to_owned(),
            })?;
        left = rest;
        if left.is_empty() {
            return Ok(total);
        }
    }
}

/// The bytes of one number with its unit, cut off below one.
fn term(whole: &str, fraction: &str, unit_bytes: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More decimals than these change nothing that counts.
    let digits = fraction.get(..fraction.len().min(18)).unwrap_or(fraction);
    let mut part: u128 = 0;
    let mut scale: u128 = 1;
    for digit in digits.bytes() {
        part = part * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    let part_bytes = u64::try_from(part * u128::from(unit_bytes) / scale).ok()?;
    whole.checked_mul(unit_bytes)?.checked_add(part_bytes)
}

fn split_digits(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or((text, ""))
}

/// Prints a size so that it can be read again: `250MiB`, `1GiB512MiB`, `0B`.
pub fn format_bytes(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    let mut text = String::new();
    let mut left = bytes;
    for (name, _, unit_bytes) in UNITS {
        if left >= unit_bytes {
            text.push_str(&(left / unit_bytes).to_string());
            text.push_str(name);
            left %= unit_bytes;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_powers_of_two_under_either_name() {
        let table = [
            ("0", 0),
            ("0B", 0),
            ("123", 123),
            ("250MB", 250 << 20),
            ("250MiB", 250 << 20),
            ("2GB", 2 << 30),
            ("64GiB", 64 << 30),
            ("1KB", 1024),
            ("1.5GiB", 3 << 29),
            (".5KiB", 512),
            ("1.B", 1),
            ("1GiB512MiB", 3 << 29),
            ("0.0000000000000000000000001EiB", 0),
            ("7EiB1023PiB", (7 << 60) + (1023 << 50)),
            ("9223372036854775807", i64::MAX as u64),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_other_texts() {
        let table = [
            (
                "",
                r#"not a size in bytes: "": expected a number at offset 0, such as in 250MB"#,
            ),
            (
                "MB",
                r#"not a size in bytes: "MB": expected a number at offset 0, such as in 250MB"#,
            ),
            (
                "-1MB",
                r#"not a size in bytes: "-1MB": expected a number at offset 0, such as in 250MB"#,
            ),
            ("8EiB", r#"not a size in bytes: "8EiB": above 2^63 - 1"#),
            (
                "9223372036854775808",
                r#"not a size in bytes: "9223372036854775808": above 2^63 - 1"#,
            ),
        ];
        for (text, error) in table {
            assert_eq!(parse_bytes(text).unwrap_err().to_string(), error);
        }
        // Lower case k is 1000 elsewhere, so Thanos reads it nowhere; a plain number stands alone.
        for (text, unit) in [
            ("1kB", "kB"),
            ("1mb", "mb"),
            ("1 MB", " MB"),
            ("1MB ", "MB "),
            ("1.5", ""),
            ("1MB5", ""),
        ] {
            let expected = SizeError::UnknownUnit {
                text: text.to_owned(),
                unit: unit.to_owned(),
            };
            assert_eq!(parse_bytes(text), Err(expected));
        }
    }

    #[test]
    fn prints_what_flags_take() {
        assert_eq!(format_bytes(250 << 20), "250MiB");
        assert_eq!(format_bytes(3 << 29), "1GiB512MiB");
        assert_eq!(format_bytes(0), "0B");
        assert_eq!(format_bytes(1025), "1KiB1B");
    }

    proptest! {
        #[test]
        fn sizes_come_back(bytes in 0..=i64::MAX as u64) {
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
        }

        #[test]
        fn parser_is_total(text in "[0-9.KMGTPEiB]{0,24}|.{0,12}") {
            let _ = parse_bytes(&text);
        }
    }
}
