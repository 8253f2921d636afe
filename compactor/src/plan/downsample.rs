//! Which blocks are due to be downsampled.

use std::collections::{BTreeMap, HashSet};

use sabre_model::BlockId;

use super::block::{BlockInfo, sources_of};
use super::guard::CompactionPlan;
use super::policy::{HOUR_MS, Policy, RESOLUTION_1H_MS, RESOLUTION_5M_MS};
use super::restraint::Restraint;
use super::simulate::virtual_result;

/// The least range of a raw block that is downsampled to 5 minutes.
const LEAST_RAW_RANGE_MS: i64 = 40 * HOUR_MS;
/// The least range of a block of 5 minutes that is downsampled to 1 hour.
const LEAST_5M_RANGE_MS: i64 = 240 * HOUR_MS;

/// A block that is due.
#[derive(Debug, Clone)]
pub struct DownsamplePlan {
    /// The block.
    pub block: BlockInfo,
    /// The resolution of the result, in milliseconds.
    pub to_ms: i64,
}

/// The resolution to which a block of this resolution and range is downsampled; `None` if it is not.
pub fn target_resolution(resolution_ms: i64, range_ms: i64) -> Option<i64> {
    match resolution_ms {
        0 if range_ms >= LEAST_RAW_RANGE_MS => Some(RESOLUTION_5M_MS),
        RESOLUTION_5M_MS if range_ms >= LEAST_5M_RANGE_MS => Some(RESOLUTION_1H_MS),
        _ => None,
    }
}

/// The blocks that are due, by name. `now_ms` is the time, in milliseconds since the epoch.
///
/// A block is not if the blocks of the coarser resolution, whatever their labels, have all its sources, if a restraint is
/// put on it, or if the result would be past its retention at once: it would be made again and again.
pub fn plan_downsampling(
    blocks: &[BlockInfo],
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> Vec<DownsamplePlan> {
    if !policy.downsamples || restraint.holds_aggregates {
        return Vec::new();
    }
    let covered = Covered::new(blocks);
    let mut due: Vec<DownsamplePlan> = Vec::new();
    for block in blocks {
        if restraint.not_downsampled.contains(&block.id()) {
            continue;
        }
        if let Some(to_ms) = covered.still_due(block, block.range_ms(), policy, now_ms) {
            due.push(DownsamplePlan {
                block: block.clone(),
                to_ms,
            });
        }
    }
    due.sort_by_key(|plan| plan.block.id());
    due
}

/// The resolution that is due from the result of a compaction as soon as it is there; `None` if none is. `blocks` are
/// all that there are.
pub fn due_from_result(
    plan: &CompactionPlan,
    blocks: &[BlockInfo],
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> Option<i64> {
    let result = virtual_result(plan, 0);
    let id = result.id();
    let mut blocks = blocks.to_vec();
    blocks.push(result);
    let due = plan_downsampling(&blocks, restraint, policy, now_ms);
    let due = due.iter().find(|due| due.block.id() == id);
    due.map(|due| due.to_ms)
}

/// The sources of all downsampled blocks, by resolution.
#[derive(Debug, Default)]
pub(super) struct Covered(BTreeMap<i64, HashSet<BlockId>>);

impl Covered {
    pub(super) fn new<'a>(blocks: impl IntoIterator<Item = &'a BlockInfo>) -> Self {
        let mut covered = Self::default();
        for block in blocks {
            let held = covered.0.entry(block.meta.resolution_ms()).or_default();
            held.extend(sources_of(&block.meta));
        }
        covered
    }

    /// Whether data of all sources of `block` is there at this resolution.
    fn has(&self, resolution_ms: i64, block: &BlockInfo) -> bool {
        let held = self.0.get(&resolution_ms);
        held.is_some_and(|held| sources_of(&block.meta).iter().all(|source| held.contains(source)))
    }

    /// The resolution that is still due from `block`, or from the block of `range_ms` that its data ends up in.
    ///
    /// None is that is there already, or that the policy does not keep beyond now. Data of 5 minutes past its retention is
    /// due all the same while data of 1 hour is to be made of it, and no longer.
    pub(super) fn still_due(
        &self,
        block: &BlockInfo,
        range_ms: i64,
        policy: &Policy,
        now_ms: i64,
    ) -> Option<i64> {
        let to_ms = target_resolution(block.meta.resolution_ms(), range_ms)?;
        let max_time = block.meta.max_time;
        let keeps = |resolution_ms| !policy.retention.is_expired(resolution_ms, max_time, now_ms);
        let goes_on = to_ms == RESOLUTION_5M_MS && range_ms >= LEAST_5M_RANGE_MS;
        let is_wanted =
            keeps(to_ms) || (goes_on && keeps(RESOLUTION_1H_MS) && !self.has(RESOLUTION_1H_MS, block));
        (is_wanted && !self.has(to_ms, block)).then_some(to_ms)
    }
}
