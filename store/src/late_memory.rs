//! Memory for what turns out to be longer than the index made believe, long after a request has begun.
//!
//! Whoever waits for memory must hold none, or two requests might wait for each other. Here one waits that holds all it
//! began with, so only one request may do so at a time: no other that holds anything waits for memory, so all of them
//! come to an end, and what they held goes to the one that waits, before those that wait to begin: they may be waiting for
//! what it holds. The second is refused at once.

use std::{sync::Arc, time::Duration};

use sabre_runtime::budget::{Budget, Reservation};
use tokio::sync::{Mutex, Semaphore};

use crate::error::RequestError;

/// How long is waited.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than this is not waited for. No checksum vouches for a length yet, and while one waits for much, all others wait
/// behind it.
const MOST_BYTES: u64 = 8 << 20;

/// Memory that a request finds it needs while it runs. Clones belong to the same request.
#[derive(Clone, Debug)]
pub(crate) struct LateMemory {
    budget: Budget,
    /// Of the whole process: the one request that may wait.
    turn: Arc<Semaphore>,
    /// The parts of a request wait one after the other: what another part holds is held in any case.
    own: Arc<Mutex<()>>,
}

/// Which request may wait though it holds memory.
#[derive(Clone, Debug)]
pub(crate) struct LateTurn(Arc<Semaphore>);

impl Default for LateTurn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl LateTurn {
    /// What a request that begins may ask for later, of its own budget.
    pub(crate) fn of_request(&self, budget: &Budget) -> LateMemory {
        LateMemory {
            budget: budget.clone(),
            turn: Arc::clone(&self.0),
            own: Arc::default(),
        }
    }
}

impl LateMemory {
    /// Reserves `bytes`, waiting for them if that can end; `what` they are for is told if there are none.
    pub(crate) async fn reserve(
        &self,
        bytes: u64,
        what: impl FnOnce() -> String,
    ) -> Result<Reservation, RequestError> {
        if let Some(room) = self.budget.try_reserve(bytes) {
            return Ok(room);
        }
        let room = tokio::time::timeout(PATIENCE, self.wait(bytes)).await;
        room.ok()
            .flatten()
            .ok_or_else(|| RequestError::NoMemory { what: what() })
    }

    async fn wait(&self, bytes: u64) -> Option<Reservation> {
        let _own = self.own.lock().await;
        // What the request itself holds does not become free while it waits.
        let held_bytes = self.budget.usage().used_bytes;
        if bytes > MOST_BYTES || bytes > self.budget.limit_bytes().saturating_sub(held_bytes) {
            return None;
        }
        let _turn = self.turn.try_acquire().ok()?;
        self.budget.reserve_first(bytes).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that holds so much.
    fn request(process: &Budget, turn: &LateTurn, held_bytes: u64) -> (LateMemory, Reservation) {
        let budget = process.child("a request");
        let held = budget.try_reserve(held_bytes).unwrap();
        (turn.of_request(&budget), held)
    }

    async fn ask(memory: &LateMemory, bytes: u64) -> Result<u64, String> {
        let room = memory
            .reserve(bytes, || format!("a chunk of {bytes} bytes"))
            .await;
        room.map(|room| room.bytes()).map_err(|error| error.to_string())
    }

    fn refusal(bytes: u64) -> Result<u64, String> {
        let what = RequestError::NoMemory {
            what: format!("a chunk of {bytes} bytes"),
        };
        Err(what.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_free_is_waited_for() {
        let (process, turn) = (Budget::new(1000, "--x"), LateTurn::default());
        let (late, _held) = request(&process, &turn, 400);
        assert_eq!(ask(&late, 600).await, Ok(600));
        let (_, other) = request(&process, &turn, 500);
        let begun = tokio::time::Instant::now();
        let gone = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            drop(other);
        };
        assert_eq!(tokio::join!(ask(&late, 200), gone).0, Ok(200));
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
        assert_eq!(process.usage().used_bytes, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_hold_what_the_other_wants_do_not_wait_for_each_other() {
        let (process, turn) = (Budget::new(1000, "--x"), LateTurn::default());
        let (first, _held) = request(&process, &turn, 500);
        let (second, its) = request(&process, &turn, 500);
        let begun = tokio::time::Instant::now();
        let refused = async {
            let refused = ask(&second, 100).await;
            drop(its);
            refused
        };
        assert_eq!(tokio::join!(ask(&first, 100), refused), (Ok(100), refusal(100)));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // The turn is free again.
        let (_, other) = request(&process, &turn, 500);
        let gone = async { drop(other) };
        assert_eq!(tokio::join!(ask(&first, 100), gone).0, Ok(100));
    }

    #[tokio::test(start_paused = true)]
    async fn two_parts_of_a_request_wait_one_after_the_other() {
        let (process, turn) = (Budget::new(1000, "--x"), LateTurn::default());
        let (late, _held) = request(&process, &turn, 400);
        let (_, other) = request(&process, &turn, 600);
        let part = late.clone();
        let gone = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(other);
        };
        let (a, b, ()) = tokio::join!(ask(&late, 300), ask(&part, 300), gone);
        assert_eq!((a, b), (Ok(300), Ok(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_to_begin_lets_it_pass() {
        let (process, turn) = (Budget::new(1000, "--x"), LateTurn::default());
        let (late, held) = request(&process, &turn, 500);
        let (_, other) = request(&process, &turn, 500);
        let begins = process.child("a request that waits to begin");
        let begins = tokio::spawn(async move { begins.reserve(600).await.map(drop) });
        tokio::task::yield_now().await;
        assert_eq!(process.usage().waiting, 1);
        let gone = async { drop(other) };
        assert_eq!(tokio::join!(ask(&late, 100), gone).0, Ok(100));
        assert!(!begins.is_finished());
        drop(held);
        begins.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_is_refused() {
        let (process, turn) = (Budget::new(1000, "--x"), LateTurn::default());
        let (late, _held) = request(&process, &turn, 500);
        let (_, _other) = request(&process, &turn, 100);
        let begun = tokio::time::Instant::now();
        assert_eq!(ask(&late, 501).await, refusal(501));
        assert_eq!(begun.elapsed(), Duration::ZERO, "it holds too much itself");
        assert_eq!(ask(&late, 500).await, refusal(500));
        assert_eq!(begun.elapsed(), PATIENCE);
        assert_eq!(process.usage().waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_length_that_is_hard_to_believe_is_not_waited_for() {
        let (process, turn) = (Budget::new(4 * MOST_BYTES, "--x"), LateTurn::default());
        let (late, _held) = request(&process, &turn, 1);
        let (_, _other) = request(&process, &turn, 3 * MOST_BYTES);
        let begun = tokio::time::Instant::now();
        assert_eq!(ask(&late, MOST_BYTES + 1).await, refusal(MOST_BYTES + 1));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(ask(&late, MOST_BYTES - 1).await, Ok(MOST_BYTES - 1));
    }
}
