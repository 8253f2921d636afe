//! The memory that a query may take.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whom a query asks before it takes memory.
pub trait Budget: Sync {
    /// Takes so many bytes.
    ///
    /// # Errors
    ///
    /// If they are not to be had.
    fn reserve(&self, bytes: u64) -> Result<(), OverBudget>;

    /// Gives back bytes that were taken.
    fn release(&self, bytes: u64);
}

/// The query needs more memory than it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "query needs {wanted} more bytes of memory for samples, {used} of {limit} are in use: ask for fewer series, a shorter range or a greater step"
)]
pub struct OverBudget {
    /// The bytes asked for.
    pub wanted: u64,
    /// The bytes taken already.
    pub used: u64,
    /// All there are.
    pub limit: u64,
}

/// So many bytes.
#[derive(Debug)]
pub struct ByteBudget {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

/// Bytes that are given back when this goes.
pub(crate) struct Reservation<'b> {
    budget: &'b dyn Budget,
    bytes: u64,
}

impl ByteBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> ByteBudget {
        ByteBudget {
            limit,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }
    }

    /// A budget that always has bytes left.
    pub fn unlimited() -> ByteBudget {
        ByteBudget::new(u64::MAX)
    }

    /// The bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that were in use at a time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Budget for ByteBudget {
    fn reserve(&self, bytes: u64) -> Result<(), OverBudget> {
        let taken = self
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            });
        match taken {
            Ok(before) => {
                self.peak
                    .fetch_max(before.saturating_add(bytes), Ordering::Relaxed);
                Ok(())
            }
            Err(used) => Err(OverBudget {
                wanted: bytes,
                used,
                limit: self.limit,
            }),
        }
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl<'b> Reservation<'b> {
    pub(crate) fn none(budget: &'b dyn Budget) -> Reservation<'b> {
        Reservation { budget, bytes: 0 }
    }

    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let bytes = bytes as u64;
        self.budget.reserve(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Gives back what is above `bytes`, or takes what is missing.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let bytes = bytes as u64;
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.budget.reserve(more)?,
            None => self.budget.release(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

impl std::fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reservation({})", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let budget = ByteBudget::new(100);
        let mut reservation = Reservation::none(&budget);
        reservation.grow(70).unwrap();
        let error = reservation.grow(40).unwrap_err();
        assert_eq!((error.wanted, error.used, error.limit), (40, 70, 100));
        assert!(
            error
                .to_string()
                .starts_with("query needs 40 more bytes of memory for samples, 70 of 100")
        );
        reservation.set(20).unwrap();
        assert_eq!(budget.used(), 20);
        drop(reservation);
        assert_eq!((budget.used(), budget.peak()), (0, 70));
    }
}
