//! Which blocks can grow no more: nothing further will be compacted into what they are part of.

use std::collections::{BTreeMap, BTreeSet};

use sabre_model::{BlockId, Labels};

use super::block::BlockInfo;
use super::group::Group;
use super::ladder::aligned_start;
use super::policy::{HOUR_MS, Policy};
use super::restraint::Restraint;
use super::simulate::{first_free, simulate_from};

/// Blocks of raw data are uploaded, and a range of them is compacted, within so long after its end. Where none come for
/// longer, nothing is due from the range any more.
const LATE_RAW_MS: i64 = 48 * HOUR_MS;
/// The same for aggregates, whose blocks have 48 h: up to two have to follow before a range is compacted.
const LATE_AGGREGATES_MS: i64 = LATE_RAW_MS + 2 * 48 * HOUR_MS;

/// Those of `candidates` that can grow no more.
///
/// A block that was found broken, or overlaps others, counts as if it were mended: it and its neighbours could still be
/// compacted. So could blocks beside which one may belong whose `meta.json` cannot be read, and blocks in a range that newer
/// ones may still fill. A mark that keeps a block out of compaction may be taken away while newer ones come, but it is waited
/// for no longer than the block itself is kept: what follows is what somebody decided.
pub(super) fn closed(
    groups: &[Group],
    candidates: &BTreeSet<BlockId>,
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> BTreeSet<BlockId> {
    let marked: BTreeSet<BlockId> = (restraint.marked_no_compact.iter())
        .chain(&restraint.marked_for_deletion)
        .copied()
        .collect();
    let when_well = Policy {
        vertical: true,
        ..policy.clone()
    };
    let ends = Ends::of(groups);
    let mut closed = BTreeSet::new();
    for group in groups {
        let ladder = Ladder {
            policy,
            now_ms,
            holds_gaps: group.holds_gaps,
            reached_ms: reached_ms(group),
            fed_until_ms: ends.of_finer(group),
        };
        let may_be = |block: &&BlockInfo| {
            candidates.contains(&block.id()) && !ladder.is_open(block, marked.contains(&block.id()))
        };
        let mut of_group: BTreeSet<BlockId> = group.blocks.iter().filter(may_be).map(BlockInfo::id).collect();
        if of_group.is_empty() {
            continue;
        }
        let well = Group {
            holds_gaps: false,
            awaited: Vec::new(),
            ..group.clone()
        };
        // Where the blocks are those that a plan ends with, some have names of plans already.
        let first = first_free(&group.blocks);
        for plan in simulate_from(first, &well, &marked, &when_well).compactions {
            for source in &plan.sources {
                of_group.remove(&source.id());
            }
        }
        closed.append(&mut of_group);
    }
    closed
}

/// How far the compaction of a group has come.
#[derive(Debug)]
struct Ladder<'a> {
    policy: &'a Policy,
    now_ms: i64,
    /// Whether blocks of which nothing is known may belong into any gap.
    holds_gaps: bool,
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
    /// Whether newer blocks may still fill an aligned range around the block: the plans of now say nothing of it, as they
    /// leave the newest block alone, and what else is to come.
    ///
    /// While finer data comes, the blocks that have to follow will be made of it, however long that takes where parts of it
    /// are missing or kept out.
    fn is_open(&self, block: &BlockInfo, is_marked: bool) -> bool {
        let (resolution_ms, retention) = (block.meta.resolution_ms(), self.policy.retention);
        let is_due = || retention.is_expired(resolution_ms, block.meta.max_time, self.now_ms);
        match is_marked {
            true if is_due() => return false,
            false if self.holds_gaps => return true,
            _ => {}
        }
        let late_ms = match block.meta.resolution_ms() {
            0 => LATE_RAW_MS,
            _ => LATE_AGGREGATES_MS,
        };
        let may_come = |end: i64| self.now_ms <= end.saturating_add(late_ms);
        self.policy.ranges_ms.iter().any(|range_ms| {
            let end = aligned_start(block.meta.min_time, *range_ms).saturating_add(*range_ms);
            let is_open = may_come(end) || (self.reached_ms < end && may_come(self.fed_until_ms));
            *range_ms > block.range_ms() && block.meta.max_time <= end && is_open
        })
    }
}
