//! Durations: Go's (`1h30m`, `1.5h`) and Prometheus' (`15d`, `1y2w`).

mod go;
mod prometheus;

use thiserror::Error;

pub use go::GoDuration;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a duration: {text:?}: {problem}")]
pub struct DurationError {
    text: String,
    problem: Problem,
}

/// What is wrong with the text of a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
enum Problem {
    #[error("the text is empty")]
    Empty,
    #[error("expected a number at offset {offset}")]
    MissingNumber { offset: usize },
    #[error("the number at offset {offset} has no unit, expected {expected}")]
    MissingUnit { offset: usize, expected: &'static str },
    #[error("unknown unit {unit:?}, expected {expected}")]
    UnknownUnit { unit: String, expected: &'static str },
    #[error("unit {unit:?} comes twice or after a smaller one")]
    Order { unit: String },
    #[error("longer than 292 years")]
    Overflow,
}

impl DurationError {
    /// Whether the text is a duration, but one longer than can be held.
    pub fn is_too_long(&self) -> bool {
        self.problem == Problem::Overflow
    }

    /// The unit that no duration has, if that is what is wrong.
    pub fn unknown_unit(&self) -> Option<&str> {
        match &self.problem {
            Problem::UnknownUnit { unit, .. } => Some(unit),
            _ => None,
        }
    }
}

/// Reads a Go duration: `300ms`, `-1.5h`, `1h30m`, `0`.
pub fn parse_go(text: &str) -> Result<GoDuration, DurationError> {
    go::parse(text).map_err(|problem| DurationError {
        text: text.to_owned(),
        problem,
    })
}

/// Prints a Go duration as Go does: `1h30m0s`, `1.5s`, `0s`.
pub fn format_go(duration: GoDuration) -> String {
    duration.to_string()
}

/// Reads a Prometheus duration in ms: `15d`, `1y2w3d4h5m6s7ms`, `0`. Units go from great to small, each at most once;
/// a year is 365 days. There are no signs and no fractions.
pub fn parse_model(text: &str) -> Result<i64, DurationError> {
    prometheus::parse(text).map_err(|problem| DurationError {
        text: text.to_owned(),
        problem,
    })
}

/// Prints a duration in ms as Prometheus does: `0s`, `15d`, `1h30m`. Years and weeks are used where nothing is left.
pub fn format_model(duration_ms: i64) -> String {
    prometheus::format(duration_ms)
}

/// Reads a duration in either manner, in ms: what both take means the same in both. Of a Go duration the part below a
/// millisecond is cut off.
pub fn parse_either(text: &str) -> Result<i64, DurationError> {
    parse_model(text)
        .or_else(|_| parse_go(text).map(GoDuration::as_ms))
        .map_err(|mut error| {
            if let Problem::UnknownUnit { expected, .. } | Problem::MissingUnit { expected, .. } =
                &mut error.problem
            {
                *expected = "ns, us, ms, s, m, h, d, w or y";
            }
            error
        })
}

#[cfg(test)]
mod tests;
