//! How many calls run at once, and that few small ones need not wait for many large ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One turn in so many is kept for small calls.
const SMALL_PART: usize = 5;

/// Lets so many calls run at once, first come, first served; the last turns only small ones get.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    all: Arc<Semaphore>,
    /// A large call takes one of these first, of which there are fewer.
    large: Arc<Semaphore>,
}

/// The right to run, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _all: OwnedSemaphorePermit,
    _large: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// Lets so many in; any number if that is 0.
    pub(crate) fn new(concurrency: usize) -> Self {
        // No limit is a limit that nobody reaches.
        let all = match concurrency {
            0 => Semaphore::MAX_PERMITS,
            permits => permits.min(Semaphore::MAX_PERMITS),
        };
        Self {
            all: Arc::new(Semaphore::new(all)),
            large: Arc::new(Semaphore::new(all - all / SMALL_PART)),
        }
    }

    /// Waits for a turn. Whether a call is small is only asked if there is none for a large one; `None` if the gate is
    /// closed, which it never is.
    pub(crate) async fn enter(&self, is_small: impl Future<Output = bool>) -> Option<Turn> {
        let mut large = Arc::clone(&self.large).try_acquire_owned().ok();
        if large.is_none() && !is_small.await {
            large = Some(Arc::clone(&self.large).acquire_owned().await.ok()?);
        }
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn {
            _all: all,
            _large: large,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn now(gate: &Gate, is_small: bool) -> Option<Turn> {
        gate.enter(async move { is_small }).now_or_never().flatten()
    }

    #[tokio::test]
    async fn the_last_turns_are_for_small_calls() {
        let gate = Gate::new(10);
        let large: Vec<Turn> = std::iter::from_fn(|| now(&gate, false)).take(11).collect();
        assert_eq!(large.len(), 8);
        let small: Vec<Turn> = std::iter::from_fn(|| now(&gate, true)).take(11).collect();
        assert_eq!(small.len(), 2, "not more than ten in all");
        drop(small);
        assert!(now(&gate, false).is_none());
        let waiting = gate.clone();
        let waiting = tokio::spawn(async move { waiting.enter(async { false }).await.is_some() });
        tokio::task::yield_now().await;
        drop(large);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn small_calls_take_the_turns_of_large_ones_while_they_are_free() {
        let gate = Gate::new(5);
        let asked = std::cell::Cell::new(0);
        let enter = || {
            let entered = gate.enter(async {
                asked.set(asked.get() + 1);
                true
            });
            entered.now_or_never().flatten()
        };
        let turns: Vec<Turn> = std::iter::from_fn(enter).take(6).collect();
        assert_eq!((turns.len(), asked.get()), (5, 2), "only asked where it matters");
    }

    #[tokio::test]
    async fn few_turns_are_for_all_alike_and_no_limit_is_none() {
        let gate = Gate::new(4);
        let turns: Vec<Turn> = std::iter::from_fn(|| now(&gate, false)).take(5).collect();
        assert_eq!((turns.len(), now(&gate, true).is_none()), (4, true));
        let gate = Gate::new(0);
        let turns: Vec<Turn> = std::iter::from_fn(|| now(&gate, false)).take(50).collect();
        assert_eq!(turns.len(), 50);
    }
}
