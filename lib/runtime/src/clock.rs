//! The wall clock, read in one place.
//!
//! Everything below the edge of the process takes `now_ms` as an argument; this file is the only one that may ask.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since the Unix epoch; zero on a machine whose clock stands before it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one allowed reader of the wall clock"
)]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns the current time in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::now_ms;

    #[test]
    fn stands_after_2020_and_does_not_run_backwards_by_much() {
        let first_ms = now_ms();
        assert!(
            first_ms > 1_577_836_800_000,
            "the clock of this machine says {first_ms}"
        );
        assert!(now_ms() >= first_ms - 60_000);
    }
}
