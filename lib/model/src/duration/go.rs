//! Durations as Go's `time` package reads and prints them.

use std::fmt;

use super::Problem;

const EXPECTED: &str = "ns, us, ms, s, m or h";

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Nanoseconds in a millisecond.
const NS_PER_MS: i64 = 1_000_000;

/// One above the greatest number of nanoseconds; a negative duration may have as many.
const LIMIT: u64 = 1 << 63;

/// A Go duration: a signed number of nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

impl GoDuration {
    /// From nanoseconds.
    pub const fn from_ns(ns: i64) -> GoDuration {
        GoDuration(ns)
    }

    /// From milliseconds; beyond ±292 years the nearest duration there is.
    pub const fn from_ms(ms: i64) -> GoDuration {
        GoDuration(ms.saturating_mul(NS_PER_MS))
    }

    /// The nanoseconds.
    pub const fn as_ns(self) -> i64 {
        self.0
    }

    /// The whole milliseconds; what is left is cut off, towards zero.
    pub const fn as_ms(self) -> i64 {
        self.0 / NS_PER_MS
    }

    /// As a standard duration; a negative one is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

pub(super) fn parse(text: &str) -> Result<GoDuration, Problem> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or("")),
        Some(b'+') => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(GoDuration(0));
    }
    if rest.is_empty() {
        return Err(Problem::Empty);
    }
    let mut left = rest;
    let mut total: u64 = 0;
    while !left.is_empty() {
        let (term_ns, after) = parse_term(left, text.len() - left.len())?;
        total = total
            .checked_add(term_ns)
            .filter(|t| *t <= LIMIT)
            .ok_or(Problem::Overflow)?;
        left = after;
    }
    if negative {
        return Ok(GoDuration(
            0_i64.checked_sub_unsigned(total).ok_or(Problem::Overflow)?,
        ));
    }
    i64::try_from(total)
        .map(GoDuration)
        .map_err(|_| Problem::Overflow)
}

/// Reads one number with its unit; gives nanoseconds and the text after it.
fn parse_term(text: &str, offset: usize) -> Result<(u64, &str), Problem> {
    let (whole, rest) = split_while(text, |b| b.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_while(rest, |b| b.is_ascii_digit()),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Problem::MissingNumber { offset });
    }
    let (unit, rest) = split_while(rest, |b| b != b'.' && !b.is_ascii_digit());
    if unit.is_empty() {
        return Err(Problem::MissingUnit {
            offset,
            expected: EXPECTED,
        });
    }
    let unit_ns = match unit {
        "ns" => 1,
        // The two letters that look like mu: micro sign and Greek mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => {
            return Err(Problem::UnknownUnit {
                unit: unit.to_owned(),
                expected: EXPECTED,
            });
        }
    };
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| Problem::Overflow)?
    };
    let whole_ns = whole
        .checked_mul(unit_ns)
        .filter(|ns| *ns <= LIMIT)
        .ok_or(Problem::Overflow)?;
    let ns = whole_ns
        .checked_add(fraction_ns(fraction, unit_ns))
        .filter(|ns| *ns <= LIMIT);
    Ok((ns.ok_or(Problem::Overflow)?, rest))
}

/// The nanoseconds of a decimal fraction of a unit, cut off below one. Digits that no `i64` could hold count no more,
/// and the last step is done in floating point, both as Go does.
fn fraction_ns(digits: &str, unit_ns: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale: f64 = 1.0;
    for byte in digits.bytes() {
        let next = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(byte.wrapping_sub(b'0'))));
        match next.filter(|v| *v < LIMIT) {
            Some(next) => value = next,
            None => break,
        }
        scale *= 10.0;
    }
    // Below one unit, so below 3.6e12.
    (value as f64 * (unit_ns as f64 / scale)) as u64
}

/// Cuts a text after the bytes that `wanted` accepts. It must accept all or none of the bytes above 0x7f.
fn split_while(text: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !wanted(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.unsigned_abs();
        if ns == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if ns < MICROSECOND {
            return write!(f, "{ns}ns");
        }
        if ns < MILLISECOND {
            return write_decimal(f, ns, MICROSECOND, 3, "\u{b5}s");
        }
        if ns < SECOND {
            return write_decimal(f, ns, MILLISECOND, 6, "ms");
        }
        if ns >= HOUR {
            write!(f, "{}h", ns / HOUR)?;
        }
        if ns >= MINUTE {
            write!(f, "{}m", ns % HOUR / MINUTE)?;
        }
        write_decimal(f, ns % MINUTE, SECOND, 9, "s")
    }
}

/// Writes `ns / unit` with as many of `places` decimals as it needs.
fn write_decimal(f: &mut fmt::Formatter<'_>, ns: u64, unit: u64, places: usize, name: &str) -> fmt::Result {
    write!(f, "{}", ns / unit)?;
    let fraction = ns % unit;
    if fraction > 0 {
        let digits = format!("{fraction:0places$}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str(name)
}
