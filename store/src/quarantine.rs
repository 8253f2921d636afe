//! Blocks whose bytes turned out to be broken while a request read them, or whose index-header cannot be opened: they are
//! not read for a while, and every request that would need one is told.

use std::{collections::HashMap, fmt, sync::Arc};

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
    reasons: HashMap<BlockId, Reason>,
}

#[derive(Debug)]
struct Reason {
    text: Arc<str>,
    kind: Wrong,
}

/// What kind of thing is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It stays until somebody mends it.
    Lasting,
    /// It may be over soon, as with a bucket that is throttled.
    Passing,
    /// There was no memory for its index-header; the block itself is as good as any.
    Memory,
    /// Its index-header could not be kept on the local disk; the block itself is as good as any.
    Disk,
}

/// How many blocks are in a [`Quarantine`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) all: usize,
    /// What is wrong may be over soon.
    pub(crate) passing: usize,
    /// What is wrong is this process' memory or disk, and not the block.
    pub(crate) local: usize,
}

/// A block that a request has to do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub(crate) block: BlockId,
    /// Block, file, place and what is wrong there.
    pub(crate) reason: Arc<str>,
    /// What it lacked is memory.
    pub(crate) is_memory: bool,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_memory { "no memory for " } else { "" };
        write!(f, "{what}{}", self.reason)
    }
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
        let text = reason.into();
        let kind = Wrong::Lasting;
        state.reasons.insert(block, Reason { text, kind });
        self.show(&state, now_ms);
        Some(pause_ms)
    }

    /// Sets a block aside whether it is already or not, for a shorter time if what is wrong passes by itself; says for how
    /// many milliseconds.
    pub(crate) fn put_again(&self, block: BlockId, reason: &str, kind: Wrong, now_ms: i64) -> i64 {
        let mut state = self.state.lock();
        let pause_ms = match kind {
            Wrong::Passing | Wrong::Memory | Wrong::Disk => state.pauses.failed_for_now(block, now_ms),
            Wrong::Lasting => state.pauses.failed(block, now_ms),
        };
        let text = reason.into();
        state.reasons.insert(block, Reason { text, kind });
        self.show(&state, now_ms);
        pause_ms
    }

    /// Nothing is wrong with a block any more.
    pub(crate) fn healed(&self, block: BlockId, now_ms: i64) {
        let mut state = self.state.lock();
        if state.reasons.remove(&block).is_some() {
            state.pauses.succeeded(block);
            self.show(&state, now_ms);
        }
    }

    /// Why a block is not to be read now.
    pub(crate) fn reason(&self, block: BlockId, now_ms: i64) -> Option<SetAside> {
        self.state.lock().aside(block, now_ms)
    }

    /// The blocks that may be tried again: their pause is over, or what was wrong may be over. `true` with those that
    /// have to wait.
    pub(crate) fn all(&self, now_ms: i64) -> Vec<(BlockId, bool)> {
        let state = self.state.lock();
        let waits = |(block, reason): (&BlockId, &Reason)| {
            let is_now = reason.kind == Wrong::Passing;
            (*block, !is_now && !state.pauses.allows(*block, now_ms))
        };
        state.reasons.iter().map(waits).collect()
    }

    /// How many blocks are in it, and why.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state.lock();
        let mut counts = Counts::default();
        for reason in state.reasons.values() {
            counts.all += 1;
            counts.passing += usize::from(reason.kind != Wrong::Lasting);
            counts.local += usize::from(matches!(reason.kind, Wrong::Memory | Wrong::Disk));
        }
        counts
    }

    /// Takes those blocks out of `chosen` that are not to be read now.
    pub(crate) fn set_aside(&self, chosen: &mut Vec<Chosen>, now_ms: i64) -> Vec<SetAside> {
        let state = self.state.lock();
        if state.reasons.is_empty() {
            return Vec::new();
        }
        let mut aside = Vec::new();
        chosen.retain(|chosen| {
            let found = state.aside(chosen.block.id(), now_ms);
            let is_good = found.is_none();
            aside.extend(found);
            is_good
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

impl State {
    /// Why a block is not to be read now.
    fn aside(&self, block: BlockId, now_ms: i64) -> Option<SetAside> {
        let reason = self.reasons.get(&block)?;
        let is_now = !self.pauses.allows(block, now_ms);
        is_now.then(|| SetAside {
            block,
            reason: Arc::clone(&reason.text),
            is_memory: reason.kind == Wrong::Memory,
        })
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
        segments::Segments,
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
                (Segments::Unknown, None),
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
    fn what_is_wrong_here_is_told_from_what_is_wrong_with_blocks() {
        let quarantine = Quarantine::new(Gauge::default());
        let kinds = [Wrong::Lasting, Wrong::Passing, Wrong::Memory, Wrong::Disk];
        for (number, kind) in (1..).zip(kinds) {
            quarantine.put_again(BlockId::from_parts(number, [1; 10]), "why", kind, 0);
        }
        let counts = Counts {
            all: 4,
            passing: 3,
            local: 2,
        };
        assert_eq!(quarantine.counts(), counts);
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
        let aside = SetAside {
            block: bad,
            reason: "index: broken".into(),
            is_memory: false,
        };
        assert_eq!(aside_at(first_ms - 1), (1, vec![aside]));
        assert_eq!(gauge.get(), 1);
        assert_eq!(aside_at(first_ms).0, 2, "its time has come");
        assert_eq!(quarantine.put(bad, "still", first_ms), Some(2 * first_ms));
        quarantine.retain(|block| block == good, first_ms);
        assert_eq!(aside_at(first_ms).0, 2);
        assert_eq!(gauge.get(), 0);
    }
}
