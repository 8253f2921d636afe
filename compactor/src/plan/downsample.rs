//! Which blocks are due to be downsampled.

use std::collections::{BTreeMap, HashMap, HashSet};

use sabre_block::filter::sources_of;
use sabre_model::{BlockId, Labels};

use super::block::BlockInfo;
use super::closed::closed;
use super::group::planned_groups;
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

/// The resolution that is made of data of this one, whatever its range; `None` if there is none.
pub(super) fn next_resolution(resolution_ms: i64) -> Option<i64> {
    match resolution_ms {
        0 => Some(RESOLUTION_5M_MS),
        RESOLUTION_5M_MS => Some(RESOLUTION_1H_MS),
        _ => None,
    }
}

/// The blocks that are due, by name. `now_ms` is the time, in milliseconds since the epoch.
///
/// A block is not if the blocks of the coarser resolution, whatever their labels, have all its sources, if a restraint is
/// put on it, or if the result would be past its retention at once: it would be made again and again.
///
/// Long blocks are due as in Thanos. Short ones are due too where retention will take them away, as soon as they can grow no
/// more: else nothing would be left of them. None is made that would overlap another that stays, as Thanos stops at those.
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
    let (mut due, mut short) = (Vec::new(), Vec::new());
    for block in blocks {
        if restraint.not_downsampled.contains(&block.id()) {
            continue;
        }
        if let Some(to_ms) = covered.due_by_range(block, policy, now_ms) {
            let block = block.clone();
            due.push(DownsamplePlan { block, to_ms });
        } else if let Some(to_ms) = covered.awaited_from(block, policy, now_ms) {
            let block = block.clone();
            short.push(DownsamplePlan { block, to_ms });
        }
    }
    grown_up(&mut short, blocks, restraint, policy, now_ms);
    due.append(&mut short);
    leave_room(&mut due, blocks, policy);
    due.sort_by_key(|plan| plan.block.id());
    due
}

/// Leaves those of the short blocks that can grow no more.
fn grown_up(
    short: &mut Vec<DownsamplePlan>,
    blocks: &[BlockInfo],
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) {
    if short.is_empty() {
        return;
    }
    let groups = planned_groups(blocks, restraint, policy, now_ms);
    let names = short.iter().map(|plan| plan.block.id()).collect();
    let closed = closed(&groups, &names, restraint, policy, now_ms);
    short.retain(|plan| closed.contains(&plan.block.id()));
}

/// Leaves the blocks whose aggregates would overlap no other that stays. Nor are short blocks left that overlap others of
/// their own resolution: these have an aggregate of their own to come.
fn leave_room(due: &mut Vec<DownsamplePlan>, blocks: &[BlockInfo], policy: &Policy) {
    if due.is_empty() || merges_all(policy) {
        return;
    }
    let mut others: HashMap<(i64, Labels), Vec<&BlockInfo>> = HashMap::new();
    for block in blocks {
        let group = (block.meta.resolution_ms(), block.meta.ext_labels());
        others.entry(group).or_default().push(block);
    }
    due.retain(|plan| {
        let block = &plan.block;
        let resolution_ms = block.meta.resolution_ms();
        let is_free = |resolution_ms: i64| {
            let others = others.get(&(resolution_ms, block.meta.ext_labels()));
            !others
                .into_iter()
                .flatten()
                .any(|other| is_in_the_way(other, block))
        };
        let is_long = target_resolution(resolution_ms, block.range_ms()).is_some();
        is_free(plan.to_ms) && (is_long || is_free(resolution_ms))
    });
}

/// Whether aggregates that overlap become one.
fn merges_all(policy: &Policy) -> bool {
    policy.vertical && policy.merges_aggregates
}

/// Whether another block covers some of the time of `block`, and would not be superfluous beside what is made of it.
fn is_in_the_way(other: &BlockInfo, block: &BlockInfo) -> bool {
    let (one, two) = (&other.meta, &block.meta);
    let overlaps = one.min_time < two.max_time && two.min_time < one.max_time;
    let held: HashSet<&BlockId> = sources_of(two).iter().collect();
    overlaps && !sources_of(one).iter().all(|source| held.contains(source))
}

/// The resolution that is due from the result of a compaction as soon as it is there, because of its range; `None` if none
/// is. `blocks` are all that there are.
pub fn due_from_result(
    plan: &CompactionPlan,
    blocks: &[BlockInfo],
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> Option<i64> {
    if !policy.downsamples || restraint.holds_aggregates {
        return None;
    }
    let result = virtual_result(plan, 0);
    let to_ms = Covered::new(blocks).due_by_range(&result, policy, now_ms)?;
    let is_beside = |other: &&BlockInfo| {
        other.meta.resolution_ms() == to_ms && other.meta.ext_labels() == result.meta.ext_labels()
    };
    let mut beside = blocks.iter().filter(is_beside);
    let is_free = merges_all(policy) || !beside.any(|other| is_in_the_way(other, &result));
    is_free.then_some(to_ms)
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

    /// The resolution that is due from `block` because of its range, as Thanos has it.
    fn due_by_range(&self, block: &BlockInfo, policy: &Policy, now_ms: i64) -> Option<i64> {
        let to_ms = target_resolution(block.meta.resolution_ms(), block.range_ms())?;
        let goes_on = block.range_ms() >= LEAST_5M_RANGE_MS
            || policy.retention.of(block.meta.resolution_ms()).is_some();
        self.is_wanted(to_ms, block, goes_on, policy, now_ms)
            .then_some(to_ms)
    }

    /// The resolution that has to be there, complete, before retention takes `block` away; `None` if none has to, or
    /// nothing ever takes it away.
    pub(super) fn awaited_from(&self, block: &BlockInfo, policy: &Policy, now_ms: i64) -> Option<i64> {
        let resolution_ms = block.meta.resolution_ms();
        policy.retention.of(resolution_ms)?;
        let to_ms = next_resolution(resolution_ms)?;
        self.is_wanted(to_ms, block, true, policy, now_ms)
            .then_some(to_ms)
    }

    /// Whether data at `to_ms` is still to be made of `block`.
    ///
    /// None is that is there already, or that the policy does not keep beyond now. Data of 5 minutes past its retention is
    /// all the same while it `goes_on`, so that data of 1 hour is to be made of it, and no longer.
    fn is_wanted(&self, to_ms: i64, block: &BlockInfo, goes_on: bool, policy: &Policy, now_ms: i64) -> bool {
        let keeps = |resolution_ms| {
            !policy
                .retention
                .is_expired(resolution_ms, block.meta.max_time, now_ms)
        };
        let is_kept = keeps(to_ms)
            || (to_ms == RESOLUTION_5M_MS
                && goes_on
                && keeps(RESOLUTION_1H_MS)
                && !self.has(RESOLUTION_1H_MS, block));
        is_kept && !self.has(to_ms, block)
    }
}
