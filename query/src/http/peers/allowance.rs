//! The bytes that the answers of all peers to one call may take.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use sabre_runtime::budget::{Budget, Reservation};
use tonic::Status;

/// How long memory is waited for that others hold, or wait for.
pub(crate) const MEMORY_PATIENCE: Duration = Duration::from_secs(2);

/// What is left of the bytes of a call.
pub(super) struct Allowance {
    left: AtomicUsize,
    limit_bytes: usize,
    budget: Budget,
    charge: Mutex<Reservation>,
}

impl Allowance {
    pub(super) fn new(limit_bytes: usize, budget: Budget) -> Self {
        Self {
            left: AtomicUsize::new(limit_bytes),
            limit_bytes,
            charge: Mutex::new(budget.nothing()),
            budget,
        }
    }

    /// Charges an answer, and waits a little if others wait for memory too.
    ///
    /// # Errors
    /// It is more than is left of the limit, or not free in time.
    pub(super) async fn take(&self, bytes: usize) -> Result<(), Status> {
        let taken = self
            .left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        taken.map_err(|_| {
            let limit = self.limit_bytes;
            Status::resource_exhausted(format!(
                "answers of all peers take more than {limit} bytes of memory: raise --sabre.memory-budget"
            ))
        })?;
        let more = self.budget.reserve_within(bytes as u64, MEMORY_PATIENCE).await;
        let more = more.map_err(|_| {
            let text = format!(
                "there are no {bytes} bytes of memory for the answer: try again, or raise --sabre.memory-budget"
            );
            Status::resource_exhausted(text)
        })?;
        // It is of the same budget. The lock is not held while others wait.
        drop(self.charge.lock().merge(more));
        Ok(())
    }

    /// What is charged.
    pub(super) fn into_charge(self) -> Reservation {
        self.charge.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_wait_while_somebody_else_waits_for_memory() {
        let budget = Budget::new(1000, "--sabre.memory-budget");
        let allowance = Allowance::new(500, budget.clone());
        allowance.take(100).await.unwrap();
        let others = budget.try_reserve(500).unwrap();
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(800).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(budget.usage().waiting, 1);
        let gives_back = async {
            tokio::time::sleep(MEMORY_PATIENCE / 2).await;
            drop(others);
        };
        let (taken, ()) = tokio::join!(allowance.take(200), gives_back);
        taken.unwrap();
        waiter.await.unwrap().unwrap();
        assert_eq!(budget.usage().used_bytes, 300);

        let _others = budget.try_reserve(700).unwrap();
        let refused = allowance.take(100).await.unwrap_err();
        assert!(refused.message().contains("no 100 bytes of memory"), "{refused}");
        let refused = allowance.take(101).await.unwrap_err();
        assert!(refused.message().contains("more than 500 bytes"), "{refused}");
        assert!(refused.message().contains("--sabre.memory-budget"), "{refused}");
        let charge = allowance.into_charge();
        assert_eq!(charge.bytes(), 300);
    }
}
