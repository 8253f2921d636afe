//! Which blocks are past their time, and which of them wait for an aggregate.

use std::collections::{BTreeMap, BTreeSet};

use sabre_block::View;
use sabre_model::{BlockId, Labels};

use super::block::BlockInfo;
use super::downsample::Covered;
use super::group::Group;
use super::ladder::aligned_start;
use super::policy::{HOUR_MS, Policy};
use super::restraint::Restraint;
use super::simulate::simulate;

/// Blocks of raw data are uploaded, and a range of them is compacted, within so long after its end. Where none come for
/// longer, nothing is due from the range any more.
const LATE_RAW_MS: i64 = 48 * HOUR_MS;
/// The same for aggregates, whose blocks have 48 h: up to two have to follow before a range is compacted.
const LATE_AGGREGATES_MS: i64 = LATE_RAW_MS + 2 * 48 * HOUR_MS;

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
/// range there is. And it goes for blocks in a range that newer ones may still fill.
pub fn final_ranges(view: &View, groups: &[Group], policy: &Policy, now_ms: i64) -> BTreeMap<BlockId, i64> {
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
    let ends = Ends::of(groups);
    for group in groups {
        let ladder = Ladder {
            policy,
            now_ms,
            reached_ms: reached_ms(group),
            fed_until_ms: ends.of_finer(group),
        };
        let well = Group {
            holds_gaps: false,
            ..group.clone()
        };
        finals.extend(simulate(&well, &marked, &when_well).finals);
        for block in &group.blocks {
            if marked.contains(&block.id()) {
                continue;
            }
            let may_be_ms = match group.holds_gaps {
                true => policy.ranges_ms.iter().copied().max().unwrap_or(0),
                false => ladder.open_range_ms(block),
            };
            let range_ms = finals.entry(block.id()).or_insert(0);
            *range_ms = may_be_ms.max(block.range_ms()).max(*range_ms);
        }
    }
    finals
}

/// How far the compaction of a group has come.
#[derive(Debug)]
struct Ladder<'a> {
    policy: &'a Policy,
    now_ms: i64,
    /// The ladder has decided on all ranges that end here or before.
    reached_ms: i64,
    /// Until when there is finer data, of which blocks of this group are made.
    fed_until_ms: i64,
}

/// The end of the data of each set of labels, by resolution.
#[derive(Debug)]
struct Ends<'a>(BTreeMap<&'a Labels, Vec<(i64, i64)>>);

impl<'a> Ends<'a> {
    fn of(groups: &'a [Group]) -> Self {
        let mut ends = BTreeMap::<_, Vec<_>>::new();
        for group in groups {
            let end = group.blocks.iter().map(|block| block.meta.max_time).max();
            let of_labels = ends.entry(&group.labels).or_default();
            of_labels.push((group.resolution_ms, end.unwrap_or(i64::MIN)));
        }
        Self(ends)
    }

    fn of_finer(&self, group: &Group) -> i64 {
        let of_labels = self.0.get(&group.labels).into_iter().flatten();
        let finer = of_labels.filter(|(resolution_ms, _)| *resolution_ms < group.resolution_ms);
        finer.map(|(_, end)| *end).max().unwrap_or(i64::MIN)
    }
}

/// The begin of the last block but one, which the ladder takes for the time.
fn reached_ms(group: &Group) -> i64 {
    let last_but_one = group.blocks.iter().rev().nth(1);
    last_but_one.map_or(i64::MIN, |block| block.meta.min_time)
}

impl Ladder<'_> {
    /// The longest aligned range around the block that newer ones may still fill, in milliseconds: the plans of now say nothing
    /// of it, as they leave the newest block alone, and what else is to come. 0 if there is none.
    ///
    /// While finer data comes, the blocks that have to follow will be made of it, however long that takes where parts of it
    /// are missing or kept out.
    fn open_range_ms(&self, block: &BlockInfo) -> i64 {
        let late_ms = match block.meta.resolution_ms() {
            0 => LATE_RAW_MS,
            _ => LATE_AGGREGATES_MS,
        };
        let may_come = |end: i64| self.now_ms <= end.saturating_add(late_ms);
        let mut longest_ms = 0;
        for range_ms in &self.policy.ranges_ms {
            let end = aligned_start(block.meta.min_time, *range_ms).saturating_add(*range_ms);
            let is_open = may_come(end) || (self.reached_ms < end && may_come(self.fed_until_ms));
            if block.meta.max_time <= end && is_open {
                longest_ms = longest_ms.max(*range_ms);
            }
        }
        longest_ms
    }
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
    let finals = final_ranges(view, groups, policy, now_ms);
    plan_retention(&blocks, &finals, restraint, policy, now_ms)
}

/// Plans retention.
///
/// `finals` are [`final_ranges`]: a block of 2 h whose aggregate comes from the 48 h block made of it must wait too. No
/// aggregate is due from blocks that a mark keeps out of downsampling, and none counts as there that cannot be relied on.
pub fn plan_retention(
    blocks: &[BlockInfo],
    finals: &BTreeMap<BlockId, i64>,
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> RetentionPlan {
    let is_relied_on = |block: &&BlockInfo| !restraint.not_relied_on.contains(&block.id());
    let covered = Covered::new(blocks.iter().filter(is_relied_on));
    let mut plan = RetentionPlan::default();
    for block in blocks {
        let resolution_ms = block.meta.resolution_ms();
        if !policy
            .retention
            .is_expired(resolution_ms, block.meta.max_time, now_ms)
        {
            continue;
        }
        let final_ms = finals.get(&block.id()).copied().unwrap_or(0);
        let range_ms = final_ms.max(block.range_ms());
        let is_downsampled = policy.downsamples && !restraint.never_downsampled.contains(&block.id());
        let due = covered
            .still_due(block, range_ms, policy, now_ms)
            .filter(|_| is_downsampled);
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
