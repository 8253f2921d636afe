//! Compaction: group by group, until no group has a plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use sabre_block::View;
use sabre_model::BlockId;

use super::iteration::first_error;
use crate::compactor::Compactor;
use crate::error::PassError;
use crate::execute::{Compacted, Compaction, compact};
use crate::merge::{JobError, JobProgress};
use crate::metrics::CompactorMetrics;
use crate::plan::{
    BlockInfo, CompactionPlan, Group, GroupPlan, Restraint, due_from_result, plan_group, planned_groups,
};
use crate::quarantine::Work;
use crate::source::Health;
use crate::status::Running;

/// What came of one look at a group.
#[derive(Debug)]
pub(crate) enum Step {
    /// It has no plan.
    Idle,
    /// Something was done: it is worth another look.
    Again,
    /// It failed, and is not looked at again in this iteration.
    Failed(PassError),
}

/// What an iteration remembers of groups.
#[derive(Debug, Default)]
struct Memory {
    /// Groups that are done with.
    failed: BTreeMap<String, PassError>,
    /// How often each plan was begun, by its sources.
    begun: Mutex<BTreeMap<Vec<BlockId>, usize>>,
}

/// So often the same plan is begun in one iteration: a second time after blocks were found sound that seemed broken, and
/// once more when the bucket did not show at once what came of it. After that nothing would be got on with.
const SAME_PLAN: usize = 3;

impl Memory {
    /// Counts a plan; false if it was begun too often.
    fn may_begin(&self, plan: &CompactionPlan) -> bool {
        let sources = plan.sources.iter().map(BlockInfo::id).collect();
        let mut begun = self.begun.lock();
        let times = begun.entry(sources).or_insert(0);
        *times = times.saturating_add(1);
        *times <= SAME_PLAN
    }
}

impl Compactor {
    /// Compacts until no group has anything to do. A group that fails does not stop the others.
    ///
    /// Nor does a block that cannot be deleted: what tidying up said is told at the end.
    pub(super) async fn compact_all(&self) -> Result<(), PassError> {
        let mut memory = Memory::default();
        loop {
            let view = self.sync().await?;
            let tidied = first_error(self.delete_marked(&view).await, self.collect_garbage(&view).await);
            let blocks = BlockInfo::with_incomplete(&view);
            let restraint = self.restraint(&view);
            let groups = planned_groups(&blocks, &restraint, &self.config.policy, self.now_ms());
            self.forget_overlaps_of_others(&view, &groups);
            self.board.show_groups(&groups);
            let pending = groups
                .iter()
                .filter(|group| !memory.failed.contains_key(&group.key));
            let jobs: Vec<_> = pending
                .map(|group| self.compact_named(&view, &blocks, &restraint, group, &memory))
                .collect();
            let steps: Vec<(String, Step)> = stream::iter(jobs)
                .buffer_unordered(self.config.compact_concurrency.max(1))
                .collect()
                .await;
            let mut again = false;
            for (key, step) in steps {
                match step {
                    Step::Idle => {}
                    Step::Again => again = true,
                    Step::Failed(error @ PassError::Halt(_)) => return Err(error),
                    Step::Failed(error) => {
                        tracing::error!(group = key, %error, "group failed, it is tried again later");
                        self.board.error(self.now_ms(), format!("group {key}: {error}"));
                        memory.failed.insert(key, error);
                    }
                }
            }
            if !again {
                let failed = memory.failed.into_values().next();
                return first_error(failed.map_or(Ok(()), Err), tidied);
            }
        }
    }

    async fn compact_named(
        &self,
        view: &View,
        blocks: &[BlockInfo],
        restraint: &Restraint,
        group: &Group,
        memory: &Memory,
    ) -> (String, Step) {
        let step = self.compact_group(view, blocks, restraint, group, memory).await;
        (group.key.clone(), step)
    }

    async fn compact_group(
        &self,
        view: &View,
        blocks: &[BlockInfo],
        restraint: &Restraint,
        group: &Group,
        memory: &Memory,
    ) -> Step {
        let resolution = CompactorMetrics::resolution(group.resolution_ms);
        self.metrics.runs_started.with([&resolution]).inc();
        let plan = match self.next_plan(group, restraint, memory).await {
            Ok(Some(plan)) => plan,
            Ok(None) => {
                self.metrics.runs_completed.with([&resolution]).inc();
                return Step::Idle;
            }
            Err(error) => return Step::Failed(error),
        };
        let to_ms = due_from_result(&plan, blocks, restraint, &self.config.policy, self.now_ms());
        let mut done = self.compact_plan(view, group, &plan, to_ms).await;
        if let (Some(_), Err(JobError::Chunks { blocks, what })) = (to_ms, &done)
            && blocks.is_empty()
        {
            tracing::warn!(
                group = group.key,
                error = what,
                "downsampling failed, compacting without it"
            );
            done = self.compact_plan(view, group, &plan, None).await;
        }
        match done {
            Ok(()) => {
                self.metrics.runs_completed.with([&resolution]).inc();
                Step::Again
            }
            Err(error) => {
                self.metrics.compaction_failures.with([&resolution]).inc();
                self.handle_failure(view, group, &plan, error).await
            }
        }
    }

