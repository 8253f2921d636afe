//! Memory that is kept for requests of few series, so that they need not wait for many large ones.
//!
//! Large requests never get it and so cannot starve small ones, and it is a small part of all, so small ones cannot
//! starve large ones. A request holds memory of the one or the other and waits once, before it holds any.

use std::time::Duration;

use sabre_runtime::budget::{Budget, BudgetError, Reservation};

/// A request of so many series, those of all its blocks added up, is a small one.
pub(crate) const SMALL_SERIES: u64 = 256;

/// The part of the budget that is kept.
const BUDGET_PART: u64 = 16;

/// More is not kept.
const MOST_BYTES: u64 = 32 << 20;

/// A budget below this is too small to keep anything of it.
const LEAST_BUDGET_BYTES: u64 = 64 << 20;

/// What errors name as the limit.
const FLAG: &str = "--sabre.memory-budget (of which requests for few series have this part)";

/// Memory for small requests.
#[derive(Clone, Debug)]
pub(crate) struct SmallLane {
    lane: Budget,
    _memory: std::sync::Arc<Option<Reservation>>,
}

impl SmallLane {
    /// Keeps its part of `budget`.
    pub(crate) fn of(budget: &Budget) -> Self {
        let limit_bytes = budget.limit_bytes();
        let bytes = match limit_bytes < LEAST_BUDGET_BYTES {
            true => 0,
            false => (limit_bytes / BUDGET_PART).min(MOST_BYTES),
        };
        let memory = budget.try_reserve(bytes);
        let lane_bytes = memory.as_ref().map_or(0, Reservation::bytes);
        Self {
            lane: Budget::new(lane_bytes, FLAG),
            _memory: memory.into(),
        }
    }

    /// Whether it ever has so much.
    pub(crate) fn has(&self, bytes: u64) -> bool {
        bytes <= self.lane.limit_bytes()
    }

    /// Whether somebody waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lane.usage().waiting > 0
    }

    /// Reserves `bytes` of it.
    pub(crate) async fn reserve_within(
        &self,
        bytes: u64,
        patience: Duration,
    ) -> Result<Reservation, BudgetError> {
        let request = self.lane.child("a request for few series");
        request.reserve_within(bytes, patience).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_a_part_that_nobody_else_gets() {
        let budget = Budget::new(128 << 20, "--x");
        let lane = SmallLane::of(&budget);
        assert_eq!(budget.usage().used_bytes, 8 << 20);
        let _all = budget.try_reserve(120 << 20).unwrap();
        let first = lane.reserve_within(8 << 20, Duration::ZERO).await.unwrap();
        assert!(lane.has(8 << 20) && !lane.has((8 << 20) + 1));
        let refused = lane.reserve_within(1, Duration::from_secs(1)).await.unwrap_err();
        assert!(refused.to_string().contains("--sabre.memory-budget"), "{refused}");
        drop(first);
        assert_eq!(lane.reserve_within(1, Duration::ZERO).await.unwrap().bytes(), 1);
    }

    #[test]
    fn a_small_budget_keeps_nothing_and_a_large_one_little() {
        for (budget, kept) in [((64 << 20) - 1, 0), (64 << 20, 4 << 20), (u64::MAX, MOST_BYTES)] {
            let budget = Budget::new(budget, "--x");
            let lane = SmallLane::of(&budget);
            assert_eq!((budget.usage().used_bytes, lane.has(kept)), (kept, true));
            assert!(!lane.has(kept + 1));
        }
    }
}
