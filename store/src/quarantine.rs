//! Blocks whose bytes turned out to be broken while a request read them: they are not read for a while, and every
//! request that would need one is told.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use sabre_model::BlockId;
use sabre_runtime::metrics::Gauge;

use crate::{backoff::Backoff, view::Chosen};

/// Why blocks are set aside, and until when.
#[derive(Debug)]
pub(crate) struct Quarantine {
    state: Mutex<State>,
    /// How many blocks are in it.
    blocks: Gauge,
}

#[derive(Debug, Default)]
struct State {
    pauses: Backoff,
    reasons: HashMap<BlockId, Arc<str>>,
}

/// A block that a request has to do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub(crate) block: BlockId,
    /// Block, file, place and what is wrong there.
    pub(crate) reason: Arc<str>,
}

impl Quarantine {
    /// An empty one that shows its size in a metric.
    pub(crate) fn new(blocks: Gauge) -> Self {
        Self {
            state: Mutex::default(),
            blocks,
        }
    }

    /// Sets a block aside and says for how many milliseconds: for longer each time it is found broken again. `None` if
    /// another request already did.
    pub(crate) fn put(&self, block: BlockId, reason: &str, now_ms: i64) -> Option<i64> {
        let mut state = self.state.lock();
        if !state.pauses.allows(block, now_ms) {
            return None;
        }
        let pause_ms = state.pauses.failed(block, now_ms);
        state.reasons.insert(block, reason.into());
        self.show(&state, now_ms);
        Some(pause_ms)
    }

    /// Takes those blocks out of `chosen` that are not to be read now.
    pub(crate) fn set_aside(&self, chosen: &mut Vec<Chosen>, now_ms: i64) -> Vec<SetAside> {
        let state = self.state.lock();
        if state.reasons.is_empty() {
            return Vec::new();
        }
        let mut aside = Vec::new();
        chosen.retain(|chosen| {
            let block = chosen.block.id();
            let reason = state.reasons.get(&block);
            let Some(reason) = reason.filter(|_| !state.pauses.allows(block, now_ms)) else {
                return true;
            };
            aside.push(SetAside {
                block,
                reason: Arc::clone(reason),
            });
            false
        });
        aside
    }

    /// Forgets all blocks but those to keep.
    pub(crate) fn retain(&self, keep: impl Fn(BlockId) -> bool, now_ms: i64) {
        let mut state = self.state.lock();
        state.pauses.retain(&keep);
        state.reasons.retain(|block, _| keep(*block));
        self.show(&state, now_ms);
    }

    fn show(&self, state: &State, now_ms: i64) {
        let is_paused = |block: &&BlockId| !state.pauses.allows(**block, now_ms);
        let count = state.reasons.keys().filter(is_paused).count();
        self.blocks.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use sabre_objstore::MemoryBucket;
    use sabre_tsdb::meta::BlockMeta;

    use super::*;
    use crate::{
        block::{BlockFacts, Buckets, ReadEstimates},
        handle::BlockHandle,
    };

    fn chosen(blocks: &[BlockId]) -> Vec<Chosen> {
        let bucket: sabre_objstore::SharedBucket = Arc::new(MemoryBucket::new("test"));
        let buckets = Buckets {
            bucket: Arc::clone(&bucket),
            origin: bucket,
        };
        let one = |&ulid: &BlockId| {
            let meta = BlockMeta {
                ulid,
                ..BlockMeta::default()
            };
            let facts = BlockFacts::new(
                buckets.clone(),
                &meta,
                (Vec::new(), None),
                ReadEstimates::default(),
            );
            Chosen {
                block: Arc::new(BlockHandle::new(facts, Vec::new())),
                matchers: Arc::default(),
            }
        };
        blocks.iter().map(one).collect()
    }

    #[test]
    fn a_broken_block_is_left_out_for_a_while_and_longer_the_next_time() {
        let [good, bad] = [1, 2].map(|n| BlockId::from_parts(n, [1; 10]));
        let gauge = Gauge::default();
        let quarantine = Quarantine::new(gauge.clone());
        let aside_at = |now_ms| {
            let mut all = chosen(&[good, bad]);
            let aside = quarantine.set_aside(&mut all, now_ms);
            (all.len(), aside)
        };
        assert_eq!(aside_at(0), (2, Vec::new()));
        let first_ms = quarantine.put(bad, "index: broken", 0).unwrap();
        assert_eq!(quarantine.put(bad, "by another request", 1), None);
        let reason = "index: broken".into();
        assert_eq!(aside_at(first_ms - 1), (1, vec![SetAside { block: bad, reason }]));
        assert_eq!(gauge.get(), 1);
        assert_eq!(aside_at(first_ms).0, 2, "its time has come");
        assert_eq!(quarantine.put(bad, "still", first_ms), Some(2 * first_ms));
        quarantine.retain(|block| block == good, first_ms);
        assert_eq!(aside_at(first_ms).0, 2);
        assert_eq!(gauge.get(), 0);
    }
}
