//! Memory as a budget: bytes are reserved before they are allocated and given back on drop.
//!
//! One [`Budget`] stands for the whole process; every request works on a [`Budget::child`] of it, which is charged
//! together with its parent and may have a limit of its own.
//!
//! # The rule against deadlock
//! Whoever waits for bytes must hold none of the same budget. So a request calls [`Budget::reserve`] (or
//! [`Budget::reserve_within`]) once, before it starts, for the minimum window of all its streams together. Everything
//! beyond that window, such as read-ahead, is taken with [`Budget::try_reserve`] or [`Reservation::try_grow`] if it is
//! free and never waited for. A request that holds its minimum can always finish, and gives back when it does.
//!
//! # Fairness
//! Waiters are served first come, first served. Nothing overtakes a waiter, not even what would fit, so neither a
//! large nor a small request starves; [`Budget::reserve_first`] alone does, of which there is one at a time.

mod level;
mod reservation;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use crate::metrics::Registry;
use level::{Grant, Level};
pub use reservation::Reservation;

/// A number of bytes that may be held at the same time. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    level: Arc<Level>,
}

/// Why bytes were not reserved.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum BudgetError {
    /// More than the limit was asked for at once: waiting would never end.
    #[error(
        "{asker} needs {bytes} bytes at once, {flag} allows {limit_bytes}; ask for less, or raise {flag}"
    )]
    TooLarge {
        /// Who asked.
        asker: String,
        /// How much.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
        /// The flag that sets it.
        flag: String,
    },
    /// The bytes did not become free in time.
    #[error(
        "{asker} needs {bytes} bytes, of the {limit_bytes} that {flag} allows {used_bytes} are in use \
         and not enough became free within {waited_ms} ms; try again, or raise {flag}"
    )]
    Exhausted {
        /// Who asked.
        asker: String,
        /// How much.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
        /// The flag that sets it.
        flag: String,
        /// Bytes held when the wait ended.
        used_bytes: u64,
        /// The length of the wait.
        waited_ms: u64,
    },
}

/// A budget with which the process could do nothing of what it is for.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "{flag}: {limit_bytes} bytes are too few to {work}, {least_bytes} are the least; give more, or leave the flag out for \
     60 % of the memory"
)]
pub struct BudgetTooSmall {
    /// The flag that sets the limit.
    flag: String,
    /// The limit.
    limit_bytes: u64,
    /// What would do.
    least_bytes: u64,
    /// What it is needed for, such as "answer a request".
    work: &'static str,
}

/// Figures of a budget since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetUsage {
    /// Bytes held now.
    pub used_bytes: u64,
    /// The most bytes ever held at once.
    pub high_water_bytes: u64,
    /// Reservations waiting now.
    pub waiting: usize,
    /// Reservations that had to wait.
    pub waits_total: u64,
    /// Reservations that ended in an error.
    pub refused_total: u64,
}

impl Budget {
    /// Makes a process-wide budget; `flag` is the flag that sets the limit and is named in errors.
    pub fn new(limit_bytes: u64, flag: impl Into<String>) -> Self {
        let level = Level::new("the process".to_owned(), flag.into(), limit_bytes, None);
        Self {
            level: Arc::new(level),
        }
    }

