//! What the process is doing, for people: as JSON and as a small page.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sabre_model::BlockId;
use serde::Serialize;

use crate::merge::JobProgress;
use crate::plan::{CompactionPlan, DownsamplePlan, Group};

/// How many errors are remembered.
const REMEMBERED_ERRORS: usize = 50;

/// What is shown; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    groups: Vec<GroupStatus>,
    running: Vec<Arc<Running>>,
    errors: VecDeque<ErrorStatus>,
    plan: String,
    planned_ms: i64,
}

/// A group as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GroupStatus {
    key: String,
    labels: std::collections::BTreeMap<String, String>,
    resolution_ms: i64,
    blocks: usize,
    /// How many of them are left alone.
    left_alone: usize,
    size_bytes: u64,
    #[serde(skip)]
    ids: Vec<BlockId>,
}

/// Blocks of a group that overlap, as they are shown.
#[derive(Debug, Serialize)]
pub(crate) struct OverlapStatus {
    pub(crate) group: String,
    pub(crate) blocks: Vec<String>,
}

/// An error as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ErrorStatus {
    time_ms: i64,
    error: String,
}

/// A job that runs.
#[derive(Debug)]
pub(crate) struct Running {
    what: &'static str,
    name: String,
    blocks: Vec<BlockId>,
    size_bytes: u64,
    since_ms: i64,
    progress: Arc<JobProgress>,
    number: u64,
}

/// Takes a job off the board when it ends.
#[derive(Debug)]
pub(crate) struct RunningGuard {
    board: Board,
    number: u64,
}

/// A job as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunningStatus {
    pub(crate) what: &'static str,
    pub(crate) name: String,
    pub(crate) blocks: Vec<String>,
    pub(crate) size_bytes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) samples: u64,
    pub(crate) samples_per_second: u64,
    pub(crate) running_ms: i64,
    pub(crate) left_ms: Option<i64>,
}

/// Everything, for the JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    groups: Vec<GroupStatus>,
    running: Vec<RunningStatus>,
    quarantined: Vec<QuarantinedStatus>,
    unclear: Vec<UnclearStatus>,
    overlapping: Vec<OverlapStatus>,
    /// Whether the process halted, as `--debug.halt-on-error` says.
    halted: bool,
    /// Whether something waits for an operator: what `thanos_compact_halted` says.
    stuck: bool,
    /// What waits for an operator, in words.
    trouble: String,
    errors: Vec<ErrorStatus>,
    plan: String,
    planned_ms: i64,
}

/// A block that is left alone, as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct QuarantinedStatus {
    pub(crate) block: String,
    pub(crate) work: crate::quarantine::Work,
    #[serde(flatten)]
    pub(crate) found: crate::quarantine::Quarantined,
}

/// A block that cannot be judged, as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct UnclearStatus {
    pub(crate) block: String,
    #[serde(flatten)]
    pub(crate) found: crate::unclear::Unclear,
}

/// What is left alone, as it is shown.
#[derive(Debug, Default)]
pub(crate) struct LeftAlone {
    pub(crate) quarantined: Vec<QuarantinedStatus>,
    pub(crate) unclear: Vec<UnclearStatus>,
    pub(crate) overlapping: Vec<OverlapStatus>,
    /// All blocks that are left alone.
    pub(crate) blocks: BTreeSet<BlockId>,
    /// Whether the process halted.
    pub(crate) halted: bool,
    /// What an operator has to look at, if there is anything.
    pub(crate) trouble: Option<String>,
}

impl Board {
    /// Shows the groups of the last look.
    pub(crate) fn show_groups(&self, groups: &[Group]) {
        let shown = groups.iter().map(|group| GroupStatus {
            key: group.key.clone(),
            labels: group.labels.to_map(),
            resolution_ms: group.resolution_ms,
            blocks: group.blocks.len(),
            left_alone: 0,
            ids: group.blocks.iter().map(crate::plan::BlockInfo::id).collect(),
            size_bytes: group
                .blocks
                .iter()
                .fold(0, |sum, block| sum.saturating_add(block.size_bytes)),
        });
        self.0.lock().groups = shown.collect();
    }

    /// Shows what is planned.
    pub(crate) fn show_plan(&self, plan: String, now_ms: i64) {
        let mut shown = self.0.lock();
        (shown.plan, shown.planned_ms) = (plan, now_ms);
    }

    /// Remembers an error.
    pub(crate) fn error(&self, time_ms: i64, error: String) {
        let errors = &mut self.0.lock().errors;
        errors.push_front(ErrorStatus { time_ms, error });
        errors.truncate(REMEMBERED_ERRORS);
    }

