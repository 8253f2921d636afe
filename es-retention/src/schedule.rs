//! Runs on a schedule of its own, with probes and metrics.

use std::time::Duration;

use jiff::{Timestamp, Zoned, civil::Date, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use crate::config::Schedule;

/// The longest sleep before the clock is read again: clocks are set, and machines sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

impl Schedule {
    /// The first moment after `now_ms` at which a run begins; `None` when there is none any more.
    pub fn next_after(&self, now_ms: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(now_ms).ok()?;
        let next = self
            .cron
            .find_next_occurrence(&Zoned::new(now, self.zone.clone()), false)
            .ok()?;
        Some(next.timestamp().as_millisecond())
    }
}

/// The day of UTC that holds this moment.
pub(crate) fn utc_day(now_ms: i64) -> Option<Date> {
    let now = Timestamp::from_millisecond(now_ms).ok()?;
    Some(TimeZone::UTC.to_datetime(now).date())
}

/// Sleeps until `clock` reads `until_ms`; `false` when `stop` came first.
pub(crate) async fn sleep_until(until_ms: i64, clock: fn() -> i64, stop: &CancellationToken) -> bool {
    loop {
        let left_ms = until_ms.saturating_sub(clock());
        let Ok(left_ms @ 1..) = u64::try_from(left_ms) else {
            return true;
        };
        let nap = Duration::from_millis(left_ms).min(LONGEST_SLEEP);
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(nap) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        Schedule {
            cron: cron.parse().unwrap(),
            zone: TimeZone::get(zone).unwrap(),
        }
    }

    fn next(schedule: &Schedule, now: &str) -> String {
        let now: Timestamp = now.parse().unwrap();
        let next_ms = schedule.next_after(now.as_millisecond()).unwrap();
        Timestamp::from_millisecond(next_ms).unwrap().to_string()
    }

    #[test]
    fn five_in_the_morning_is_that_of_the_zone() {
        let utc = schedule("0 5 * * *", "UTC");
        assert_eq!(next(&utc, "2026-01-01T04:59:59Z"), "2026-01-01T05:00:00Z");
        assert_eq!(next(&utc, "2026-01-01T05:00:00Z"), "2026-01-02T05:00:00Z");
        let berlin = schedule("0 5 * * *", "Europe/Berlin");
        assert_eq!(next(&berlin, "2026-03-28T05:00:00Z"), "2026-03-29T03:00:00Z");
        assert_eq!(next(&berlin, "2026-01-01T05:00:00Z"), "2026-01-02T04:00:00Z");
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_the_sleep() {
        let stop = CancellationToken::new();
        assert!(sleep_until(0, || 1, &stop).await);
        stop.cancel();
        assert!(!sleep_until(1_000_000, || 0, &stop).await);
    }
}
