//! Which blocks are past their time, and which of them wait for an aggregate.

use sabre_block::View;

use super::block::BlockInfo;
use super::downsample::Covered;
use super::policy::Policy;
use super::restraint::Restraint;

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

/// Plans retention of the blocks of a view.
pub fn retention_of(view: &View, restraint: &Restraint, policy: &Policy, now_ms: i64) -> RetentionPlan {
    let mut blocks = BlockInfo::all(view);
    blocks.retain(|block| !restraint.not_retained.contains(&block.id()));
    plan_retention(&blocks, restraint, policy, now_ms)
}

/// Plans retention.
///
/// However short a block is, it waits for the aggregate that outlives it: a block of 2 h may still become part of one of
/// 48 h, and one that does not is downsampled by itself. No aggregate is due from blocks that a mark keeps out of
/// downsampling, and none counts as there that cannot be relied on.
pub fn plan_retention(
    blocks: &[BlockInfo],
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> RetentionPlan {
    let is_relied_on = |block: &&BlockInfo| !restraint.not_relied_on.contains(&block.id());
    let covered = Covered::new(blocks.iter().filter(is_relied_on));
    let mut plan = RetentionPlan::default();
    for block in blocks {
        let meta = &block.meta;
        if !policy
            .retention
            .is_expired(meta.resolution_ms(), meta.max_time, now_ms)
        {
            continue;
        }
        let is_downsampled = policy.downsamples && !restraint.never_downsampled.contains(&block.id());
        let awaited = covered
            .awaited_from(block, policy, now_ms)
            .filter(|_| is_downsampled);
        match awaited {
            Some(waits_for_ms) => plan.kept.push(Kept {
                block: block.clone(),
                waits_for_ms,
            }),
            None => plan.expired.push(block.clone()),
        }
    }
    plan
}
