//! Memory for an index-header, asked for before it is taken.

use std::fmt::Debug;

use super::cursor::Fault;

/// What is asked for at least at once, so that many small things do not mean many questions.
const STEP_BYTES: u64 = 64 << 10;

/// Who has memory to give, for example a reservation of a budget that grows.
pub trait Room: Debug + Send + Sync {
    /// Takes so many bytes more; false if they are not free.
    fn take(&self, bytes: u64) -> bool;

    /// Takes back so many of the bytes that it gave.
    fn give(&self, bytes: u64);
}

/// There is always room: for callers without a budget.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyRoom;

impl Room for AnyRoom {
    fn take(&self, _: u64) -> bool {
        true
    }

    fn give(&self, _: u64) {}
}

/// Takes memory for what is about to be kept of a header while it is read.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    room: &'a dyn Room,
    /// Taken and not used yet.
    ahead_bytes: u64,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(room: &'a dyn Room) -> Self {
        Self { room, ahead_bytes: 0 }
    }

    /// Takes memory for `bytes` in lists that grow: these have room for up to twice of what is in them.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        self.take((bytes as u64).saturating_mul(2))
    }

    /// Takes `bytes`.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Fault> {
        if bytes > self.ahead_bytes {
            let more = (bytes - self.ahead_bytes).max(STEP_BYTES);
            if !self.room.take(more) {
                return Err(Fault::NoMemory(more));
            }
            self.ahead_bytes = self.ahead_bytes.saturating_add(more);
        }
        self.ahead_bytes -= bytes;
        Ok(())
    }
}
