//! The plan of a group: the ladder, with what must not be done taken out of it.

use std::collections::{BTreeSet, HashSet};

use sabre_block::filter::sources_of;
use sabre_model::BlockId;
use sabre_tsdb::meta::NoCompactReason;

use super::block::BlockInfo;
use super::group::Group;
use super::ladder::{self, Candidate};
use super::policy::Policy;

/// Of the largest index that is allowed, so much is planned for: a merged index may be larger than its sources.
const INDEX_HEADROOM: f64 = 0.85;

/// Blocks that become one.
#[derive(Debug, Clone)]
pub struct CompactionPlan {
    /// The sources, by begin.
    pub sources: Vec<BlockInfo>,
    /// Whether some of them overlap.
    pub is_vertical: bool,
}

/// A mark that planning found to be due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMark {
    /// The block to be marked.
    pub block: BlockId,
    /// Why, for programs.
    pub reason: NoCompactReason,
    /// Why, for people.
    pub details: String,
}

/// Blocks that overlap although overlaps are not merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The blocks, by begin.
    pub blocks: Vec<BlockId>,
    /// Begin of the first, in milliseconds.
    pub min_time: i64,
    /// End of the last, in milliseconds.
    pub max_time: i64,
}

/// What is next for a group.
#[derive(Debug, Clone, Default)]
pub struct GroupPlan {
    /// The next compaction, if any.
    pub compaction: Option<CompactionPlan>,
    /// Marks to be written; planning has heeded them already.
    pub marks: Vec<NewMark>,
    /// Blocks that were left out because they overlap.
    pub overlaps: Vec<Overlap>,
}

impl CompactionPlan {
    /// Begin of the result, in milliseconds.
    pub fn min_time(&self) -> i64 {
        self.sources
            .iter()
            .map(|block| block.meta.min_time)
            .min()
            .unwrap_or(0)
    }

    /// End of the result, in milliseconds.
    pub fn max_time(&self) -> i64 {
        self.sources
            .iter()
            .map(|block| block.meta.max_time)
            .max()
            .unwrap_or(0)
    }

    /// Bytes that will be read.
    pub fn size_bytes(&self) -> u64 {
        self.sources
            .iter()
            .fold(0, |sum, block| sum.saturating_add(block.size_bytes))
    }
}

/// Plans the next compaction of a group, without the blocks that are `excluded`: those with a mark, and those that
/// were found broken; and not across gaps that a block may fill of which nothing is known.
pub fn plan_group(group: &Group, excluded: &BTreeSet<BlockId>, policy: &Policy) -> GroupPlan {
    let mut plan = GroupPlan::default();
    if group.blocks.len() < 2 {
        return plan;
    }
    let mut excluded = excluded.clone();
    if !policy.vertical {
        plan.overlaps = take_overlaps_out(group, &mut excluded);
    }
    loop {
        let candidates = candidates(group, &excluded);
        let sources = ladder::next(&candidates, &policy.ranges_ms, group.holds_gaps);
        if sources.is_empty() {
            return plan;
        }
        let is_vertical = !ladder::overlapping_run(&sources).is_empty();
        if !is_vertical {
            let cut_off = without_aggregate(&sources, &group.coarser);
            if !cut_off.is_empty() {
                excluded.extend(cut_off);
                continue;
            }
        }
        let mut marks =
            too_large_index(&sources, policy.max_index_bytes).map_or_else(Vec::new, |mark| vec![mark]);
        if marks.is_empty() && is_vertical && !policy.merges_aggregates {
            marks = downsampled_overlaps(&sources);
        }
        if marks.is_empty() {
            plan.compaction = Some(CompactionPlan {
                sources: sources.into_iter().cloned().collect(),
                is_vertical,
            });
            return plan;
        }
        excluded.extend(marks.iter().map(|mark| mark.block));
        plan.marks.append(&mut marks);
    }
}

