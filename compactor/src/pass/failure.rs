//! A compaction that failed: who is at fault, and what is done about it.

use sabre_block::View;
use sabre_model::BlockId;
use sabre_tsdb::meta::NoCompactReason;

use super::compaction::Step;
use super::marking::Marked;
use crate::compactor::Compactor;
use crate::error::{Class, PassError, defect};
use crate::execute::verify_block;
use crate::merge::JobError;
use crate::plan::{BlockInfo, CompactionPlan, Group, NewMark};
use crate::quarantine::Work;
use crate::source::Defect;

impl Compactor {
    /// Deals with a failed compaction.
    pub(crate) async fn handle_failure(
        &self,
        view: &View,
        group: &Group,
        plan: &CompactionPlan,
        error: JobError,
    ) -> Step {
        match Class::of(&error) {
            Class::Retry => Step::Failed(PassError::Retry(error.to_string())),
            Class::TooLarge => self.mark_largest(plan, &error).await,
            Class::Suspect(suspects) => self.look_again(view, group, plan, &suspects, &error).await,
            Class::Stuck => {
                for source in &plan.sources {
                    self.set_apart(source.id(), Work::Compaction, error.to_string());
                }
                self.set_apart_or_halt(&error)
            }
        }
    }

    /// Reads suspected blocks again, each by itself, before anything is believed of them.
    async fn look_again(
        &self,
        view: &View,
        group: &Group,
        plan: &CompactionPlan,
        suspects: &[BlockId],
        error: &JobError,
    ) -> Step {
        tracing::warn!(group = group.key, %error, "a block seems broken, it is read again");
        let (mut is_mended, mut is_guilty) = (false, false);
        for source in &plan.sources {
            if !suspects.contains(&source.id()) {
                continue;
            }
            match verify_block(&self.context, view, &source.meta).await {
                Ok(_) => {}
                Err(found) => match Class::of(&found) {
                    Class::Suspect(_) => match self.convict(source, &found).await {
                        Ok(Marked::Heeded) => is_mended = true,
                        Ok(Marked::SetApart) => is_guilty = true,
                        Err(error) => return Step::Failed(error),
                    },
                    _ => return Step::Failed(PassError::Retry(found.to_string())),
                },
            }
        }
        if is_guilty {
            return self.set_apart_or_halt(error);
        }
        if is_mended {
            // The mark is what there is to do: Thanos goes on then, too.
            return Step::Again;
        }
        if self.is_first_doubt(plan) {
            tracing::warn!(group = group.key, %error, "the blocks are sound, the compaction is done again");
            return Step::Again;
        }
        let is_suspect = |source: &&BlockInfo| suspects.contains(&source.id());
        let is_known = plan.sources.iter().any(|source| is_suspect(&source));
        // Where the error names none of them, the plan cannot be got on with all the same.
        for source in plan
            .sources
            .iter()
            .filter(|source| !is_known || is_suspect(source))
        {
            self.set_apart(source.id(), Work::Compaction, error.to_string());
        }
        self.set_apart_or_halt(error)
    }

    /// Leaves a broken block alone, or marks it where Thanos would.
    async fn convict(&self, source: &BlockInfo, found: &JobError) -> Result<Marked, PassError> {
        let out_of_order = defect(found).is_some_and(|(_, defect)| defect == Defect::OutOfOrderChunks);
        if out_of_order && self.config.marks_out_of_order {
            let mark = NewMark {
                block: source.id(),
                reason: NoCompactReason::OutOfOrderChunk,
                details: found.to_string(),
            };
            return self.mark_no_compact(&mark).await;
        }
        self.set_apart(source.id(), Work::Compaction, found.to_string());
        Ok(Marked::SetApart)
    }

    fn set_apart_or_halt(&self, error: &JobError) -> Step {
        match self.config.halts_on_error {
            true => Step::Failed(PassError::Halt(error.to_string())),
            false => Step::Again,
        }
    }

    /// The result would be too large: the largest source is kept out, as prediction would have done.
    async fn mark_largest(&self, plan: &CompactionPlan, error: &JobError) -> Step {
        let Some(largest) = plan.sources.iter().max_by_key(|source| source.index_bytes) else {
            return Step::Idle;
        };
        let mark = NewMark {
            block: largest.id(),
            reason: NoCompactReason::IndexSizeExceeding,
            details: error.to_string(),
        };
        match self.mark_no_compact(&mark).await {
            Ok(Marked::Heeded) => Step::Again,
            Ok(Marked::SetApart) => self.set_apart_or_halt(error),
            Err(error) => Step::Failed(error),
        }
    }
}
