//! When to say that blocks are not shipped: early, and ever more often as the time to their deletion runs out.

use super::pause::has_passed;

/// A bucket that is away for less than this is not worth a word of its own.
const PATIENCE_MS: i64 = 10 * 60_000;

/// With less than this left somebody must act.
const URGENT_MS: i64 = 2 * 3_600_000;

/// The shortest and the longest time between two sayings.
const PAUSE_MS: std::ops::RangeInclusive<i64> = 5 * 60_000..=6 * 3_600_000;

/// Remembers since when it fails, and what was said.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    failing_since_ms: Option<i64>,
    said_ms: Option<i64>,
}

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// There is time.
    Warning,
    /// There is not.
    Urgent,
}

impl Alarm {
    /// After a sync: `left_ms` is the time until the oldest block that waits may be deleted, if that is known. Returns
    /// how loud to say it, and since when shipping fails.
    pub(crate) fn after_sync(
        &mut self,
        now_ms: i64,
        failed: bool,
        left_ms: Option<i64>,
    ) -> Option<(Loudness, i64)> {
        if !failed {
            *self = Alarm::default();
            return None;
        }
        // A clock that was set back would have it fail from later on.
        let since_ms = self
            .failing_since_ms
            .map_or(now_ms, |since_ms| since_ms.min(now_ms));
        self.failing_since_ms = Some(since_ms);
        let is_urgent = left_ms.is_some_and(|left| left < URGENT_MS);
        if !is_urgent && now_ms.saturating_sub(since_ms) < PATIENCE_MS {
            return None;
        }
        let pause_ms = left_ms
            .map_or(*PAUSE_MS.end(), |left| left / 8)
            .clamp(*PAUSE_MS.start(), *PAUSE_MS.end());
        if self
            .said_ms
            .is_some_and(|said_ms| !has_passed(said_ms, pause_ms, now_ms))
        {
            return None;
        }
        self.said_ms = Some(now_ms);
        let loudness = if is_urgent {
            Loudness::Urgent
        } else {
            Loudness::Warning
        };
        Some((loudness, since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    #[test]
    fn a_short_failure_is_not_mentioned_and_a_long_one_is_more_and_more() {
        let mut alarm = Alarm::default();
        let retention_ms = 24 * HOUR;
        let mut said = Vec::new();
        for now_ms in (0..=retention_ms).step_by(30_000) {
            let left_ms = retention_ms - now_ms;
            if let Some((loudness, since_ms)) = alarm.after_sync(now_ms, true, Some(left_ms)) {
                assert_eq!(since_ms, 0);
                said.push((now_ms, loudness));
            }
        }
        assert_eq!(said[0], (10 * MINUTE, Loudness::Warning), "after ten minutes");
        assert!((12..40).contains(&said.len()), "{said:?}");
        let pauses: Vec<i64> = said.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(pauses.is_sorted_by(|a, b| a >= b), "{pauses:?}");
        for (now_ms, loudness) in said {
            assert_eq!(loudness == Loudness::Urgent, now_ms > 22 * HOUR, "{now_ms}");
        }
    }

    #[test]
    fn with_little_time_left_the_first_failure_is_said() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.after_sync(0, false, Some(0)), None, "nothing failed");
        let said = alarm.after_sync(7, true, Some(HOUR));
        assert_eq!(said, Some((Loudness::Urgent, 7)));
    }

    #[test]
    fn success_ends_it() {
        let mut alarm = Alarm::default();
        alarm.after_sync(0, true, None);
        assert!(alarm.after_sync(HOUR, true, None).is_some(), "whatever is left");
        assert_eq!(alarm.after_sync(2 * HOUR, true, None), None);
        alarm.after_sync(2 * HOUR, false, None);
        assert_eq!(alarm.after_sync(3 * HOUR, true, None), None, "ten minutes anew");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_it() {
        let mut alarm = Alarm::default();
        let now_ms = 1000 * HOUR;
        let urgent = |said: Option<(Loudness, i64)>| said.map(|(loudness, _)| loudness);
        assert_eq!(
            urgent(alarm.after_sync(now_ms, true, Some(HOUR))),
            Some(Loudness::Urgent)
        );
        let back_ms = now_ms - 10 * HOUR;
        let said = alarm.after_sync(back_ms, true, Some(HOUR));
        assert_eq!(said, Some((Loudness::Urgent, back_ms)), "at once");
        assert_eq!(
            alarm.after_sync(back_ms + MINUTE, true, Some(HOUR)),
            None,
            "and with the pause"
        );
        // Where there is time, ten minutes by the clock that counts now.
        let mut alarm = Alarm::default();
        alarm.after_sync(now_ms, true, None);
        assert_eq!(alarm.after_sync(back_ms, true, None), None);
        let said = alarm.after_sync(back_ms + 10 * MINUTE, true, None);
        assert_eq!(said, Some((Loudness::Warning, back_ms)));
    }
}
