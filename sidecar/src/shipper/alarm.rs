//! When to say that blocks are not shipped: early, and ever more often as the time to their deletion runs out.

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
        let since_ms = *self.failing_since_ms.get_or_insert(now_ms);
        let is_urgent = left_ms.is_some_and(|left| left < URGENT_MS);
        if !is_urgent && now_ms.saturating_sub(since_ms) < PATIENCE_MS {
            return None;
        }
        let pause_ms = left_ms
            .map_or(*PAUSE_MS.end(), |left| left / 8)
            .clamp(*PAUSE_MS.start(), *PAUSE_MS.end());
        if self
            .said_ms
            .is_some_and(|said_ms| now_ms.saturating_sub(said_ms) < pause_ms)
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
}
