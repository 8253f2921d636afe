//! Blocks that could not be loaded, and when to try them again.

use std::collections::HashMap;

use sabre_model::BlockId;

/// The longest pause between two tries.
const MAX_PAUSE_MS: i64 = 6 * 3_600_000;

/// The pause after the first failure.
const FIRST_PAUSE_MS: i64 = 60_000;

/// The same for what may pass by itself, such as a bucket that is throttled.
const MAX_PASSING_PAUSE_MS: i64 = 60_000;

/// The pause after the first failure of that kind.
const FIRST_PASSING_PAUSE_MS: i64 = 5_000;

/// Failed blocks; each failure in a row doubles the pause.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failed: HashMap<BlockId, Failure>,
}

#[derive(Debug)]
struct Failure {
    in_a_row: u32,
    next_try_ms: i64,
}

impl Backoff {
    /// Whether the block may be tried now. A try that lies further ahead than any pause was set before the clock was put
    /// back, and is due.
    pub(crate) fn allows(&self, block: BlockId, now_ms: i64) -> bool {
        self.failed.get(&block).is_none_or(|failure| {
            failure.next_try_ms <= now_ms || failure.next_try_ms > now_ms.saturating_add(MAX_PAUSE_MS)
        })
    }

    /// Notes a failure and says how long the block is left alone, in milliseconds.
    pub(crate) fn failed(&mut self, block: BlockId, now_ms: i64) -> i64 {
        self.pause(block, (FIRST_PAUSE_MS, MAX_PAUSE_MS), now_ms)
    }

    /// As [`Backoff::failed`] for a failure that may pass by itself: the pauses are shorter.
    pub(crate) fn failed_for_now(&mut self, block: BlockId, now_ms: i64) -> i64 {
        self.pause(block, (FIRST_PASSING_PAUSE_MS, MAX_PASSING_PAUSE_MS), now_ms)
    }

    fn pause(&mut self, block: BlockId, (first_ms, max_ms): (i64, i64), now_ms: i64) -> i64 {
        let failure = self.failed.entry(block).or_insert(Failure {
            in_a_row: 0,
            next_try_ms: 0,
        });
        let doubled = first_ms.checked_shl(failure.in_a_row).filter(|pause| *pause > 0);
        let pause_ms = doubled.unwrap_or(max_ms).min(max_ms);
        failure.in_a_row = failure.in_a_row.saturating_add(1).min(32);
        failure.next_try_ms = now_ms.saturating_add(pause_ms);
        pause_ms
    }

    /// Forgets all blocks but those to keep.
    pub(crate) fn retain(&mut self, keep: impl Fn(BlockId) -> bool) {
        self.failed.retain(|block, _| keep(*block));
    }

    /// Notes a success.
    pub(crate) fn succeeded(&mut self, block: BlockId) {
        self.failed.remove(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_put_back_keeps_no_block_aside() {
        let block = BlockId::from_parts(1, [1; 10]);
        let mut backoff = Backoff::default();
        let ahead_ms = 30 * 24 * 3_600_000;
        backoff.failed(block, ahead_ms);
        assert!(!backoff.allows(block, ahead_ms));
        assert!(backoff.allows(block, 0));
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_end_with_a_success() {
        let block = BlockId::from_parts(1, [1; 10]);
        let mut backoff = Backoff::default();
        assert!(backoff.allows(block, 0));
        assert_eq!(backoff.failed(block, 1000), FIRST_PAUSE_MS);
        assert!(!backoff.allows(block, 1000 + FIRST_PAUSE_MS - 1));
        assert!(backoff.allows(block, 1000 + FIRST_PAUSE_MS));
        assert_eq!(backoff.failed(block, 0), 2 * FIRST_PAUSE_MS);
        for _ in 0..100 {
            assert!(backoff.failed(block, 0) <= MAX_PAUSE_MS);
        }
        assert_eq!(backoff.failed(block, 0), MAX_PAUSE_MS);
        backoff.succeeded(block);
        assert_eq!(backoff.failed_for_now(block, 0), FIRST_PASSING_PAUSE_MS);
        for _ in 0..100 {
            assert!(backoff.failed_for_now(block, 0) <= MAX_PASSING_PAUSE_MS);
        }
        backoff.succeeded(block);
        assert!(backoff.allows(block, 0));
    }
}
