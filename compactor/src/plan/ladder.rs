//! Thanos' ladder: which blocks of a group are compacted next.

use super::block::BlockInfo;

/// A block is rewritten by itself when more than this share of its series has deletions.
const TOMBSTONES_SHARE: f64 = 0.05;

/// A block with the planners' word on whether it may be compacted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) block: &'a BlockInfo,
    /// Left out of plans, yet in its place: the ranges stay those they would be with it.
    pub(super) is_excluded: bool,
}

impl Candidate<'_> {
    fn min_time(&self) -> i64 {
        self.block.meta.min_time
    }

    fn max_time(&self) -> i64 {
        self.block.meta.max_time
    }
}

/// The next plan over blocks sorted by begin; empty if there is nothing to do.
///
/// Blocks that overlap come first and by themselves. Then the newest block, whatever it is, is left alone: late
/// blocks may still come to its side.
///
/// If it `holds_gaps`, nothing is planned across one.
pub(super) fn next<'a>(
    candidates: &[Candidate<'a>],
    ranges_ms: &[i64],
    holds_gaps: bool,
) -> Vec<&'a BlockInfo> {
    let free: Vec<&BlockInfo> = candidates
        .iter()
        .filter(|candidate| !candidate.is_excluded)
        .map(|candidate| candidate.block)
        .collect();
    let overlapping = overlapping_run(&free);
    if !overlapping.is_empty() {
        return overlapping;
    }
    let Some((_newest, older)) = candidates.split_last() else {
        return Vec::new();
    };
    let by_range = next_by_range(older, ranges_ms, holds_gaps);
    if !by_range.is_empty() {
        return by_range;
    }
    next_by_tombstones(older, ranges_ms)
}

/// The first run of blocks, sorted by begin, in which each overlaps one before it.
pub fn overlapping_run<'a>(blocks: &[&'a BlockInfo]) -> Vec<&'a BlockInfo> {
    let mut run: Vec<&BlockInfo> = Vec::new();
    let Some(first) = blocks.first() else { return run };
    let mut max_time = first.meta.max_time;
    for (previous, block) in blocks.iter().zip(blocks.iter().skip(1)) {
        if block.meta.min_time < max_time {
            if run.is_empty() {
                run.push(previous);
            }
            run.push(block);
        } else if !run.is_empty() {
            break;
        }
        max_time = max_time.max(block.meta.max_time);
    }
    run
}

/// The first aligned range, shortest first, whose blocks are complete: they fill it, or time has gone on.
fn next_by_range<'a>(older: &[Candidate<'a>], ranges_ms: &[i64], holds_gaps: bool) -> Vec<&'a BlockInfo> {
    let Some(high_time) = older.last().map(Candidate::min_time) else {
        return Vec::new();
    };
    for range_ms in ranges_ms.iter().skip(1) {
        for part in split_by_range(older, *range_ms) {
            let plan = plan_of_part(part, *range_ms, high_time, holds_gaps);
            if !plan.is_empty() {
                return plan;
            }
        }
    }
    Vec::new()
}

fn plan_of_part<'a>(
    part: &[Candidate<'a>],
    range_ms: i64,
    high_time: i64,
    holds_gaps: bool,
) -> Vec<&'a BlockInfo> {
    let (Some(first), Some(last)) = (part.first(), part.last()) else {
        return Vec::new();
    };
    let has_failed = part.iter().any(|one| one.block.meta.compaction.failed);
    let fills = last.max_time().saturating_sub(first.min_time()) == range_ms;
    if has_failed || part.len() < 2 || (!fills && last.max_time() > high_time) {
        return Vec::new();
    }
    let free = part.split(|one| one.is_excluded);
    let runs =
        free.flat_map(|run| run.chunk_by(|one, next| !holds_gaps || next.min_time() <= one.max_time()));
    let mut long_enough = runs.filter(|run| run.len() > 1);
    let run = long_enough.next().unwrap_or_default();
    run.iter().map(|one| one.block).collect()
}

/// Cuts blocks into runs that each lie in one aligned range. Blocks that lie in none are left out.
fn split_by_range<'s, 'a>(blocks: &'s [Candidate<'a>], range_ms: i64) -> Vec<&'s [Candidate<'a>]> {
    let mut parts = Vec::new();
    let mut rest = blocks;
    while let Some(first) = rest.first() {
        let end = aligned_start(first.min_time(), range_ms).saturating_add(range_ms);
        let fitting = rest.iter().take_while(|one| one.max_time() <= end).count();
        let (part, others) = rest.split_at(fitting.max(1).min(rest.len()));
        if fitting > 0 {
            parts.push(part);
        }
        rest = others;
    }
    parts
}

/// The begin of the aligned range that `min_time` lies in; truncating, as Prometheus does it.
pub(super) fn aligned_start(min_time: i64, range_ms: i64) -> i64 {
    let range_ms = range_ms.max(1);
    let from = if min_time >= 0 {
        min_time
    } else {
        min_time.saturating_sub(range_ms).saturating_add(1)
    };
    (from / range_ms).saturating_mul(range_ms)
}

/// The newest block with many deletions, among those that are large.
fn next_by_tombstones<'a>(older: &[Candidate<'a>], ranges_ms: &[i64]) -> Vec<&'a BlockInfo> {
    let Some(least_ms) = ranges_ms.get(ranges_ms.len() / 2) else {
        return Vec::new();
    };
    let free = older.iter().filter(|candidate| !candidate.is_excluded);
    for candidate in free.rev() {
        let block = candidate.block;
        if block.range_ms() < *least_ms {
            break;
        }
        let stats = &block.meta.stats;
        if stats.num_tombstones as f64 / (stats.num_series as f64 + 1.0) > TOMBSTONES_SHARE {
            return vec![block];
        }
    }
    Vec::new()
}
