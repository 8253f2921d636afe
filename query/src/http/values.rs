//! Reading the values of parameters: the forms that Prometheus and Thanos take, and their words for what is wrong.

#[cfg(test)]
mod tests;

use sabre_model::{duration::parse_model, quote::GoQuoted, time::parse_rfc3339_ms};

use super::failure::ApiFailure;

/// The first time of Prometheus, in milliseconds: everything before is this.
pub(crate) const MIN_TIME_MS: i64 = (i64::MIN / 1000 + 62_135_596_801) * 1000;
/// The last time of Prometheus, in milliseconds: everything after is this.
pub(crate) const MAX_TIME_MS: i64 = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;

/// How Prometheus prints these two; they have more digits in the year than RFC 3339 allows.
const MIN_TIME_TEXT: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

const NANOS_PER_SECOND: f64 = 1e9;
const NANOS_PER_MS: i64 = 1_000_000;

/// A time in milliseconds since 1970: seconds with or without decimals, or RFC 3339.
pub(crate) fn time_ms(text: &str) -> Result<i64, ApiFailure> {
    if let Some(seconds) = number(text).filter(|seconds| seconds.is_finite()) {
        return Ok(ms_of_seconds(seconds));
    }
    match text.trim_start_matches('+') {
        MIN_TIME_TEXT => return Ok(MIN_TIME_MS),
        MAX_TIME_TEXT => return Ok(MAX_TIME_MS),
        _ => {}
    }
    parse_rfc3339_ms(text).map_err(|_| cannot_parse(text, "timestamp"))
}

/// As Go takes seconds apart: decimals are rounded to milliseconds, and what binary fractions leave is cut off.
fn ms_of_seconds(seconds: f64) -> i64 {
    let whole = seconds.trunc();
    let decimals = ((seconds - whole) * 1000.0).round() / 1000.0;
    let nanos = (decimals * NANOS_PER_SECOND) as i64;
    let ms = (whole as i64)
        .saturating_mul(1000)
        .saturating_add(nanos.div_euclid(NANOS_PER_MS));
    ms.clamp(MIN_TIME_MS, MAX_TIME_MS)
}

/// A duration in nanoseconds: seconds with or without decimals, or Prometheus' `1h30m`.
pub(crate) fn duration_ns(text: &str) -> Result<i64, ApiFailure> {
    if let Some(seconds) = number(text) {
        let nanos = seconds * NANOS_PER_SECOND;
        if nanos.is_nan() || nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            let quoted = GoQuoted(text);
            let problem = format!("cannot parse {quoted} to a valid duration. It overflows int64");
            return Err(ApiFailure::bad_data(problem));
        }
        return Ok(nanos as i64);
    }
    let parsed = parse_model(text).map_err(|_| cannot_parse(text, "duration"))?;
    Ok(parsed.saturating_mul(NANOS_PER_MS))
}

/// A number as Go's `ParseFloat` takes it; hexadecimal ones, which it takes too, are left out.
fn number(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let says_so = text
        .trim_start_matches(['+', '-'])
        .starts_with(['i', 'I', 'n', 'N']);
    // Out of range is an error there, and infinity here.
    (value.is_finite() || says_so).then_some(value)
}

fn cannot_parse(text: &str, what: &str) -> ApiFailure {
    let quoted = GoQuoted(text);
    ApiFailure::bad_data(format!("cannot parse {quoted} to a valid {what}"))
}

/// A truth value as Go takes it.
pub(crate) fn boolean(text: &str) -> Result<bool, ApiFailure> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            let quoted = GoQuoted(text);
            let problem = format!("strconv.ParseBool: parsing {quoted}: invalid syntax");
            Err(ApiFailure::bad_data(problem))
        }
    }
}

/// A limit; 0 is none.
pub(crate) fn limit(text: Option<&str>) -> Result<usize, ApiFailure> {
    let Some(text) = text else {
        return Ok(0);
    };
    let limit: i64 = text.parse().map_err(|_| cannot_parse(text, "limit"))?;
    usize::try_from(limit).map_err(|_| ApiFailure::bad_data("limit must be non-negative"))
}
