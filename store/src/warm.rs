//! What earlier requests learnt of the labels of blocks, for later ones.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use sabre_model::BlockId;
use sabre_runtime::budget::Reservation;

use crate::label_table::KnownLabels;

/// The most that is kept of one block, as a part of the whole.
const PARTS: usize = 8;

/// Labels by block and by the names that left the answer; what was used least recently goes first.
#[derive(Debug)]
pub(crate) struct WarmLabels {
    capacity_bytes: usize,
    _memory: Option<Reservation>,
    kept: Mutex<Kept>,
}

/// Which requests can share what they know of a block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WarmKey {
    pub(crate) block: BlockId,
    pub(crate) removed_labels: Arc<[String]>,
}

#[derive(Debug, Default)]
struct Kept {
    labels: HashMap<WarmKey, (Arc<KnownLabels>, u64)>,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

impl WarmLabels {
    /// Keeps as much as `memory` pays for, nothing without any.
    pub(crate) fn new(memory: Option<Reservation>) -> Self {
        let bytes = memory.as_ref().map_or(0, Reservation::bytes);
        Self {
            capacity_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            _memory: memory,
            kept: Mutex::default(),
        }
    }

    /// What is known; often nothing.
    pub(crate) fn get(&self, key: &WarmKey) -> Arc<KnownLabels> {
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let now = kept.clock;
        match kept.labels.get_mut(key) {
            Some((labels, used)) => {
                *used = now;
                Arc::clone(labels)
            }
            None => Arc::default(),
        }
    }

    /// Forgets a block that is gone, or is not what it was.
    pub(crate) fn forget(&self, block: BlockId) {
        let mut kept = self.kept.lock();
        let mut freed = 0;
        kept.labels.retain(|key, (labels, _)| {
            let is_kept = key.block != block;
            freed += if is_kept { 0 } else { labels.size_bytes() };
            is_kept
        });
        kept.bytes = kept.bytes.saturating_sub(freed);
    }

    /// The most bytes of one block that are kept.
    pub(crate) fn most_bytes(&self) -> usize {
        self.capacity_bytes / PARTS
    }

    /// Keeps what is known of a block, unless more of it is kept already.
    pub(crate) fn keep(&self, key: WarmKey, labels: KnownLabels) {
        let bytes = labels.size_bytes();
        if bytes > self.most_bytes() {
            return;
        }
        let mut kept = self.kept.lock();
        if kept
            .labels
            .get(&key)
            .is_some_and(|(other, _)| other.len() >= labels.len())
        {
            return;
        }
        kept.clock += 1;
        let now = kept.clock;
        if let Some((replaced, _)) = kept.labels.insert(key, (Arc::new(labels), now)) {
            kept.bytes = kept.bytes.saturating_sub(replaced.size_bytes());
        }
        kept.bytes = kept.bytes.saturating_add(bytes);
        kept.shrink_to(self.capacity_bytes);
    }
}

impl Kept {
    fn shrink_to(&mut self, capacity_bytes: usize) {
        while self.bytes > capacity_bytes {
            let oldest = self
                .labels
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(key, _)| key.clone());
            let Some((labels, _)) = oldest.and_then(|oldest| self.labels.remove(&oldest)) else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(labels.size_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use sabre_model::Labels;
    use sabre_runtime::budget::Budget;

    use super::*;
    use crate::{
        label_table::{LabelTable, Pair},
        overlay::Overlay,
    };

    fn key(n: u8) -> WarmKey {
        WarmKey {
            block: BlockId::from_parts(1, [n; 10]),
            removed_labels: Arc::default(),
        }
    }

    fn warm(bytes: u64) -> WarmLabels {
        WarmLabels::new(Budget::unlimited().try_reserve(bytes))
    }

    fn known(earlier: Arc<KnownLabels>, labels: std::ops::Range<u32>) -> KnownLabels {
        let overlay = Arc::new(Overlay::new(&Labels::default(), &[]));
        let mut table = LabelTable::new(overlay, earlier);
        for n in labels {
            table.insert_for_test(Pair::new((n, n)), "name", &n.to_string());
        }
        table.into_known(usize::MAX).unwrap()
    }

    #[test]
    fn later_requests_know_what_earlier_ones_learnt() {
        let warm = warm(1 << 20);
        assert_eq!(warm.get(&key(1)).len(), 0);
        warm.keep(key(1), known(Arc::default(), 0..100));
        let earlier = warm.get(&key(1));
        assert_eq!((earlier.len(), warm.get(&key(2)).len()), (100, 0));
        warm.keep(key(1), known(earlier, 100..200));
        let overlay = Arc::new(Overlay::new(&Labels::default(), &[]));
        let table = LabelTable::new(overlay, warm.get(&key(1)));
        for n in [0u32, 99, 100, 199] {
            let slot = table.slot(Pair::new((n, n))).unwrap();
            assert_eq!(table.piece(slot), format!("name\0{n}\0").as_bytes());
        }
        warm.keep(key(1), known(Arc::default(), 0..50));
        assert_eq!(warm.get(&key(1)).len(), 200, "more is not replaced by less");
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let one = known(Arc::default(), 0..100);
        let warm = warm(one.size_bytes() as u64 * 8);
        for n in 0..8 {
            warm.keep(key(n), one.clone());
        }
        assert_eq!(warm.get(&key(0)).len(), 100);
        warm.keep(key(8), one);
        assert_eq!((warm.get(&key(0)).len(), warm.get(&key(1)).len()), (100, 0));
    }

    #[test]
    fn a_block_that_is_forgotten_makes_room() {
        let one = known(Arc::default(), 0..100);
        let warm = warm(one.size_bytes() as u64 * 8);
        for n in 0..8 {
            warm.keep(key(n), one.clone());
        }
        warm.forget(key(3).block);
        warm.keep(key(8), one);
        let kept: Vec<u8> = (0..9).filter(|&n| warm.get(&key(n)).len() > 0).collect();
        assert_eq!(kept, [0, 1, 2, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_block_with_too_many_labels_is_not_kept() {
        let warm = warm(16 << 10);
        warm.keep(key(1), known(Arc::default(), 0..10_000));
        assert_eq!(warm.get(&key(1)).len(), 0);
    }
}
