//! Aggregates that marks keep out of all work: nothing else would find out that they are broken.

use std::collections::BTreeSet;
use std::sync::Arc;

use sabre_block::View;
use sabre_model::BlockId;
use sabre_tsdb::meta::BlockMeta;

use super::iteration::first_error;
use crate::compactor::Compactor;
use crate::error::{Class, PassError};
use crate::execute::verify_block;
use crate::plan::{self, Kept};
use crate::quarantine::Work;

impl Compactor {
    /// Reads the aggregates that somebody marked, to the last sample, where finer data would go because they are there. One
    /// that is sound is not read again by this process; one that is not stands for nothing, and is read again with back-off.
    ///
    /// Returns whether any was read.
    ///
    /// # Errors
    /// Those that could not be read: they stand for nothing until they are.
    pub(super) async fn prove_aggregates(&self, view: &View) -> Result<bool, PassError> {
        let unproven = self.unproven(view);
        if unproven.is_empty() {
            return Ok(false);
        }
        let (mut outcome, mut any) = (Ok(()), false);
        let mut kept = self.plan_retention(view).kept;
        kept.retain(|kept| !view.marks.deletion.contains_key(&kept.block.id()));
        let mut paused = self.avoided(Work::Compaction);
        paused.extend(self.avoided(Work::Downsampling));
        for meta in waited_for(view, &kept, &unproven) {
            if paused.contains(&meta.ulid) {
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
                Err(error) => outcome = first_error(outcome, Err(PassError::Retry(error.to_string()))),
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
