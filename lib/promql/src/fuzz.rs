//! Entry points for fuzzing: each takes any bytes, and panics only if this crate is wrong.

use crate::{ParseOptions, parse, parse_selector};

/// Reads a query, and reads again what is printed of it.
///
/// # Panics
///
/// If the second reading does not print the same.
#[expect(clippy::panic, reason = "that is how a fuzz target reports")]
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
        // Prometheus prints a sign before Inf, and what is read again binds it like any sign.
        Ok(_) if printed.contains("Inf") => {}
        Ok(again) => assert_eq!(again.to_string(), printed),
        // Prometheus prints these so, too: a time or a duration beyond what it can read.
        Err(_) if is_beyond_reading(&printed) => {}
        Err(error) => panic!("{printed}: {error}"),
    }
}

/// Whether something printed may be refused: extreme numbers, and durations below a millisecond.
fn is_beyond_reading(printed: &str) -> bool {
    let digits = printed
        .split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .max()
        .unwrap_or(0);
    digits > 15 || printed.contains("0s") || printed.len() > 1 << 19
}
