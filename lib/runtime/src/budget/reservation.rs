//! Bytes that are held.

use std::time::Duration;

use bytes::Bytes;

use super::{Budget, BudgetError};

/// Bytes reserved from a [`Budget`] and all levels above it; dropping gives them back.
#[derive(Debug)]
#[must_use = "a reservation that is dropped gives its bytes back at once"]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(budget: Budget, bytes: u64) -> Self {
        Self { budget, bytes }
    }

    /// The bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` out of this reservation into one of their own; `None` when it holds fewer.
    pub fn split(&mut self, bytes: u64) -> Option<Reservation> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(Reservation::new(self.budget.clone(), bytes))
    }

    /// Adds another reservation of the same budget to this one.
    ///
    /// # Errors
    /// Gives `other` back when it belongs to another budget.
    pub fn merge(&mut self, mut other: Reservation) -> Result<(), Reservation> {
        if !std::sync::Arc::ptr_eq(&self.budget.level, &other.budget.level) {
            return Err(other);
        }
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
        Ok(())
    }

    /// Gives back all but `bytes`; does nothing when it holds no more than that.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.release(surplus);
    }

    /// Takes `bytes` more if they are free and nobody waits for them.
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        match self.budget.try_reserve(bytes) {
            Some(more) => self.merge(more).is_ok(),
            None => false,
        }
    }

    /// Takes `bytes` more at once if they are free and nobody waits for them, else waits no longer than `patience`.
    ///
    /// # Errors
    /// As [`Budget::reserve_within`]; what is held already stays.
    pub async fn grow_within(&mut self, bytes: u64, patience: Duration) -> Result<(), BudgetError> {
        if bytes == 0 || self.try_grow(bytes) {
            return Ok(());
        }
        let more = self.budget.reserve_within(bytes, patience).await?;
        // It is of the same budget.
        let _ = self.merge(more);
        Ok(())
    }

    /// Ties the reservation to a buffer: the bytes are given back when the last slice of the buffer is dropped,
    /// for example once a frame has left through the socket.
    pub fn attach(self, buffer: Bytes) -> Bytes {
        Bytes::from_owner(Charged {
            buffer,
            _reservation: self,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

struct Charged {
    buffer: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}
