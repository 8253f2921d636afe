//! Aggregates that marks keep out of all work: nothing else would find out that they are broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sabre_block::View;
use sabre_model::BlockId;
use sabre_tsdb::meta::BlockMeta;

use super::iteration::first_error;
use crate::compactor::Compactor;
use crate::error::{Class, PassError};
use crate::execute::verify_block;
use crate::plan::{self, Kept};
use crate::quarantine::{Work, pause_ms};

/// What is remembered of aggregates that are to be proven. Who holds it reads them: the loops of the process never read the
/// same blocks at once.
#[derive(Debug, Default)]
pub(crate) struct Proving {
    /// Aggregates that could not be read: how often, and when they are tried again, in milliseconds since the epoch.
    unread: BTreeMap<BlockId, (u32, i64)>,
}

impl Proving {
    /// Leaves a block alone that could not be read: for ever longer.
    fn pause(&mut self, block: BlockId, now_ms: i64) {
        let (times, until_ms) = self.unread.entry(block).or_insert((0, now_ms));
        *times = times.saturating_add(1);
        *until_ms = now_ms.saturating_add(pause_ms(*times));
    }

    fn is_paused(&self, block: BlockId, now_ms: i64) -> bool {
        let paused = self.unread.get(&block);
        paused.is_some_and(|(_, until_ms)| *until_ms > now_ms)
    }
}

impl Compactor {
    /// Reads the aggregates that somebody marked, to the last sample, where finer data would go because they are there. One
    /// that is sound is not read again by this process; one that is not stands for nothing, and is read again with back-off.
    ///
    /// One that cannot be read is tried again with back-off as well. While another loop of this process reads such blocks
    /// nothing is done: finer data waits for what it finds.
    ///
    /// Returns whether any was read.
    ///
    /// # Errors
    /// Those that could not be read: they stand for nothing until they are.
    pub(super) async fn prove_aggregates(&self, view: &View) -> Result<bool, PassError> {
        let Ok(mut proving) = self.proving.try_lock() else {
            return Ok(false);
        };
        let unproven = self.unproven(view);
        proving.unread.retain(|block, _| unproven.contains(block));
        if unproven.is_empty() {
            return Ok(false);
        }
        let (mut outcome, mut any) = (Ok(()), false);
        let mut kept = self.plan_retention(view).kept;
        kept.retain(|kept| !view.marks.deletion.contains_key(&kept.block.id()));
        let mut paused = self.avoided(Work::Compaction);
        paused.extend(self.avoided(Work::Downsampling));
        for meta in waited_for(view, &kept, &unproven) {
            if paused.contains(&meta.ulid) || proving.is_paused(meta.ulid, self.now_ms()) {
                continue;
            }
            any = true;
            match verify_block(&self.context, view, meta).await {
                Ok(_) => {
                    self.note_proven(meta.ulid);
                    self.absolve([meta.ulid], Work::Compaction);
                    self.absolve([meta.ulid], Work::Downsampling);
                }
                Err(found) if matches!(Class::of(&found), Class::Suspect(_)) => {
                    self.set_apart(meta.ulid, Work::Compaction, found.to_string());
                }
                Err(error) => {
                    proving.pause(meta.ulid, self.now_ms());
                    outcome = first_error(outcome, Err(PassError::Retry(error.to_string())));
                }
            }
        }
        outcome.map(|()| any)
    }
}

/// The blocks of `unproven` that finer data waits for.
fn waited_for<'v>(view: &'v View, kept: &[Kept], unproven: &BTreeSet<BlockId>) -> Vec<&'v Arc<BlockMeta>> {
    let mut waited: BTreeSet<(i64, BlockId)> = BTreeSet::new();
    for kept in kept {
        let sources = plan::sources_of(&kept.block.meta).iter();
        waited.extend(sources.map(|source| (kept.waits_for_ms, *source)));
    }
    let is_waited_for = |meta: &&Arc<BlockMeta>| {
        let mut sources = plan::sources_of(meta).iter();
        let resolution_ms = meta.resolution_ms();
        // What waits for data of 5 minutes may do with that of 1 hour.
        sources.any(|source| {
            plan::COARSER_MS.into_iter().any(|waits_for_ms| {
                waits_for_ms <= resolution_ms && waited.contains(&(waits_for_ms, *source))
            })
        })
    };
    let unproven = view.metas.iter().filter(|meta| unproven.contains(&meta.ulid));
    unproven.filter(is_waited_for).collect()
}
