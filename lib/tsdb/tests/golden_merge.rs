//! What Thanos' compactor made of the golden blocks, made again chunk by chunk.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test program: what goes wrong fails the test"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::collections::BTreeMap;

use sabre_model::Labels;
use sabre_tsdb::merge::{MergeError, OverlapRule, SeriesOrder, Trim, merge_chunks};
use sabre_tsdb::segment::SeriesChunk;
use support::blocks::{Block, Series, assert_same, blocks};

/// Symbol numbers for the labels of all sources, by which they order as the labels do.
fn refs(sources: &[&Series]) -> BTreeMap<Labels, Vec<(u32, u32)>> {
    let all = sources.iter().flat_map(|series| series.keys());
    let texts: std::collections::BTreeSet<&str> = all
        .clone()
        .flat_map(|labels| labels.into_iter().flat_map(|(name, value)| [name, value]))
        .collect();
    let numbers: BTreeMap<&str, u32> = texts.into_iter().zip(0..).collect();
    let refs = |labels: &Labels| {
        labels
            .into_iter()
            .map(|(name, value)| (numbers[name], numbers[value]))
            .collect()
    };
    all.map(|labels| (labels.clone(), refs(labels))).collect()
}

/// Merges blocks as a compaction does.
fn merge(rule: OverlapRule, sources: &[&Series], range: (i64, i64)) -> Series {
    let refs = refs(sources);
    let labels: BTreeMap<&Vec<(u32, u32)>, &Labels> =
        refs.iter().map(|(labels, refs)| (refs, labels)).collect();
    let mut cursors: Vec<_> = sources.iter().map(|series| series.iter()).collect();
    let mut heads: Vec<Option<&Vec<SeriesChunk>>> = vec![None; sources.len()];
    let mut order = SeriesOrder::new(sources.len());
    let (mut having, mut merged) = (Vec::new(), Series::new());
    loop {
        while let Some(source) = order.wanted() {
            let next = cursors[source].next();
            heads[source] = next.map(|(_, chunks)| chunks);
            order
                .push(source, next.map(|(labels, _)| refs[labels].clone()))
                .unwrap();
        }
        let Some(found) = order.pop(&mut having) else {
            return merged;
        };
        let trim = Trim::new(range.0, range.1 - 1, Vec::new());
        let lists = having.iter().map(|&source| {
            let chunks = heads[source].unwrap().iter().cloned();
            chunks
                .map(|chunk| trim.apply(chunk))
                .filter_map(Result::transpose)
        });
        let mut chunks = Vec::new();
        merge_chunks(rule, lists.collect(), |chunk| {
            chunks.push(chunk);
            Ok::<_, MergeError>(())
        })
        .unwrap();
        merged.insert(labels[&found].clone(), chunks);
    }
}

/// The blocks of a folder within the range of `result`, in the order of time.
fn within<'a>(blocks: &'a [Block], result: &Block) -> Vec<&'a Block> {
    let fits = |block: &&Block| {
        block.meta.min_time >= result.meta.min_time && block.meta.max_time <= result.meta.max_time
    };
    blocks.iter().filter(fits).collect()
}

fn range(block: &Block) -> (i64, i64) {
    (block.meta.min_time, block.meta.max_time)
}

/// Horizontal compaction: every chunk is carried over as bytes.
fn assert_horizontal(raw: &[Block], results: &[Block], at_least: usize) {
    let mut compacted = 0;
    for result in results.iter().filter(|result| result.meta.compaction.level > 1) {
        if result.meta.resolution_ms() != 0 {
            continue;
        }
        let labels = result.meta.ext_labels();
        let sources = within(raw, result)
            .into_iter()
            .filter(|block| block.meta.ext_labels() == labels);
        let sources: Vec<&Series> = sources.map(|block| &block.series).collect();
        let what = format!("{} {labels}", result.meta.ulid);
        assert_eq!(sources.len(), result.meta.compaction.sources.len(), "{what}");
        let made = merge(OverlapRule::Refuse, &sources, range(result));
        assert_same(&made, &result.series, &what);
        compacted += 1;
    }
    assert!(compacted >= at_least || results.is_empty(), "{compacted} blocks");
}

#[test]
fn horizontal_compaction_carries_chunks_over() {
    let raw: Vec<Block> = ["raw/raw2h-a", "raw/raw2h-b"]
        .into_iter()
        .flat_map(blocks)
        .collect();
    assert_horizontal(&raw, &blocks("thanos/plain"), 6);
    assert_horizontal(&blocks("raw/raw2d"), &blocks("thanos/long"), 1);
}

/// Replicas are merged two hours at a time, then the results become eight hours.
fn assert_deduplicated(rule: OverlapRule, folder: &str) {
    let (a, b) = (blocks("raw/raw2h-a"), blocks("raw/raw2h-b"));
    let results = blocks(folder);
    for result in &results {
        let (ours, theirs) = (within(&a, result), within(&b, result));
        assert_eq!(ours.len() + theirs.len(), result.meta.compaction.sources.len());
        let pairs = ours.iter().zip(&theirs);
        let merged: Vec<Series> = pairs
            .map(|(one, other)| merge(rule, &[&one.series, &other.series], range(one)))
            .collect();
        let what = format!("{folder} {}", result.meta.ulid);
        let made = match merged.as_slice() {
            [only] => only.clone(),
            several => merge(rule, &several.iter().collect::<Vec<_>>(), range(result)),
        };
        assert_same(&made, &result.series, &what);
    }
    assert!(results.len() == 4 || a.is_empty(), "{} blocks", results.len());
}

#[test]
fn one_to_one_deduplication_keeps_every_timestamp() {
    assert_deduplicated(OverlapRule::OneToOne, "thanos/chain");
}

#[test]
fn deduplication_by_penalty_stays_with_one_replica() {
    assert_deduplicated(OverlapRule::Penalty, "thanos/penalty");
}

/// The tests above stand on it.
#[test]
fn references_order_as_labels_do() {
    let blocks = blocks("raw/raw2h-a");
    let sources: Vec<&Series> = blocks.iter().map(|block| &block.series).collect();
    assert!(refs(&sources).values().is_sorted());
}
