//! Tables and properties of the planners.

mod cleaning;
mod course;
mod downsample;
mod ladder;
mod random;

use std::collections::BTreeSet;
use std::sync::Arc;

use sabre_model::{BlockId, Labels};
use sabre_tsdb::meta::{BlockMeta, Downsample, ThanosMeta};

use super::*;

/// A block number `n` of the range, in hours, and raw.
pub(crate) fn block(n: u8, from_h: i64, to_h: i64) -> BlockInfo {
    let mut meta = BlockMeta {
        ulid: id(n),
        min_time: from_h * HOUR_MS,
        max_time: to_h * HOUR_MS,
        ..BlockMeta::default()
    };
    meta.compaction.level = 1;
    meta.compaction.sources = vec![id(n)];
    meta.thanos = Some(ThanosMeta {
        labels: Some(Labels::from_pairs([("cluster", "eu1")]).unwrap()),
        ..ThanosMeta::default()
    });
    BlockInfo {
        meta: Arc::new(meta),
        index_bytes: 10,
        size_bytes: 100,
    }
}

pub(crate) fn id(n: u8) -> BlockId {
    BlockId::from_parts(1_000 + u64::from(n), [n; 10])
}

pub(crate) fn change(mut block: BlockInfo, change: impl FnOnce(&mut BlockMeta)) -> BlockInfo {
    change(Arc::make_mut(&mut block.meta));
    block
}

pub(crate) fn at_resolution(block: BlockInfo, resolution_ms: i64) -> BlockInfo {
    change(block, |meta| {
        meta.thanos.as_mut().unwrap().downsample = Downsample {
            resolution: resolution_ms,
            ..Downsample::default()
        };
    })
}

pub(crate) fn one_group(blocks: &[BlockInfo]) -> Group {
    let mut found = groups(blocks, false);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// The numbers of the planned blocks.
pub(crate) fn planned(blocks: &[BlockInfo], marked: &[u8], policy: &Policy) -> Vec<u8> {
    let excluded: BTreeSet<BlockId> = marked.iter().map(|n| id(*n)).collect();
    let plan = plan_group(&one_group(blocks), &excluded, policy);
    numbers(
        plan.compaction
            .iter()
            .flat_map(|plan| plan.sources.iter().map(BlockInfo::id)),
    )
}

pub(crate) fn numbers(ids: impl IntoIterator<Item = BlockId>) -> Vec<u8> {
    ids.into_iter().map(|id| id.to_bytes()[15]).collect()
}