    /// What is next for a group, after the marks that planning found to be due.
    async fn next_plan(
        &self,
        group: &Group,
        restraint: &Restraint,
        memory: &Memory,
    ) -> Result<Option<CompactionPlan>, PassError> {
        let GroupPlan {
            compaction,
            marks,
            overlaps,
        } = plan_group(group, &restraint.not_compacted, &self.config.policy);
        let overlapping: Vec<BlockId> = overlaps.into_iter().flat_map(|overlap| overlap.blocks).collect();
        let is_overlap = !overlapping.is_empty();
        self.note_overlaps(&group.key, overlapping);
        if is_overlap && self.config.halts_on_error {
            return Err(PassError::Halt(format!("blocks of group {} overlap", group.key)));
        }
        for mark in &marks {
            self.mark_no_compact(mark).await?;
        }
        let Some(plan) = compaction else { return Ok(None) };
        if !memory.may_begin(&plan) {
            let what =
                format!("{SAME_PLAN} times the same blocks were to be compacted and nothing came of it");
            return Err(PassError::Retry(what));
        }
        Ok(Some(plan))
    }

    /// Compacts the blocks of a plan and marks them.
    async fn compact_plan(
        &self,
        view: &View,
        group: &Group,
        plan: &CompactionPlan,
        downsample_to_ms: Option<i64>,
    ) -> Result<(), JobError> {
        let ids: Vec<BlockId> = plan.sources.iter().map(BlockInfo::id).collect();
        let compaction = Compaction {
            group,
            plan,
            rule: self.config.rule,
            downsample_to_ms,
            ids: self.names_for(&ids),
        };
        let progress = Arc::new(JobProgress::default());
        let running = Running::compaction(group, plan, &progress, self.now_ms());
        let running = self.board.begin(running);
        let started = Instant::now();
        let compacted = compact(
            &self.context,
            view,
            &compaction,
            Arc::clone(&progress),
            &self.clock,
        )
        .await?;
        drop(running);
        self.metrics
            .read_bytes
            .inc_by(progress.read_bytes.load(Ordering::Relaxed));
        self.report_health(plan, &compacted.health);
        self.names_taken(&ids);
        self.absolve(ids.iter().copied(), Work::Compaction);
        if compacted.block.is_none() {
            return self.mark_empty(plan).await;
        }
        self.tell_compacted(group, plan, &compacted, started);
        self.mark_sources(ids).await
    }

    fn tell_compacted(&self, group: &Group, plan: &CompactionPlan, compacted: &Compacted, started: Instant) {
        let resolution = CompactorMetrics::resolution(group.resolution_ms);
        self.metrics.compactions.with([&resolution]).inc();
        if plan.is_vertical {
            self.metrics.vertical.with([&resolution]).inc();
        }
        let Some(block) = &compacted.block else { return };
        self.metrics.written_samples.inc_by(block.stats.num_samples);
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(
            group = group.key,
            block = %block.ulid,
            sources = plan.sources.len(),
            series = block.stats.num_series,
            samples = block.stats.num_samples,
            read_bytes = plan.size_bytes(),
            seconds,
            "blocks are compacted"
        );
        if let Some(coarse) = &compacted.downsampled {
            self.metrics.downsamples.with([&resolution]).inc();
            self.metrics
                .downsample_seconds
                .with([&resolution])
                .observe(seconds);
            tracing::info!(
                block = %coarse.ulid,
                resolution_ms = coarse.resolution_ms(),
                samples = coarse.stats.num_samples,
                "the result is downsampled in the same pass"
            );
        }
    }

    /// What was seen of the sources on the way, and is no reason to leave them alone.
    fn report_health(&self, plan: &CompactionPlan, health: &[(BlockId, Health)]) {
        for (block, health) in health {
            if health.at_end > 0 {
                tracing::warn!(%block, chunks = health.at_end, "chunks that begin at the end of the block are left out");
            }
            let source = plan.sources.iter().find(|source| source.id() == *block);
            let Some(stats) = source.map(|source| &source.meta.stats) else {
                continue;
            };
            let counted = (health.series, health.chunks);
            let stated = (stats.num_series, stats.num_chunks);
            if stated != (0, 0) && stated != counted {
                self.metrics.wrong_stats.inc();
                tracing::warn!(
                    %block,
                    file = "meta.json",
                    stated_series = stated.0,
                    stated_chunks = stated.1,
                    series = counted.0,
                    chunks = counted.1,
                    "stats of the block are wrong, those of the result are counted anew"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::block;

    /// Whatever a step says of itself: an iteration comes to its end.
    #[test]
    fn the_same_plan_is_begun_a_few_times_in_an_iteration_and_no_more() {
        let plan = |n| CompactionPlan {
            sources: vec![block(n, 0, 2), block(n + 1, 2, 4)],
            is_vertical: false,
        };
        let memory = Memory::default();
        for _ in 0..SAME_PLAN {
            assert!(memory.may_begin(&plan(1)));
        }
        assert!(!memory.may_begin(&plan(1)));
        assert!(memory.may_begin(&plan(2)), "other blocks are another plan");
        assert!(
            Memory::default().may_begin(&plan(1)),
            "the next iteration tries again"
        );
    }
}
