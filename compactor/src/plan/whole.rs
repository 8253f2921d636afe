//! Everything that is to be done to a bucket, as of one sync.

use std::collections::BTreeMap;

use sabre_block::View;
use sabre_model::BlockId;
use sabre_objstore::PendingUpload;

use super::action::{Action, MarkReason};
use super::block::BlockInfo;
use super::cleaning::{plan_cleaning, plan_garbage};
use super::downsample::plan_downsampling;
use super::group::planned_groups;
use super::policy::Policy;
use super::restraint::Restraint;
use super::retention::retention_of;
use super::simulate::{first_free, is_size_mark, simulate_from};

/// What planning looks at.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The blocks of the bucket.
    pub view: &'a View,
    /// Uploads begun and not finished.
    pub pending: &'a [PendingUpload],
    /// Blocks an earlier run was writing when it stopped.
    pub own: &'a [BlockId],
    /// Blocks found broken, with what was found and when they are tried again.
    pub avoided: &'a BTreeMap<BlockId, (String, i64)>,
    /// Blocks that cannot be judged, with what was found.
    pub unclear: &'a BTreeMap<BlockId, String>,
    /// What is left alone.
    pub restraint: &'a Restraint,
    /// The settings.
    pub policy: &'a Policy,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
}

/// Plans everything, in the order in which it is done. Compactions whose sources are results of earlier ones are in it
/// too; what is downsampled is planned on the blocks that are there at the end of them.
pub fn plan_all(input: &PlanInput<'_>) -> Vec<Action> {
    let PlanInput {
        view,
        pending,
        own,
        policy,
        now_ms,
        ..
    } = *input;
    let mut actions = left_alone(input);
    let doubted = input.avoided.keys().copied().collect();
    for block in plan_garbage(view, &doubted) {
        actions.push(Action::MarkForDeletion {
            block,
            size_bytes: size_of(view, block),
            reason: MarkReason::Garbage,
        });
    }
    let blocks = BlockInfo::with_incomplete(view);
    let groups = planned_groups(&blocks, input.restraint, policy, now_ms);
    let mut final_blocks = Vec::new();
    for group in &groups {
        let first = first_free(&final_blocks);
        let simulated = simulate_from(first, group, &input.restraint.not_compacted, policy);
        actions.extend(simulated.marks.into_iter().map(Action::MarkNoCompact));
        for overlap in simulated.overlaps {
            let group = group.title();
            actions.push(Action::LeaveOverlap { group, overlap });
        }
        for (step, plan) in simulated.compactions.into_iter().enumerate() {
            let group = group.title();
            actions.push(Action::Compact { group, plan, step });
        }
        final_blocks.extend(simulated.blocks);
    }
    // A block that lacks a file counts for no aggregate either.
    final_blocks.retain(|block| !view.incomplete_metas.iter().any(|meta| meta.ulid == block.id()));
    let due = plan_downsampling(&final_blocks, input.restraint, policy, now_ms);
    actions.extend(due.into_iter().map(Action::Downsample));
    actions.extend(retention(input));
    actions.extend(cleaning(view, pending, own, policy, now_ms));
    actions
}

fn retention(input: &PlanInput<'_>) -> Vec<Action> {
    let PlanInput {
        view,
        restraint,
        policy,
        now_ms,
        ..
    } = *input;
    let retention = retention_of(view, restraint, policy, now_ms);
    let mut actions: Vec<Action> = retention.kept.into_iter().map(Action::Wait).collect();
    for block in retention.expired {
        if view.marks.deletion.contains_key(&block.id()) {
            continue;
        }
        let kept_ms = policy.retention.of(block.meta.resolution_ms()).unwrap_or(0);
        actions.push(Action::MarkForDeletion {
            block: block.id(),
            size_bytes: block.size_bytes,
            reason: MarkReason::Retention(kept_ms),
        });
    }
    actions
}

/// What is left alone, and named so that an operator sees it.
fn left_alone(input: &PlanInput<'_>) -> Vec<Action> {
    let mut actions = avoid(&BlockInfo::all(input.view), input.avoided);
    for (block, why) in input.unclear {
        actions.push(Action::LeaveUnclear {
            block: *block,
            size_bytes: size_of(input.view, *block),
            why: why.clone(),
        });
    }
    actions
}

fn avoid(blocks: &[BlockInfo], avoided: &BTreeMap<BlockId, (String, i64)>) -> Vec<Action> {
    let mut actions = Vec::new();
    for block in blocks {
        if let Some((why, until_ms)) = avoided.get(&block.id()) {
            actions.push(Action::Avoid {
                block: block.clone(),
                why: why.clone(),
                until_ms: *until_ms,
            });
        }
    }
    actions
}

fn cleaning(
    view: &View,
    pending: &[PendingUpload],
    own: &[BlockId],
    policy: &Policy,
    now_ms: i64,
) -> Vec<Action> {
    let plan = plan_cleaning(view, pending, own, policy, now_ms);
    let mut actions = Vec::new();
    for (block, marked_s) in plan.marked {
        actions.push(Action::Delete {
            block,
            size_bytes: size_of(view, block),
            marked_ms: marked_s.saturating_mul(1000),
        });
    }
    for (block, changed_ms) in plan.partial {
        actions.push(Action::DeletePartial {
            block,
            size_bytes: size_of(view, block),
            changed_ms,
        });
    }
    actions.extend(plan.uploads.into_iter().map(Action::AbortUpload));
    actions
}

fn size_of(view: &View, block: BlockId) -> u64 {
    view.listing.get(block).map_or(0, |objects| objects.size_bytes)
}

impl Action {
    /// Whether an operator has to look at it.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::LeaveOverlap { .. } | Self::Avoid { .. } | Self::LeaveUnclear { .. } => true,
            Self::MarkNoCompact(mark) => !is_size_mark(mark),
            _ => false,
        }
    }
}
