//! Everything that is to be done to a bucket, as of one sync.

use std::collections::{BTreeMap, BTreeSet};

use sabre_block::View;
use sabre_model::BlockId;
use sabre_objstore::PendingUpload;

use super::action::{Action, MarkReason};
use super::block::BlockInfo;
use super::cleaning::{plan_cleaning, plan_garbage};
use super::downsample::plan_downsampling;
use super::group::groups;
use super::policy::Policy;
use super::retention::{final_ranges, plan_retention};
use super::simulate::{is_size_mark, simulate};

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
        avoided,
        policy,
        now_ms,
    } = *input;
    let blocks = BlockInfo::all(view);
    let mut actions = avoid(&blocks, avoided);
    for block in plan_garbage(view) {
        actions.push(Action::MarkForDeletion {
            block,
            size_bytes: size_of(view, block),
            reason: MarkReason::Garbage,
        });
    }
    let deleted = view.marks.deletion.keys();
    let kept_out = view
        .marks
        .no_compact
        .keys()
        .chain(avoided.keys())
        .chain(deleted.clone());
    let excluded: BTreeSet<BlockId> = kept_out.copied().collect();
    let mut final_blocks = Vec::new();
    let groups = groups(&blocks);
    for group in &groups {
        let simulated = simulate(group, &excluded, policy);
        actions.extend(simulated.marks.into_iter().map(Action::MarkNoCompact));
        for overlap in simulated.overlaps {
            let group = group.key.clone();
            actions.push(Action::LeaveOverlap { group, overlap });
        }
        for (step, plan) in simulated.compactions.into_iter().enumerate() {
            let group = group.key.clone();
            actions.push(Action::Compact { group, plan, step });
        }
        final_blocks.extend(simulated.blocks);
    }
    let never: BTreeSet<BlockId> = view.marks.no_downsample.keys().copied().collect();
    let undue: BTreeSet<BlockId> = never
        .iter()
        .chain(avoided.keys())
        .chain(deleted)
        .copied()
        .collect();
    let due = plan_downsampling(&final_blocks, &undue, policy, now_ms);
    actions.extend(due.into_iter().map(Action::Downsample));
    let finals = final_ranges(view, &groups, policy);
    let retention = plan_retention(&blocks, &finals, &never, policy, now_ms);
    actions.extend(retention.kept.into_iter().map(Action::Wait));
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
    actions.extend(cleaning(view, pending, own, policy, now_ms));
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
    let plan = plan_cleaning(view, pending, own, policy.delete_delay_ms, now_ms);
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
            Self::LeaveOverlap { .. } | Self::Avoid { .. } => true,
            Self::MarkNoCompact(mark) => !is_size_mark(mark),
            _ => false,
        }
    }
}
