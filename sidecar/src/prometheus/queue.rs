//! A queue before Prometheus' remote read.
//!
//! Prometheus answers so many remote reads at once (`storage.remote.read-concurrent-limit`, 10 by default) and refuses the
//! rest. Here they wait instead, below that limit. Short ranges go first, for they are over soon and someone looks at them;
//! but every day of range only costs a minute and a half of priority, so that a long one is never overtaken for ever.
//! Questions for labels have a queue of their own: a menu does not wait behind queries.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sabre_runtime::metrics::Gauge;
use tokio::{sync::oneshot, time::Instant};

/// How much range makes a read one unit of time less urgent.
const RANGE_PER_DELAY: u32 = 1000;

/// The longest delay, of a range of about four months: longer ones are alike.
const MAX_DELAY: Duration = Duration::from_secs(10_000);

/// Clones share the queue.
#[derive(Clone, Debug)]
pub struct ReadQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Reads at once; 0 is no limit.
    limit: usize,
    state: Mutex<State>,
    in_flight: Gauge,
    waiting: Gauge,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    arrivals: u64,
    /// By urgency, then by arrival.
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
}

/// A turn; the next one's begins when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    shared: Arc<Shared>,
}

/// A place in the queue, given up when dropped.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    key: (Instant, u64),
    called: oneshot::Receiver<()>,
}

impl ReadQueue {
    /// Lets `limit` reads run at once, any number if it is 0.
    pub fn new(limit: usize, in_flight: Gauge, waiting: Gauge) -> ReadQueue {
        ReadQueue {
            shared: Arc::new(Shared {
                limit,
                state: Mutex::default(),
                in_flight,
                waiting,
            }),
        }
    }

    /// Waits for a turn; `range_ms` is how long a time is read.
    pub(crate) async fn turn(&self, range_ms: u64) -> Turn {
        let place = {
            let mut state = self.shared.state.lock();
            if self.shared.limit == 0 || state.running < self.shared.limit {
                state.running += 1;
                None
            } else {
                let delay = (Duration::from_millis(range_ms) / RANGE_PER_DELAY).min(MAX_DELAY);
                let (call, called) = oneshot::channel();
                let key = (Instant::now() + delay, state.arrivals);
                state.arrivals += 1;
                state.waiting.insert(key, call);
                Some(Place {
                    shared: &self.shared,
                    key,
                    called,
                })
            }
        };
        self.shared.show();
        if let Some(mut place) = place {
            // The sender is never dropped before it is used: it stands in the queue as long as this place.
            let _ = (&mut place.called).await;
        }
        Turn {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Turn {
    /// Whether somebody waits for one.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.shared.state.lock().waiting.is_empty()
    }
}

impl Shared {
    fn show(&self) {
        let state = self.state.lock();
        self.in_flight
            .set(i64::try_from(state.running).unwrap_or(i64::MAX));
        self.waiting
            .set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
    }

    /// Hands a turn on, or lets it end.
    fn hand_on(&self) {
        let mut state = self.state.lock();
        while let Some((_, call)) = state.waiting.pop_first() {
            if call.send(()).is_ok() {
                return;
            }
        }
        state.running = state.running.saturating_sub(1);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.shared.state.lock().waiting.remove(&self.key).is_some();
        // Called, and gone before it heard of it.
        if !left && self.called.try_recv().is_ok() {
            self.shared.hand_on();
        }
        self.shared.show();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.hand_on();
        self.shared.show();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::{FutureExt, poll};

    use super::*;

    const MINUTE: u64 = 60_000;
    const DAY: u64 = 24 * 60 * MINUTE;

    fn queue(limit: usize) -> ReadQueue {
        ReadQueue::new(limit, Gauge::default(), Gauge::default())
    }

    fn figures(queue: &ReadQueue) -> (i64, i64) {
        (queue.shared.in_flight.get(), queue.shared.waiting.get())
    }

    #[tokio::test(start_paused = true)]
    async fn short_ranges_go_first_and_equal_ones_in_turn() {
        let queue = queue(1);
        let running = queue.turn(0).await;
        let mut waiting = VecDeque::new();
        for (name, range_ms) in [("day", DAY), ("a", MINUTE), ("hour", 60 * MINUTE), ("b", MINUTE)] {
            let mut turn = Box::pin(queue.turn(range_ms));
            assert!(poll!(&mut turn).is_pending());
            waiting.push_back((name, turn));
        }
        assert_eq!(figures(&queue), (1, 4));
        let mut held = Some(running);
        for want in ["a", "b", "hour", "day"] {
            drop(held.take());
            let mut came = Vec::new();
            for (name, turn) in &mut waiting {
                if let Some(turn) = turn.now_or_never() {
                    came.push(*name);
                    held = Some(turn);
                }
            }
            assert_eq!(came, [want]);
            waiting.retain(|(name, _)| *name != want);
        }
        drop(held);
        assert_eq!(figures(&queue), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_range_is_not_overtaken_for_ever() {
        let queue = queue(1);
        let mut running = Some(queue.turn(0).await);
        let mut long = Box::pin(queue.turn(DAY));
        assert!(poll!(&mut long).is_pending());
        for second in 0.. {
            let mut short = Box::pin(queue.turn(MINUTE));
            assert!(poll!(&mut short).is_pending());
            tokio::time::advance(Duration::from_secs(1)).await;
            drop(running.take());
            if (&mut long).now_or_never().is_some() {
                assert!((80..100).contains(&second), "{second}");
                return;
            }
            running = short.now_or_never();
            assert!(running.is_some(), "one of both has its turn");
        }
    }

    #[tokio::test]
    async fn whoever_leaves_the_queue_holds_nobody_up() {
        let queue = queue(1);
        let running = queue.turn(0).await;
        let mut leaves_waiting = Box::pin(queue.turn(1));
        let mut leaves_called = Box::pin(queue.turn(2));
        let mut stays = Box::pin(queue.turn(3));
        for turn in [&mut leaves_waiting, &mut leaves_called, &mut stays] {
            assert!(poll!(turn).is_pending());
        }
        drop(leaves_waiting);
        drop(running);
        drop(leaves_called);
        let turn = stays.now_or_never();
        assert!(turn.is_some());
        assert_eq!(figures(&queue), (1, 0));
        drop(turn);
        assert_eq!(figures(&queue), (0, 0));
        drop(queue.turn(0).await);
    }

    #[tokio::test]
    async fn no_limit_is_no_limit() {
        let queue = queue(0);
        let turns = futures::future::join_all((0..100).map(|_| queue.turn(0))).await;
        assert_eq!(figures(&queue), (100, 0));
        drop(turns);
        assert_eq!(figures(&queue), (0, 0));
    }

    #[tokio::test]
    async fn fifty_at_once_never_exceed_the_limit() {
        let queue = queue(8);
        let reads = (0..50).map(|number| {
            let queue = queue.clone();
            async move {
                let _turn = queue.turn(number * MINUTE).await;
                assert!(figures(&queue).0 <= 8);
                tokio::task::yield_now().await;
            }
        });
        futures::future::join_all(reads).await;
        assert_eq!(figures(&queue), (0, 0));
    }
}