/// The blocks of a group by begin, and in their places what is still to be made of finer ones, except beyond the newest block.
fn candidates<'a>(group: &'a Group, excluded: &BTreeSet<BlockId>) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'_>> = group
        .blocks
        .iter()
        .map(|block| Candidate {
            block,
            is_excluded: excluded.contains(&block.id()),
        })
        .collect();
    let newest = group.blocks.last().map(|block| block.meta.min_time);
    let within = group.awaited.iter();
    let within = within.filter(|block| newest.is_some_and(|newest| block.meta.min_time < newest));
    candidates.extend(within.map(|block| Candidate {
        block,
        is_excluded: true,
    }));
    candidates.sort_by_key(|candidate| (candidate.block.meta.min_time, candidate.block.id()));
    candidates
}

/// The sources that have no aggregate yet, where what is made of all would overlap one that is there: retention took some of
/// what that one was made of away. Such sources are downsampled without the others.
fn without_aggregate(sources: &[&BlockInfo], coarser: &[BlockInfo]) -> Vec<BlockId> {
    let held: HashSet<&BlockId> = coarser.iter().flat_map(|block| sources_of(&block.meta)).collect();
    let is_held = |block: &&BlockInfo| sources_of(&block.meta).iter().all(|source| held.contains(source));
    let missing: Vec<BlockId> = (sources.iter().filter(|block| !is_held(block)))
        .map(|block| block.id())
        .collect();
    if missing.len() == sources.len() {
        return Vec::new();
    }
    let own: HashSet<&BlockId> = sources.iter().flat_map(|block| sources_of(&block.meta)).collect();
    let begin = sources.iter().map(|block| block.meta.min_time).min().unwrap_or(0);
    let end = sources.iter().map(|block| block.meta.max_time).max().unwrap_or(0);
    let is_in_the_way = |other: &BlockInfo| {
        let overlaps = other.meta.min_time < end && begin < other.meta.max_time;
        overlaps && !sources_of(&other.meta).iter().all(|source| own.contains(source))
    };
    match coarser.iter().any(is_in_the_way) {
        true => missing,
        false => Vec::new(),
    }
}

/// Excludes every block that overlaps another, run by run.
fn take_overlaps_out(group: &Group, excluded: &mut BTreeSet<BlockId>) -> Vec<Overlap> {
    let mut overlaps = Vec::new();
    loop {
        let free: Vec<&BlockInfo> = group
            .blocks
            .iter()
            .filter(|block| !excluded.contains(&block.id()))
            .collect();
        let run = ladder::overlapping_run(&free);
        if run.is_empty() {
            return overlaps;
        }
        let blocks: Vec<BlockId> = run.iter().map(|block| block.id()).collect();
        excluded.extend(&blocks);
        overlaps.push(Overlap {
            blocks,
            min_time: run.iter().map(|block| block.meta.min_time).min().unwrap_or(0),
            max_time: run.iter().map(|block| block.meta.max_time).max().unwrap_or(0),
        });
    }
}

/// The mark for the largest index so far, as soon as the indexes together are too large.
fn too_large_index(sources: &[&BlockInfo], max_index_bytes: u64) -> Option<NewMark> {
    let limit_bytes = (max_index_bytes as f64 * INDEX_HEADROOM) as u64;
    let mut total_bytes: u64 = 0;
    let mut biggest: Option<&BlockInfo> = None;
    for block in sources {
        if biggest.is_none_or(|biggest| biggest.index_bytes < block.index_bytes) {
            biggest = Some(block);
        }
        total_bytes = total_bytes.saturating_add(block.index_bytes);
        if total_bytes >= limit_bytes {
            let marked = biggest?;
            return Some(NewMark {
                block: marked.id(),
                reason: NoCompactReason::IndexSizeExceeding,
                details: format!(
                    "indexes of the planned blocks have {total_bytes} bytes or more together, the limit is {limit_bytes}"
                ),
            });
        }
    }
    None
}

fn downsampled_overlaps(sources: &[&BlockInfo]) -> Vec<NewMark> {
    let downsampled = sources.iter().filter(|block| block.meta.resolution_ms() != 0);
    downsampled
        .map(|block| NewMark {
            block: block.id(),
            reason: NoCompactReason::DownsampleVerticalCompaction,
            details: "overlapping blocks of downsampled data are merged by penalty deduplication only"
                .to_owned(),
        })
        .collect()
}
