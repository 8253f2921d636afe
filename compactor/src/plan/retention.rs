//! Which blocks are past their time, and which of them wait for an aggregate.

use std::collections::{BTreeMap, BTreeSet};

use sabre_block::View;
use sabre_model::BlockId;

use super::block::BlockInfo;
use super::downsample::{Covered, is_wanted, target_resolution};
use super::group::Group;
use super::policy::Policy;
use super::restraint::Restraint;
use super::simulate::simulate;

/// A block past its time that stays, because an aggregate that outlives it is still to be made from it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The block.
    pub block: BlockInfo,
    /// The resolution that is due from it, in milliseconds.
    pub waits_for_ms: i64,
}

/// What retention says.
#[derive(Debug, Clone, Default)]
pub struct RetentionPlan {
    /// Blocks to be marked for deletion.
    pub expired: Vec<BlockInfo>,
    /// Blocks past their time that wait.
    pub kept: Vec<Kept>,
}

/// The range in milliseconds that each block will be part of when all is well: marked ones are left out, as marks are what
/// somebody decided. A block that was found broken, or overlaps others, counts as if it were mended: it and its neighbours
/// could still be compacted and downsampled then, and must not be deleted for a fault that somebody has yet to look at. The
/// same goes for blocks beside which one may belong whose `meta.json` cannot be read: together they may fill the longest
/// range there is.
pub fn final_ranges(view: &View, groups: &[Group], policy: &Policy) -> BTreeMap<BlockId, i64> {
    let marks = &view.marks;
    let marked: BTreeSet<BlockId> = (marks.no_compact.keys())
        .chain(marks.deletion.keys())
        .copied()
        .collect();
    let when_well = Policy {
        vertical: true,
        ..policy.clone()
    };
    let mut finals = BTreeMap::new();
    for group in groups {
        let well = Group {
            holds_gaps: false,
            ..group.clone()
        };
        finals.extend(simulate(&well, &marked, &when_well).finals);
        finals.extend(beside_unplaced(group, &marked, policy));
    }
    finals
}

/// The longest range, for blocks that may come to lie in one with a block of which nothing is known.
fn beside_unplaced(group: &Group, marked: &BTreeSet<BlockId>, policy: &Policy) -> Vec<(BlockId, i64)> {
    if !group.holds_gaps {
        return Vec::new();
    }
    let longest_ms = policy.ranges_ms.iter().copied().max().unwrap_or(0);
    let unmarked = group.blocks.iter().filter(|block| !marked.contains(&block.id()));
    unmarked
        .map(|block| (block.id(), longest_ms.max(block.range_ms())))
        .collect()
}

/// Plans retention of the blocks of a view.
pub fn retention_of(
    view: &View,
    groups: &[Group],
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> RetentionPlan {
    let mut blocks = BlockInfo::all(view);
    blocks.retain(|block| !restraint.not_retained.contains(&block.id()));
    let finals = final_ranges(view, groups, policy);
    plan_retention(&blocks, &finals, &restraint.never_downsampled, policy, now_ms)
}

/// Plans retention.
///
/// `finals` are [`final_ranges`]: a block of 2 h
/// whose aggregate comes from the 48 h block made of it must wait too. `never` are blocks that a mark keeps out of
/// downsampling: no aggregate is due from them.
pub fn plan_retention(
    blocks: &[BlockInfo],
    finals: &BTreeMap<BlockId, i64>,
    never: &BTreeSet<BlockId>,
    policy: &Policy,
    now_ms: i64,
) -> RetentionPlan {
    let covered = Covered::new(blocks);
    let mut plan = RetentionPlan::default();
    for block in blocks {
        let resolution_ms = block.meta.resolution_ms();
        if !policy
            .retention
            .is_expired(resolution_ms, block.meta.max_time, now_ms)
        {
            continue;
        }
        let range_ms = finals
            .get(&block.id())
            .copied()
            .unwrap_or(0)
            .max(block.range_ms());
        let due = target_resolution(resolution_ms, range_ms)
            .filter(|_| policy.downsamples && !never.contains(&block.id()))
            .filter(|to_ms| is_wanted(*to_ms, block.meta.max_time, range_ms, policy, now_ms))
            .filter(|to_ms| !covered.has(*to_ms, block));
        match due {
            Some(waits_for_ms) => plan.kept.push(Kept {
                block: block.clone(),
                waits_for_ms,
            }),
            None => plan.expired.push(block.clone()),
        }
    }
    plan
}
