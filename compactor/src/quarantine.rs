//! Blocks that were found broken: left alone by this process, tried again ever less often. Nothing of it is written into
//! the bucket.

use std::collections::{BTreeMap, BTreeSet};

use sabre_model::BlockId;
use serde::Serialize;

/// After the first finding a block is left alone for so long, in milliseconds; after each further one twice as long.
const FIRST_PAUSE_MS: i64 = 5 * 60_000;
/// The longest pause, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 24 * 3_600_000;

/// How long a block is left alone after it was found broken, or could not be read, so many times in a row, in milliseconds.
pub(crate) fn pause_ms(times: u32) -> i64 {
    let doubled = FIRST_PAUSE_MS.checked_shl(times.saturating_sub(1).min(32));
    doubled.unwrap_or(LONGEST_PAUSE_MS).min(LONGEST_PAUSE_MS)
}

/// What a block is kept out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// Being compacted.
    Compaction,
    /// Being downsampled.
    Downsampling,
}

/// A block that is left alone.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Quarantined {
    /// What was found, with file, section and offset.
    pub(crate) why: String,
    /// When it was first found, in milliseconds since the epoch.
    pub(crate) since_ms: i64,
    /// How often it was found.
    pub(crate) found: u32,
    /// When it is tried again, in milliseconds since the epoch.
    pub(crate) until_ms: i64,
    /// Whether a mark keeps the block out of this work: somebody looked at it and decided.
    pub(crate) is_settled: bool,
}

/// All blocks that are left alone.
#[derive(Debug, Default)]
pub(crate) struct Quarantine(BTreeMap<(BlockId, Work), Quarantined>);

impl Quarantine {
    /// Notes that a block was found broken.
    pub(crate) fn add(&mut self, block: BlockId, work: Work, why: String, now_ms: i64) {
        let entry = self.0.entry((block, work)).or_insert_with(|| Quarantined {
            why: String::new(),
            since_ms: now_ms,
            found: 0,
            until_ms: now_ms,
            is_settled: false,
        });
        entry.found = entry.found.saturating_add(1);
        let pause_ms = pause_ms(entry.found);
        entry.until_ms = now_ms.saturating_add(pause_ms);
        tracing::error!(
            %block,
            work = ?work,
            error = why,
            tried_again_in_s = pause_ms / 1000,
            "block is broken and left alone, its group goes on around it"
        );
        entry.why = why;
    }

    /// Forgets what was found of a block: it was worked on, or is gone.
    pub(crate) fn clear(&mut self, block: BlockId, work: Work) {
        if self.0.remove(&(block, work)).is_some() {
            tracing::info!(%block, work = ?work, "block is no longer left alone");
        }
    }

    /// Forgets the blocks that are not there any more.
    pub(crate) fn retain(&mut self, is_there: impl Fn(BlockId) -> bool) {
        self.0.retain(|(block, _), _| is_there(*block));
    }

    /// Notes which blocks marks keep out of the work anyway.
    pub(crate) fn settle(&mut self, is_settled: impl Fn(BlockId, Work) -> bool) {
        for ((block, work), entry) in &mut self.0 {
            entry.is_settled = is_settled(*block, *work);
        }
    }

    /// Those that an operator has to look at.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = (BlockId, Work, &Quarantined)> {
        self.iter().filter(|(_, _, entry)| !entry.is_settled)
    }

    /// The blocks that this work leaves alone now.
    pub(crate) fn avoided(&self, work: Work, now_ms: i64) -> BTreeSet<BlockId> {
        let of_work = self.0.iter().filter(|((_, other), _)| *other == work);
        let waiting = of_work.filter(|(_, entry)| entry.until_ms > now_ms);
        waiting.map(|((block, _), _)| *block).collect()
    }

    /// All blocks that were found broken, whatever they are kept out of now.
    pub(crate) fn blocks(&self) -> BTreeSet<BlockId> {
        self.0.keys().map(|(block, _)| *block).collect()
    }

    /// Blocks with what was found and when they are tried again, for plans.
    pub(crate) fn reasons(&self) -> BTreeMap<BlockId, (String, i64)> {
        let reason = |entry: &Quarantined| (entry.why.clone(), entry.until_ms);
        self.0
            .iter()
            .map(|((block, _), entry)| (*block, reason(entry)))
            .collect()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (BlockId, Work, &Quarantined)> {
        self.0.iter().map(|((block, work), entry)| (*block, *work, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_day_and_end_with_success() {
        let (block, work) = (BlockId::from_parts(1, [0; 10]), Work::Compaction);
        let mut quarantine = Quarantine::default();
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for _ in 0..40 {
            quarantine.add(block, work, "broken".to_owned(), now_ms);
            assert!(quarantine.avoided(work, now_ms).contains(&block));
            let (_, _, entry) = quarantine.iter().next().unwrap();
            pauses.push((entry.until_ms - now_ms) / 60_000);
            now_ms = entry.until_ms;
            assert!(quarantine.avoided(work, now_ms).is_empty(), "it is tried again");
            assert!(!quarantine.is_empty(), "and is still trouble");
        }
        assert_eq!(pauses[..4], [5, 10, 20, 40]);
        assert_eq!(pauses[39], 24 * 60);
        assert!(quarantine.avoided(Work::Downsampling, 0).is_empty());
        quarantine.clear(block, work);
        assert!(quarantine.is_empty());
    }
}
