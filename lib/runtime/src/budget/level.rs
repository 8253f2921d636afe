//! One limit with its queue of waiters.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::BudgetUsage;

/// A limit, who it binds, and the level above that is charged too.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) asker: String,
    pub(super) flag: String,
    pub(super) limit_bytes: u64,
    pub(super) parent: Option<Arc<Level>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: u64,
    high_water_bytes: u64,
    waits_total: u64,
    refused_total: u64,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    bytes: u64,
    ready: oneshot::Sender<Grant>,
}

/// Bytes of one level, given back on drop.
#[derive(Debug)]
pub(super) struct Grant {
    level: Arc<Level>,
    bytes: u64,
}

/// A place in the queue, given up on drop.
struct Waiting {
    level: Arc<Level>,
    ready: oneshot::Receiver<Grant>,
}

impl Level {
    pub(super) fn new(asker: String, flag: String, limit_bytes: u64, parent: Option<Arc<Level>>) -> Self {
        Self {
            asker,
            flag,
            limit_bytes,
            parent,
            state: Mutex::default(),
        }
    }

    /// Takes `bytes` in turn. The caller has checked them against the limit.
    pub(super) async fn acquire(self: &Arc<Self>, bytes: u64, goes_first: bool) -> Grant {
        loop {
            let mut waiting = match self.take_or_queue(bytes, goes_first) {
                Ok(grant) => return grant,
                Err(waiting) => waiting,
            };
            if let Ok(grant) = (&mut waiting.ready).await {
                return grant;
            }
        }
    }

    /// Takes `bytes` if they are free and nobody waits.
    pub(super) fn try_acquire(self: &Arc<Self>, bytes: u64) -> Option<Grant> {
        let mut state = self.state.lock();
        state.forget_cancelled();
        let free = state.waiters.is_empty() && state.take(bytes, self.limit_bytes);
        free.then(|| Grant {
            level: Arc::clone(self),
            bytes,
        })
    }

    pub(super) fn release(self: &Arc<Self>, bytes: u64) {
        let mut state = self.state.lock();
        state.used_bytes = state.used_bytes.saturating_sub(bytes);
        let idle = state.waiters.is_empty();
        drop(state);
        if !idle {
            self.serve_waiters();
        }
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.state.lock().used_bytes.saturating_add(bytes) <= self.limit_bytes
    }

    pub(super) fn count_refusal(&self) {
        self.state.lock().refused_total += 1;
    }

    pub(super) fn usage(&self) -> BudgetUsage {
        let state = self.state.lock();
        BudgetUsage {
            used_bytes: state.used_bytes,
            high_water_bytes: state.high_water_bytes,
            waiting: state
                .waiters
                .iter()
                .filter(|waiter| !waiter.ready.is_closed())
                .count(),
            waits_total: state.waits_total,
            refused_total: state.refused_total,
        }
    }

    fn take_or_queue(self: &Arc<Self>, bytes: u64, goes_first: bool) -> Result<Grant, Waiting> {
        let mut state = self.state.lock();
        state.forget_cancelled();
        if (goes_first || state.waiters.is_empty()) && state.take(bytes, self.limit_bytes) {
            return Ok(Grant {
                level: Arc::clone(self),
                bytes,
            });
        }
        let (sender, receiver) = oneshot::channel();
        state.waits_total += 1;
        let waiter = Waiter { bytes, ready: sender };
        match goes_first {
            true => state.waiters.push_front(waiter),
            false => state.waiters.push_back(waiter),
        }
        Err(Waiting {
            level: Arc::clone(self),
            ready: receiver,
        })
    }

    /// Hands free bytes to the waiters at the head of the queue, as far as they reach.
    fn serve_waiters(self: &Arc<Self>) {
        let mut served = Vec::new();
        let mut state = self.state.lock();
        loop {
            state.forget_cancelled();
            let Some(bytes) = state.waiters.front().map(|waiter| waiter.bytes) else {
                break;
            };
            if !state.take(bytes, self.limit_bytes) {
                break;
            }
            if let Some(waiter) = state.waiters.pop_front() {
                served.push((
                    waiter.ready,
                    Grant {
                        level: Arc::clone(self),
                        bytes,
                    },
                ));
            }
        }
        drop(state);
        // Outside the lock: a waiter that left meanwhile refuses its grant, whose drop locks again.
        for (ready, grant) in served {
            drop(ready.send(grant));
        }
    }
}

impl State {
    fn take(&mut self, bytes: u64, limit_bytes: u64) -> bool {
        let Some(used_bytes) = self
            .used_bytes
            .checked_add(bytes)
            .filter(|used| *used <= limit_bytes)
        else {
            return false;
        };
        self.used_bytes = used_bytes;
        self.high_water_bytes = self.high_water_bytes.max(used_bytes);
        true
    }

    fn forget_cancelled(&mut self) {
        while self
            .waiters
            .front()
            .is_some_and(|waiter| waiter.ready.is_closed())
        {
            self.waiters.pop_front();
        }
    }
}

impl Grant {
    /// Disarms the drop: a [`super::Reservation`] answers for the bytes from here on.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.level.release(self.bytes);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.ready.close();
        // A grant sent but not yet received gives its bytes back here.
        drop(self.ready.try_recv());
        // A cancelled waiter at the head may have held up smaller ones behind it.
        self.level.serve_waiters();
    }
}
