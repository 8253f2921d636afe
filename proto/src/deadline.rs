//! The `grpc-timeout` header.

use http::HeaderMap;
use std::time::Duration;
use tokio::time::Instant;

/// Digits a timeout may have.
const MAX_DIGITS: usize = 8;

/// Returns until when the caller waits; `None` without a header, or with one that is no timeout.
pub fn deadline_of(headers: &HeaderMap) -> Option<Instant> {
    let timeout = parse_timeout(headers.get("grpc-timeout")?.to_str().ok()?)?;
    Instant::now().checked_add(timeout)
}

/// Reads up to 8 digits and a unit of `H`, `M`, `S`, `m`, `u` or `n`.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        let secs = |text| parse_timeout(text).expect("timeout").as_secs_f64();
        assert_eq!(secs("2H"), 7200.0);
        assert_eq!(secs("3M"), 180.0);
        assert_eq!(secs("4S"), 4.0);
        assert_eq!(secs("500m"), 0.5);
        assert_eq!(secs("99999999u"), 99.999_999);
        assert_eq!(parse_timeout("7n"), Some(Duration::from_nanos(7)));
        assert_eq!(
            parse_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "S",
            "5",
            "5s",
            "+5S",
            "-1S",
            "123456789S",
            "5 S",
            "1.5S",
            "5é",
            "é",
        ] {
            assert_eq!(parse_timeout(text), None, "{text:?}");
        }
    }
}