    /// Shows a job until the answer is dropped.
    pub(crate) fn begin(&self, running: Running) -> RunningGuard {
        let number = running.number;
        self.0.lock().running.push(Arc::new(running));
        RunningGuard {
            board: self.clone(),
            number,
        }
    }

    /// The jobs that run.
    pub(crate) fn running(&self, now_ms: i64) -> Vec<RunningStatus> {
        let shown = self.0.lock();
        shown
            .running
            .iter()
            .map(|running| running.status(now_ms))
            .collect()
    }

    /// Everything.
    pub(crate) fn status(&self, left: LeftAlone, now_ms: i64) -> Status {
        let running = self.running(now_ms);
        let shown = self.0.lock();
        let mut groups = shown.groups.clone();
        for group in &mut groups {
            let is_left_alone = |block: &&BlockId| left.blocks.contains(block);
            group.left_alone = group.ids.iter().filter(is_left_alone).count();
        }
        Status {
            groups,
            running,
            quarantined: left.quarantined,
            unclear: left.unclear,
            overlapping: left.overlapping,
            halted: left.halted,
            stuck: left.halted || left.trouble.is_some(),
            trouble: left.trouble.unwrap_or_default(),
            errors: shown.errors.iter().cloned().collect(),
            plan: shown.plan.clone(),
            planned_ms: shown.planned_ms,
        }
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        let number = self.number;
        self.board
            .0
            .lock()
            .running
            .retain(|running| running.number != number);
    }
}

impl Running {
    pub(crate) fn compaction(
        group: &Group,
        plan: &CompactionPlan,
        progress: &Arc<JobProgress>,
        now_ms: i64,
    ) -> Self {
        Self {
            what: if plan.is_vertical {
                "merge overlaps"
            } else {
                "compact"
            },
            name: group.key.clone(),
            blocks: plan.sources.iter().map(crate::plan::BlockInfo::id).collect(),
            size_bytes: plan.size_bytes(),
            since_ms: now_ms,
            progress: Arc::clone(progress),
            number: next_number(),
        }
    }

    pub(crate) fn downsampling(plan: &DownsamplePlan, progress: &Arc<JobProgress>, now_ms: i64) -> Self {
        Self {
            what: "downsample",
            name: plan.block.id().to_string(),
            blocks: vec![plan.block.id()],
            size_bytes: plan.block.size_bytes,
            since_ms: now_ms,
            progress: Arc::clone(progress),
            number: next_number(),
        }
    }

    fn status(&self, now_ms: i64) -> RunningStatus {
        let read_bytes = self.progress.read_bytes.load(Ordering::Relaxed);
        let samples = self.progress.samples.load(Ordering::Relaxed);
        let running_ms = now_ms.saturating_sub(self.since_ms).max(0);
        let elapsed_ms = u64::try_from(running_ms).unwrap_or(0);
        let left_bytes = self.size_bytes.saturating_sub(read_bytes);
        let left_ms = left_bytes.saturating_mul(elapsed_ms).checked_div(read_bytes);
        RunningStatus {
            what: self.what,
            name: self.name.clone(),
            blocks: self.blocks.iter().map(ToString::to_string).collect(),
            size_bytes: self.size_bytes,
            read_bytes,
            samples,
            samples_per_second: samples.saturating_mul(1000).checked_div(elapsed_ms).unwrap_or(0),
            running_ms,
            left_ms: left_ms.and_then(|left| i64::try_from(left).ok()),
        }
    }
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::block;

    #[test]
    fn a_job_is_shown_while_it_runs_with_what_is_left() {
        let board = Board::default();
        let progress = Arc::new(JobProgress::default());
        let plan = DownsamplePlan {
            block: block(1, 0, 48),
            to_ms: 300_000,
        };
        let guard = board.begin(Running::downsampling(&plan, &progress, 1_000));
        progress.read_bytes.store(25, Ordering::Relaxed);
        progress.samples.store(500, Ordering::Relaxed);
        let running = board.running(3_000);
        assert_eq!(running.len(), 1);
        assert_eq!(
            (running[0].left_ms, running[0].samples_per_second),
            (Some(6_000), 250)
        );
        drop(guard);
        assert!(board.running(3_000).is_empty());
    }

    #[test]
    fn only_the_last_errors_are_remembered() {
        let board = Board::default();
        for n in 0..100 {
            board.error(n, n.to_string());
        }
        let status = board.status(LeftAlone::default(), 0);
        assert_eq!(status.errors.len(), REMEMBERED_ERRORS);
        assert_eq!(status.errors[0].time_ms, 99);
    }
}
