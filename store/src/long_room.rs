//! Memory of a stream for what does not fit into its window: labels of many kilobytes, entries of many chunks.

use sabre_runtime::budget::Reservation;

use crate::{error::RequestError, late_memory::LateMemory};

/// It grows by no less than this.
const STEP_BYTES: u64 = 64 << 10;

/// What a stream holds beside its window, until it ends.
#[derive(Debug)]
pub(crate) struct LongRoom {
    late: LateMemory,
    held: Vec<Reservation>,
}

impl LongRoom {
    pub(crate) fn new(late: LateMemory) -> Self {
        Self {
            late,
            held: Vec::new(),
        }
    }

    /// Whether anything is held.
    pub(crate) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Holds at least so many bytes from now on, waiting for them if that can end; `what` they are for is told if there
    /// are none.
    pub(crate) async fn reach(
        &mut self,
        bytes: u64,
        what: impl FnOnce() -> String,
    ) -> Result<(), RequestError> {
        let held_bytes: u64 = self.held.iter().map(Reservation::bytes).sum();
        let missing = bytes.saturating_sub(held_bytes);
        if missing > 0 {
            self.held
                .push(self.late.reserve(missing.max(STEP_BYTES), what).await?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sabre_runtime::budget::Budget;

    use super::*;
    use crate::late_memory::LateTurn;

    #[tokio::test(start_paused = true)]
    async fn it_grows_to_the_longest_and_is_given_back_at_the_end() {
        let budget = Budget::new(1 << 20, "--x");
        let mut room = LongRoom::new(LateTurn::default().of_request(&budget.child("a request")));
        for (bytes, held_bytes) in [
            (1000, STEP_BYTES),
            (STEP_BYTES, STEP_BYTES),
            (200_000, 200_000),
            (1, 200_000),
        ] {
            room.reach(bytes, String::new).await.unwrap();
            assert_eq!(budget.usage().used_bytes, held_bytes);
        }
        let refused = room
            .reach(2 << 20, || "labels of 2 MiB".to_owned())
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("labels of 2 MiB"), "{refused}");
        drop(room);
        assert_eq!(budget.usage().used_bytes, 0);
    }
}
