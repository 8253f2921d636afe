//! Entry points for fuzzing: each takes any bytes, and panics only if this crate is wrong.

use crate::parser::MAX_QUERY_BYTES;
use crate::{ParseOptions, parse, parse_selector};

/// Reads a query, and reads again what is printed of it.
///
/// # Panics
///
/// If the second reading does not print the same.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = parse_selector(text);
    let _ = parse(text, ParseOptions::default());
    let Ok(expr) = parse(text, ParseOptions::all()) else {
        return;
    };
    let printed = expr.to_string();
    match parse(&printed, ParseOptions::all()) {
        Ok(again) => assert_eq!(plain(&again.to_string()), plain(&printed)),
        Err(error) => assert!(is_beyond_reading(&printed, error.message()), "{printed}: {error}"),
    }
}

/// What is printed, but for what Prometheus prints in two ways.
fn plain(printed: &str) -> String {
    without_signs_of_infinity(&without_offsets_of_nothing(printed))
}

/// An offset below a millisecond is printed as `offset 0s`; that is read as no offset, and no offset is not printed.
fn without_offsets_of_nothing(printed: &str) -> String {
    printed.replace(" offset 0s", "").replace(" offset -0s", "")
}

/// Prometheus prints the number `Inf` as `+Inf`. Left of `^`, which binds closer than a sign, that is read again as a
/// sign before the power, and printed with one plus more; nothing else may differ.
fn without_signs_of_infinity(printed: &str) -> String {
    let mut plain = String::with_capacity(printed.len());
    let mut pieces = printed.split("Inf").peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            plain.push_str(piece);
        } else {
            plain.push_str(piece.trim_end_matches('+'));
            plain.push_str("Inf");
        }
    }
    plain
}

/// Whether Prometheus, too, refuses what it prints itself of a query that it read, for the reason given.
fn is_beyond_reading(printed: &str, reason: &str) -> bool {
    let has = |pieces: &[&str]| pieces.iter().any(|piece| printed.contains(piece));
    // A duration below a millisecond is printed as none, which no range or step may be.
    (reason == "duration must be greater than 0" && has(&["[0s", ":0s", "[-0s", ":-0s"]))
        // Durations and times are read as floats, and printed from integers that are rounded past the greatest.
        || (reason == "duration out of range" && has(&["292y", "106751d", "15250w"]))
        || (reason.starts_with("timestamp out of bounds") && has(&["@ 922337203685477", "@ -922337203685477"]))
        // Spaces and quotes that were not there.
        || (reason.contains("is longer than") && printed.len() > MAX_QUERY_BYTES)
        // The signs of infinities nest.
        || (reason.contains("nests deeper") && has(&["+Inf"]))
}
