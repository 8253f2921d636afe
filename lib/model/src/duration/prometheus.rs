//! Durations as Prometheus' configuration and PromQL write them.

use super::Problem;

const EXPECTED: &str = "y, w, d, h, m, s or ms";

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The units from great to small, in ms. A year has 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * DAY_MS),
    ("w", 7 * DAY_MS),
    ("d", DAY_MS),
    ("h", HOUR_MS),
    ("m", MINUTE_MS),
    ("s", SECOND_MS),
    ("ms", 1),
];

/// Prometheus holds durations as nanoseconds in an `i64`: longer ones are errors there too.
const MAX_MS: u64 = (i64::MAX / 1_000_000) as u64;

pub(super) fn parse(text: &str) -> Result<i64, Problem> {
    match text {
        "" => return Err(Problem::Empty),
        // No unit is needed for nothing.
        "0" => return Ok(0),
        _ => {}
    }
    let mut left = text;
    let mut units = UNITS.iter();
    let mut total_ms: u64 = 0;
    while !left.is_empty() {
        let offset = text.len() - left.len();
        let digits = left.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = left.split_at_checked(digits).unwrap_or((left, ""));
        if number.is_empty() {
            return Err(Problem::MissingNumber { offset });
        }
        let letters = rest.bytes().take_while(|b| !b.is_ascii_digit()).count();
        let (unit, rest) = rest.split_at_checked(letters).unwrap_or((rest, ""));
        let unit_ms = find_unit(unit, offset, &mut units)?;
        let number: u64 = number.parse().map_err(|_| Problem::Overflow)?;
        total_ms = number
            .checked_mul(unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .filter(|ms| *ms <= MAX_MS)
            .ok_or(Problem::Overflow)?;
        left = rest;
    }
    i64::try_from(total_ms).map_err(|_| Problem::Overflow)
}

/// Looks for a unit among those that may still come.
fn find_unit(
    unit: &str,
    offset: usize,
    left: &mut std::slice::Iter<'_, (&'static str, u64)>,
) -> Result<u64, Problem> {
    if unit.is_empty() {
        return Err(Problem::MissingUnit {
            offset,
            expected: EXPECTED,
        });
    }
    if let Some((_, unit_ms)) = left.find(|(name, _)| *name == unit) {
        return Ok(*unit_ms);
    }
    let unit = unit.to_owned();
    if UNITS.iter().any(|(name, _)| *name == unit) {
        return Err(Problem::Order { unit });
    }
    Err(Problem::UnknownUnit {
        unit,
        expected: EXPECTED,
    })
}

pub(super) fn format(duration_ms: i64) -> String {
    if duration_ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    if duration_ms < 0 {
        text.push('-');
    }
    let mut left = duration_ms.unsigned_abs();
    for (name, unit_ms) in UNITS {
        // 90d is easier to read than 12w6d.
        let only_if_exact = matches!(name, "y" | "w");
        if left < unit_ms || (only_if_exact && !left.is_multiple_of(unit_ms)) {
            continue;
        }
        text.push_str(&(left / unit_ms).to_string());
        text.push_str(name);
        left %= unit_ms;
    }
    text
}