    /// Makes a budget without a limit, for tests and one-shot tools.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX, "no flag")
    }

    /// Makes the budget of one request: charged here too, with no limit of its own. `asker` is named in errors.
    pub fn child(&self, asker: impl Into<String>) -> Self {
        self.limited_child(asker, u64::MAX, self.level.flag.clone())
    }

    /// Makes the budget of one request with a limit of its own, set by `flag`.
    pub fn limited_child(&self, asker: impl Into<String>, limit_bytes: u64, flag: impl Into<String>) -> Self {
        let level = Level::new(
            asker.into(),
            flag.into(),
            limit_bytes,
            Some(Arc::clone(&self.level)),
        );
        Self {
            level: Arc::new(level),
        }
    }

    /// The limit in bytes, the own one or an ancestor's, whichever is smaller.
    pub fn limit_bytes(&self) -> u64 {
        self.levels()
            .map(|level| level.limit_bytes)
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Checks at the start, and not at each piece of `work` in turn, that there is enough for one.
    ///
    /// # Errors
    /// A limit below `least_bytes`.
    pub fn enough_to(&self, work: &'static str, least_bytes: u64) -> Result<(), BudgetTooSmall> {
        let limit_bytes = self.limit_bytes();
        if limit_bytes >= least_bytes {
            return Ok(());
        }
        Err(BudgetTooSmall {
            flag: self.level.flag.clone(),
            limit_bytes,
            least_bytes,
            work,
        })
    }

    /// What is held, was held and waits.
    pub fn usage(&self) -> BudgetUsage {
        self.level.usage()
    }

    /// Reserves `bytes`, waiting for them if need be. Dropping the future gives up the place in the queue.
    ///
    /// # Errors
    /// At once when `bytes` exceeds a limit.
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, BudgetError> {
        self.reserve_at(bytes, false).await
    }

    /// As [`Budget::reserve`], before all others that wait: for the one at most that waits although it holds bytes, which
    /// those in front of it may be waiting for.
    ///
    /// # Errors
    /// At once when `bytes` exceeds a limit.
    pub async fn reserve_first(&self, bytes: u64) -> Result<Reservation, BudgetError> {
        self.reserve_at(bytes, true).await
    }

    async fn reserve_at(&self, bytes: u64, goes_first: bool) -> Result<Reservation, BudgetError> {
        self.refuse_too_large(bytes)?;
        // From the request up to the process: bytes of the process are not held while waiting for the own limit.
        let mut grants = Vec::new();
        for level in self.levels() {
            grants.push(level.acquire(bytes, goes_first).await);
        }
        Ok(self.keep(grants, bytes))
    }

    /// Reserves `bytes` like [`Budget::reserve`], but waits no longer than `patience`.
    ///
    /// # Errors
    /// At once when `bytes` exceeds a limit, and after `patience` when they did not become free.
    pub async fn reserve_within(&self, bytes: u64, patience: Duration) -> Result<Reservation, BudgetError> {
        match tokio::time::timeout(patience, self.reserve(bytes)).await {
            Ok(reserved) => reserved,
            Err(_elapsed) => Err(self.exhausted(bytes, patience)),
        }
    }

    /// Reserves `bytes` if they are free and nobody waits for them.
    pub fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let grants = self
            .levels()
            .map(|level| level.try_acquire(bytes))
            .collect::<Option<Vec<Grant>>>()?;
        Some(self.keep(grants, bytes))
    }

    /// Holds nothing yet, whatever is free: for what grows as it comes, see [`Reservation::grow_within`].
    pub fn nothing(&self) -> Reservation {
        Reservation::new(self.clone(), 0)
    }

    /// Exports limit, use, high water, waits and refusals as `sabre_memory_budget_*`.
    pub fn register_metrics(&self, registry: &Registry) {
        registry.collector("sabre_memory_budget", Box::new(UsageCollector(self.clone())));
    }

    fn keep(&self, grants: Vec<Grant>, bytes: u64) -> Reservation {
        grants.into_iter().for_each(Grant::keep);
        Reservation::new(self.clone(), bytes)
    }

    fn release(&self, bytes: u64) {
        for level in self.levels() {
            level.release(bytes);
        }
    }

    fn levels(&self) -> impl Iterator<Item = &Arc<Level>> {
        std::iter::successors(Some(&self.level), |level| level.parent.as_ref())
    }

    fn refuse_too_large(&self, bytes: u64) -> Result<(), BudgetError> {
        match self.levels().find(|level| bytes > level.limit_bytes) {
            None => Ok(()),
            Some(level) => {
                level.count_refusal();
                Err(BudgetError::TooLarge {
                    asker: self.level.asker.clone(),
                    bytes,
                    limit_bytes: level.limit_bytes,
                    flag: level.flag.clone(),
                })
            }
        }
    }

    fn exhausted(&self, bytes: u64, patience: Duration) -> BudgetError {
        let tight = self
            .levels()
            .find(|level| !level.has_room(bytes))
            .unwrap_or(&self.level);
        tight.count_refusal();
        BudgetError::Exhausted {
            asker: self.level.asker.clone(),
            bytes,
            limit_bytes: tight.limit_bytes,
            flag: tight.flag.clone(),
            used_bytes: tight.usage().used_bytes,
            waited_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What requests that are large themselves may take of `budget` together: they hold it while they wait for what they need
/// to run, so it is a small part.
pub fn requests_budget(budget: &Budget) -> Budget {
    budget.limited_child(
        "requests before they run",
        budget.limit_bytes() / 8,
        "--sabre.memory-budget (an eighth of it)",
    )
}

#[derive(Debug)]
struct UsageCollector(Budget);

impl Collector for UsageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let usage = self.0.usage();
        let gauges = [
            (
                "limit_bytes",
                "Bytes that may be held at once",
                self.0.limit_bytes(),
            ),
            ("used_bytes", "Bytes held now", usage.used_bytes),
            (
                "high_water_bytes",
                "The most bytes held at once since the start",
                usage.high_water_bytes,
            ),
            (
                "waiting",
                "Reservations that wait for bytes now",
                usage.waiting as u64,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let name = format!("sabre_memory_budget_{name}");
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("waits", "Reservations that had to wait", usage.waits_total),
            (
                "refusals",
                "Reservations that were refused or ran out of patience",
                usage.refused_total,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let name = format!("sabre_memory_budget_{name}");
            counter.encode(encoder.encode_descriptor(&name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
