//! The memory of one query, charged to the budget of the process in steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sabre_promql::budget::OverBudget;
use sabre_runtime::budget::{Budget, Reservation};

use super::ahead::Ahead;

/// So many bytes are taken from the budget at once, if they are free.
const STEP_BYTES: u64 = 1 << 20;

/// What is held beyond what is in use goes back when it is more than this.
const KEPT_BYTES: u64 = 16 * STEP_BYTES;

/// The flag that says what one query may hold.
const QUERY_FLAG: &str = "--sabre.query-memory";

/// The flag that says what all of the process may hold.
const PROCESS_FLAG: &str = "--sabre.memory-budget";

/// What a query holds.
#[derive(Debug)]
pub(super) struct Ledger {
    limit_bytes: u64,
    /// The flag that sets the limit of a query.
    flag: String,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    held_bytes: AtomicU64,
    /// What can be given up when memory is short.
    ahead: Ahead,
    reservation: Mutex<Reservation>,
}

/// Bytes that are given back on drop.
#[derive(Debug)]
pub(super) struct Charge {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Ledger {
    /// A ledger that holds `reservation`, of `budget`, to begin with.
    pub(super) fn new(budget: &Budget, reservation: Reservation, flag: String) -> Ledger {
        Ledger {
            limit_bytes: budget.limit_bytes(),
            flag,
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            held_bytes: AtomicU64::new(reservation.bytes()),
            ahead: Ahead::default(),
            reservation: Mutex::new(reservation),
        }
    }

    /// Takes bytes until the charge is dropped.
    pub(super) fn charge(self: &Arc<Ledger>, bytes: u64) -> Result<Charge, OverBudget> {
        sabre_promql::budget::Budget::reserve(&**self, bytes)?;
        Ok(Charge {
            ledger: Arc::clone(self),
            bytes,
        })
    }

    /// The selects that are open and not wanted yet.
    pub(super) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// Why bytes are not to be had, and what helps.
    pub(super) fn refusal(&self, over: &OverBudget) -> String {
        if over.used.saturating_add(over.wanted) > over.limit {
            return format!("{over}, or raise {}", self.flag);
        }
        format!(
            "query needs {} more bytes of memory for samples; {} allows it {} bytes, of which it holds {}, but others hold \
             what is left of {PROCESS_FLAG}: try again when they are done, raise {PROCESS_FLAG}, or lower {QUERY_FLAG} so \
             that one query leaves more to others",
            over.wanted, self.flag, over.limit, over.used
        )
    }

    /// The most bytes in use at once.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// Gives back what is not in use.
    pub(super) fn shrink(&self) {
        let mut reservation = self.reservation.lock();
        reservation.shrink_to(self.used_bytes.load(Ordering::Relaxed));
        self.held_bytes.store(reservation.bytes(), Ordering::Relaxed);
    }

    /// Takes what is in use beyond what is held, and some more where it is free.
    fn grow(&self) -> bool {
        if self.try_grow() {
            return true;
        }
        self.ahead.give_up();
        self.try_grow()
    }

    fn try_grow(&self) -> bool {
        let mut reservation = self.reservation.lock();
        let needed = self.used_bytes.load(Ordering::Relaxed);
        let missing = needed.saturating_sub(reservation.bytes());
        let grown =
            missing == 0 || reservation.try_grow(missing.max(STEP_BYTES)) || reservation.try_grow(missing);
        self.held_bytes.store(reservation.bytes(), Ordering::Relaxed);
        grown
    }
}

impl sabre_promql::budget::Budget for Ledger {
    fn reserve(&self, bytes: u64) -> Result<(), OverBudget> {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        if after > self.held_bytes.load(Ordering::Relaxed) && !self.grow() {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(OverBudget {
                wanted: bytes,
                used: before,
                limit: self.limit_bytes,
            });
        }
        self.peak_bytes.fetch_max(after, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, bytes: u64) {
        let before = self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let held_bytes = self.held_bytes.load(Ordering::Relaxed);
        if held_bytes.saturating_sub(before.saturating_sub(bytes)) > KEPT_BYTES {
            self.shrink();
        }
    }
}

impl Charge {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        sabre_promql::budget::Budget::release(&*self.ledger, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sabre_promql::budget::Budget as _;

    fn ledger(budget: &Budget) -> Arc<Ledger> {
        Arc::new(Ledger::new(
            budget,
            budget.try_reserve(0).unwrap(),
            "--one".to_owned(),
        ))
    }

    #[test]
    fn the_budget_is_charged_and_gets_all_back() {
        let budget = Budget::new(100 << 20, "--limit");
        let ledger = ledger(&budget);
        let charge = ledger.charge(40 << 20).unwrap();
        assert_eq!(budget.usage().used_bytes, 40 << 20);
        let error = ledger.charge(70 << 20).unwrap_err();
        assert_eq!(
            (error.wanted, error.used, error.limit),
            (70 << 20, 40 << 20, 100 << 20)
        );
        assert!(ledger.refusal(&error).ends_with("or raise --one"));
        ledger.reserve(60 << 20).unwrap();
        drop(charge);
        assert_eq!(budget.usage().used_bytes, 60 << 20);
        assert_eq!(ledger.peak_bytes(), 100 << 20);
        ledger.release(59 << 20);
        drop(ledger);
        assert_eq!(budget.usage().used_bytes, 0);
    }

    #[test]
    fn a_query_below_its_limit_is_told_of_the_others() {
        let budget = Budget::new(100, "--limit");
        let ledger = ledger(&budget);
        let _others = budget.try_reserve(90).unwrap();
        let error = ledger.charge(20).unwrap_err();
        let refusal = ledger.refusal(&error);
        for part in [
            "needs 20 more bytes",
            "--one allows it 100 bytes, of which it holds 0",
            "left of --sabre.memory-budget",
            "lower --sabre.query-memory",
        ] {
            assert!(refusal.contains(part), "{part} in {refusal}");
        }
    }

    #[test]
    fn small_charges_take_steps() {
        let budget = Budget::new(STEP_BYTES + 10, "--limit");
        let ledger = ledger(&budget);
        ledger.reserve(5).unwrap();
        assert_eq!(budget.usage().used_bytes, STEP_BYTES);
        ledger.reserve(STEP_BYTES).unwrap();
        assert_eq!(budget.usage().used_bytes, STEP_BYTES + 5);
        assert!(ledger.reserve(6).is_err());
    }
}
