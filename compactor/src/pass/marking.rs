//! Marks that compaction writes, and what is done where one is there already that nobody understands.

use std::time::Instant;

use sabre_block::mark::{self, MarkKind};
use sabre_block::{BlockError, View};
use sabre_model::BlockId;
use sabre_tsdb::meta::{DeletionMark, NoCompactMark};

use super::iteration::first_error;
use crate::compactor::Compactor;
use crate::error::PassError;
use crate::execute::mark_for_deletion;
use crate::merge::JobError;
use crate::plan::{BlockInfo, CompactionPlan, NewMark, plan_garbage};
use crate::quarantine::{Quarantine, Work};

/// What became of a block that was to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// It has a mark that the next look at the bucket sees.
    Heeded,
    /// This process leaves it alone.
    SetApart,
}

impl Compactor {
    /// A merge without samples: the sources that say themselves that they are empty are marked.
    pub(super) async fn mark_empty(&self, plan: &CompactionPlan) -> Result<(), JobError> {
        let empty: Vec<BlockId> = plan
            .sources
            .iter()
            .filter(|block| block.meta.stats.num_samples == 0)
            .map(BlockInfo::id)
            .collect();
        if empty.is_empty() {
            let what = "the blocks hold no samples, although their meta.json counts some";
            return Err(JobError::Unwritable(what.to_owned()));
        }
        self.mark_sources(empty).await
    }

    /// Marks blocks that a longer one stands for, or that hold nothing.
    pub(super) async fn mark_sources(&self, ids: Vec<BlockId>) -> Result<(), JobError> {
        for id in ids {
            let marked = self.mark_superfluous(id, "source of compacted block").await;
            marked.map_err(JobError::Upload)?;
        }
        Ok(())
    }

    /// Marks a block for deletion, or leaves it alone if it has a mark that nobody can read.
    pub(super) async fn mark_superfluous(&self, block: BlockId, details: &str) -> Result<Marked, BlockError> {
        let written = mark_for_deletion(&self.context, block, details, self.now_ms()).await?;
        if written == mark::Written::New {
            let marked = &self.metrics.marked;
            marked.with([MarkKind::Deletion.file_name(), ""]).inc();
            return Ok(Marked::Heeded);
        }
        let existing = mark::read::<DeletionMark>(&*self.context.bucket, block).await?;
        if existing.is_some() {
            return Ok(Marked::Heeded);
        }
        self.set_unmarkable_apart(block, MarkKind::Deletion, details);
        Ok(Marked::SetApart)
    }

    /// Writes a mark that keeps a block out of compaction. Where one is there already that nobody can read, which planning
    /// cannot heed, the block is left alone by this process: nothing would come of trying again.
    pub(super) async fn mark_no_compact(&self, new: &NewMark) -> Result<Marked, PassError> {
        let mark = NoCompactMark {
            id: new.block,
            details: new.details.clone(),
            no_compact_time_s: self.now_ms().div_euclid(1000),
            reason: new.reason.clone(),
        };
        let bucket = &*self.context.bucket;
        let retry = |error: BlockError| PassError::Retry(error.to_string());
        if mark::write(bucket, &mark).await.map_err(retry)? == mark::Written::New {
            let reason = new.reason.to_string();
            let marked = &self.metrics.marked;
            marked.with([MarkKind::NoCompact.file_name(), &reason]).inc();
            tracing::warn!(block = %new.block, reason, details = new.details, "block is marked no-compact");
            return Ok(Marked::Heeded);
        }
        let existing = mark::read::<NoCompactMark>(bucket, new.block).await;
        if existing.map_err(retry)?.is_some() {
            return Ok(Marked::Heeded);
        }
        self.set_unmarkable_apart(new.block, MarkKind::NoCompact, &new.details);
        Ok(Marked::SetApart)
    }

    fn set_unmarkable_apart(&self, block: BlockId, kind: MarkKind, reason: &str) {
        let file = kind.file_name();
        let why = format!(
            "{file} is there and cannot be understood: mend it or remove it; the block was to be marked: {reason}"
        );
        self.set_apart(block, Work::Compaction, why);
    }

    /// Marks the blocks that others make superfluous.
    pub(super) async fn collect_garbage(&self, view: &View) -> Result<(), PassError> {
        self.metrics.garbage_runs.inc();
        let started = Instant::now();
        let mut outcome = Ok(());
        let doubted = self.with_quarantine(Quarantine::blocks);
        let unmarkable = self.avoided(Work::Compaction);
        for block in plan_garbage(view, &doubted) {
            if unmarkable.contains(&block) {
                continue;
            }
            match self.mark_superfluous(block, "outdated block").await {
                Ok(Marked::Heeded) => {
                    self.metrics.garbage_blocks.inc();
                }
                Ok(Marked::SetApart) => {}
                Err(error) => outcome = first_error(outcome, Err(PassError::Retry(error.to_string()))),
            }
        }
        if outcome.is_err() {
            self.metrics.garbage_failures.inc();
        }
        self.metrics
            .garbage_seconds
            .observe(started.elapsed().as_secs_f64());
        outcome
    }
}
