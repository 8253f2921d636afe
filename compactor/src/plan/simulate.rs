//! What planning would do until nothing is left: for progress, for retention and for `--dry-run`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sabre_block::filter::sources_of;
use sabre_model::BlockId;
use sabre_tsdb::meta::{BlockMeta, NoCompactReason};

use super::block::BlockInfo;
use super::group::Group;
use super::guard::{CompactionPlan, GroupPlan, NewMark, Overlap, plan_group};
use super::policy::Policy;

/// All compactions of a group, in order, each on the results of those before.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    /// The compactions.
    pub compactions: Vec<CompactionPlan>,
    /// The marks that would be written.
    pub marks: Vec<NewMark>,
    /// Blocks that overlap and are left alone.
    pub overlaps: Vec<Overlap>,
    /// For each block of the group, the range of the block that its data ends up in, in milliseconds.
    pub finals: BTreeMap<BlockId, i64>,
    /// The blocks the group would end with.
    pub blocks: Vec<BlockInfo>,
}

/// How much there is to do; Thanos' `todo` metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Todo {
    /// Compactions.
    pub compactions: u64,
    /// Blocks that go into them.
    pub compaction_blocks: u64,
}

/// Plans a group again and again, with made-up results in the place of sources.
pub fn simulate(group: &Group, excluded: &BTreeSet<BlockId>, policy: &Policy) -> Simulated {
    simulate_from(0, group, excluded, policy)
}

/// The same, with the names of results from number `first` on: no other block may have one of them.
pub(super) fn simulate_from(
    first: u64,
    group: &Group,
    excluded: &BTreeSet<BlockId>,
    policy: &Policy,
) -> Simulated {
    let mut group = group.clone();
    let mut excluded = excluded.clone();
    let mut became: BTreeMap<BlockId, BlockId> = BTreeMap::new();
    let originals: Vec<BlockId> = group.blocks.iter().map(BlockInfo::id).collect();
    let mut simulated = Simulated::default();
    // Every step takes a block away or a mark of deletions off one: it ends.
    for step in first.. {
        let GroupPlan {
            compaction,
            marks,
            overlaps,
        } = plan_group(&group, &excluded, policy);
        excluded.extend(marks.iter().map(|mark| mark.block));
        simulated.marks.extend(marks);
        if step == first {
            simulated.overlaps = overlaps;
        }
        let Some(plan) = compaction else { break };
        let result = virtual_result(&plan, step);
        for source in &plan.sources {
            became.insert(source.id(), result.id());
        }
        group.blocks.retain(|block| !became.contains_key(&block.id()));
        group.blocks.push(result);
        group
            .blocks
            .sort_by_key(|block| (block.meta.min_time, block.id()));
        simulated.compactions.push(plan);
    }
    let ranges: BTreeMap<BlockId, i64> = group
        .blocks
        .iter()
        .map(|block| (block.id(), block.range_ms()))
        .collect();
    for original in originals {
        let mut id = original;
        while let Some(next) = became.get(&id) {
            id = *next;
        }
        simulated
            .finals
            .insert(original, ranges.get(&id).copied().unwrap_or(0));
    }
    simulated.blocks = group.blocks;
    simulated
}

/// Counts what is left to do in these groups.
pub fn todo(groups: &[Group], excluded: &BTreeSet<BlockId>, policy: &Policy) -> Todo {
    let mut todo = Todo::default();
    for group in groups {
        let simulated = simulate(group, excluded, policy);
        for plan in &simulated.compactions {
            todo.compactions = todo.compactions.saturating_add(1);
            todo.compaction_blocks = todo.compaction_blocks.saturating_add(plan.sources.len() as u64);
        }
    }
    todo
}

/// The block that a plan would make. Its name is made up, and like no name that a clock of our days gives.
pub(super) fn virtual_result(plan: &CompactionPlan, step: u64) -> BlockInfo {
    let metas = || plan.sources.iter().map(|block| &block.meta);
    let mut meta = plan
        .sources
        .first()
        .map_or_else(BlockMeta::default, |first| BlockMeta::clone(&first.meta));
    meta.ulid = BlockId::from_parts(VIRTUAL_TIME_MS.saturating_add(step), [0; 10]);
    (meta.min_time, meta.max_time) = (plan.min_time(), plan.max_time());
    let sources: BTreeSet<BlockId> = metas()
        .flat_map(|meta| sources_of(meta).iter().copied())
        .collect();
    meta.compaction.sources = sources.into_iter().collect();
    let level = metas().map(|meta| meta.compaction.level).max().unwrap_or(0);
    meta.compaction.level = level.saturating_add(1);
    meta.stats.num_tombstones = 0;
    let sum = |bytes: fn(&BlockInfo) -> u64| {
        let all = plan.sources.iter().map(bytes);
        all.fold(0, u64::saturating_add)
    };
    BlockInfo {
        meta: Arc::new(meta),
        index_bytes: sum(|block| block.index_bytes),
        size_bytes: sum(|block| block.size_bytes),
    }
}

/// The year 10889, the last that a name can tell.
const VIRTUAL_TIME_MS: u64 = 0xffff_0000_0000;

/// The first number of a name that none of the blocks has.
pub(super) fn first_free(blocks: &[BlockInfo]) -> u64 {
    let planned = blocks
        .iter()
        .map(BlockInfo::id)
        .filter(|block| is_planned(*block));
    let numbers = planned.map(|block| block.time_ms().cast_unsigned().saturating_sub(VIRTUAL_TIME_MS));
    numbers.max().map_or(0, |number| number.saturating_add(1))
}

/// Whether a name is that of a block that is only planned.
pub(super) fn is_planned(block: BlockId) -> bool {
    block.time_ms() >= VIRTUAL_TIME_MS.cast_signed()
}

/// Whether a mark keeps a block out because it is too large to be merged, which is no trouble.
pub(super) fn is_size_mark(mark: &NewMark) -> bool {
    mark.reason == NoCompactReason::IndexSizeExceeding
}
