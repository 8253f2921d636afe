//! The memory of an index-header while it is read: taken before it is used.

use parking_lot::Mutex;
use sabre_block::index_header::Room;
use sabre_runtime::budget::{Budget, Reservation};

/// Memory of one index-header.
#[derive(Debug)]
pub(crate) struct HeaderRoom {
    budget: Budget,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    reserved: Option<Reservation>,
    /// What of it is used.
    used_bytes: u64,
    /// The most that was asked for, whether it was there or not.
    asked_bytes: u64,
}

impl HeaderRoom {
    /// Room in what is reserved already, and then in what is free.
    pub(crate) fn new(budget: &Budget, reserved: Option<Reservation>) -> Self {
        Self {
            budget: budget.clone(),
            held: Mutex::new(Held {
                reserved,
                ..Held::default()
            }),
        }
    }

    /// Somewhat more than what was asked for and not there.
    pub(crate) fn more_than_asked(&self) -> u64 {
        let asked_bytes = self.held.lock().asked_bytes;
        let more = asked_bytes.saturating_add(asked_bytes / 2);
        more.min(self.budget.limit_bytes()).max(asked_bytes)
    }

    /// Everything that is reserved.
    pub(crate) fn take_all(&self) -> Option<Reservation> {
        std::mem::take(&mut *self.held.lock()).reserved
    }

    /// Just `bytes` of what is reserved, more if it is not enough; `None` if they are not free.
    pub(crate) fn exactly(&self, bytes: u64) -> Option<Reservation> {
        let mut held = self.held.lock();
        if !grown_to(&self.budget, &mut held.reserved, bytes) {
            return None;
        }
        let mut reserved = held.reserved.take()?;
        reserved.shrink_to(bytes);
        Some(reserved)
    }
}

impl Room for HeaderRoom {
    fn take(&self, bytes: u64) -> bool {
        let mut held = self.held.lock();
        let used_bytes = held.used_bytes.saturating_add(bytes);
        held.asked_bytes = held.asked_bytes.max(used_bytes);
        let is_there = grown_to(&self.budget, &mut held.reserved, used_bytes);
        if is_there {
            held.used_bytes = used_bytes;
        }
        is_there
    }

    fn give(&self, bytes: u64) {
        // It stays reserved for what is still to come of the header.
        let mut held = self.held.lock();
        held.used_bytes = held.used_bytes.saturating_sub(bytes);
    }
}

fn grown_to(budget: &Budget, reserved: &mut Option<Reservation>, bytes: u64) -> bool {
    let Some(reserved) = reserved else {
        *reserved = budget.try_reserve(bytes);
        return reserved.is_some();
    };
    let missing = bytes.saturating_sub(reserved.bytes());
    missing == 0 || reserved.try_grow(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_before_it_is_used_and_what_is_not_needed_goes_back() {
        let budget = Budget::new(1000, "--x");
        let room = HeaderRoom::new(&budget, None);
        assert!(room.take(400) && room.take(500));
        assert_eq!(budget.usage().used_bytes, 900);
        assert!(!room.take(200), "more than there is");
        assert_eq!(room.more_than_asked(), 1100);
        let kept = room.exactly(300).unwrap();
        assert_eq!(budget.usage().used_bytes, 300);
        drop(kept);
        let reserved = budget.try_reserve(700).unwrap();
        let room = HeaderRoom::new(&budget, Some(reserved));
        assert!(room.take(700) && !room.take(301));
        room.give(600);
        assert!(room.take(600), "what was given back is there");
        drop(room.take_all());
        assert_eq!(budget.usage().used_bytes, 0);
    }
}
