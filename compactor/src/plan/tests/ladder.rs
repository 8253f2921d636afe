//! The ladder, case by case.

use sabre_tsdb::meta::NoCompactReason;

use super::*;

/// No blocks.
const NONE: [u8; 0] = [];

fn vertical() -> Policy {
    Policy {
        vertical: true,
        ..Policy::default()
    }
}

fn run_of(first: u8, count: u8, from_h: i64, hours: i64) -> Vec<BlockInfo> {
    (0..count)
        .map(|n| {
            let begin = from_h + i64::from(n) * hours;
            block(first + n, begin, begin + hours)
        })
        .collect()
}

#[test]
fn a_full_range_is_compacted_when_a_newer_block_is_there() {
    let blocks = run_of(1, 5, 0, 2);
    assert_eq!(planned(&blocks, &[], &Policy::default()), [1, 2, 3, 4]);
    assert_eq!(
        planned(&blocks[..4], &[], &Policy::default()),
        NONE,
        "the newest block is never touched"
    );
    assert_eq!(planned(&blocks[..1], &[], &Policy::default()), NONE);
}

#[test]
fn a_range_with_gaps_is_compacted_once_time_has_gone_on() {
    let mut blocks = vec![block(1, 0, 2), block(2, 2, 4), block(3, 8, 10)];
    assert_eq!(
        planned(&blocks, &[], &Policy::default()),
        NONE,
        "the last left begins at 2 h"
    );
    blocks.push(block(4, 10, 12));
    assert_eq!(planned(&blocks, &[], &Policy::default()), [1, 2]);
}

#[test]
fn shorter_ranges_come_before_longer_ones() {
    let mut blocks = run_of(1, 6, 0, 8);
    blocks.extend([
        block(7, 48, 50),
        block(8, 50, 52),
        block(9, 52, 54),
        block(10, 54, 56),
        block(11, 56, 58),
    ]);
    assert_eq!(planned(&blocks, &[], &Policy::default()), [7, 8, 9, 10]);
    let eights = run_of(1, 7, 0, 8);
    assert_eq!(planned(&eights, &[], &Policy::default()), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn ranges_are_aligned_to_the_epoch_before_it_too() {
    let blocks = run_of(1, 6, -10, 2);
    assert_eq!(planned(&blocks, &[], &Policy::default()), [2, 3, 4, 5]);
}

#[test]
fn blocks_longer_than_the_range_are_skipped() {
    let mut blocks = vec![block(1, 0, 8)];
    blocks.extend(run_of(2, 5, 8, 2));
    assert_eq!(planned(&blocks, &[], &Policy::default()), [2, 3, 4, 5]);
}

#[test]
fn marked_blocks_split_a_range_and_keep_its_shape() {
    let blocks = run_of(1, 5, 0, 2);
    assert_eq!(planned(&blocks, &[3], &Policy::default()), [1, 2]);
    assert_eq!(planned(&blocks, &[2], &Policy::default()), [3, 4]);
    assert_eq!(planned(&blocks, &[2, 3], &Policy::default()), NONE);
    assert_eq!(
        planned(&blocks, &[5], &Policy::default()),
        [1, 2, 3, 4],
        "a marked newest block is the newest all the same"
    );
}

#[test]
fn a_range_with_a_failed_block_is_left_alone() {
    let mut blocks = run_of(1, 5, 0, 2);
    blocks[1] = change(blocks[1].clone(), |meta| meta.compaction.failed = true);
    assert_eq!(planned(&blocks, &[], &Policy::default()), NONE);
}

#[test]
fn overlaps_come_first_and_alone_when_they_are_merged() {
    let mut blocks = run_of(1, 5, 0, 2);
    blocks.extend([block(11, 0, 2), block(12, 2, 4)]);
    assert_eq!(planned(&blocks, &[], &vertical()), [1, 11]);
    let touching = [block(1, 0, 2), block(2, 2, 4)];
    assert_eq!(planned(&touching, &[], &vertical()), NONE, "ranges are half-open");
    let nested = [block(1, 0, 8), block(2, 2, 4), block(3, 6, 10), block(4, 10, 12)];
    assert_eq!(planned(&nested, &[], &vertical()), [1, 2, 3]);
    assert_eq!(planned(&nested, &[1], &vertical()), NONE);
}

#[test]
fn overlaps_are_left_alone_and_reported_when_they_are_not_merged() {
    let mut blocks = run_of(1, 10, 0, 2);
    blocks.push(block(11, 0, 2));
    let plan = plan_group(&one_group(&blocks), &BTreeSet::new(), &Policy::default());
    assert_eq!(plan.overlaps.len(), 1);
    assert_eq!(numbers(plan.overlaps[0].blocks.clone()), [1, 11]);
    let sources = plan.compaction.unwrap().sources;
    assert_eq!(
        numbers(sources.iter().map(BlockInfo::id)),
        [2, 3, 4],
        "the group goes on around them"
    );
}

#[test]
fn many_tombstones_rewrite_a_large_block() {
    let deleted = |block| {
        change(block, |meta| {
            meta.stats.num_series = 99;
            meta.stats.num_tombstones = 6;
        })
    };
    let blocks = [deleted(block(1, 0, 8)), block(2, 48, 50), block(3, 96, 98)];
    assert_eq!(
        planned(&blocks, &[], &Policy::default()),
        NONE,
        "a small newer block stops the search"
    );
    let blocks = [deleted(block(1, 0, 8)), block(3, 96, 98)];
    assert_eq!(planned(&blocks, &[], &Policy::default()), [1]);
    let few = change(blocks[0].clone(), |meta| meta.stats.num_tombstones = 5);
    assert_eq!(planned(&[few, block(3, 96, 98)], &[], &Policy::default()), NONE);
}

#[test]
fn the_largest_index_is_marked_when_the_result_would_be_too_large() {
    let mut blocks = run_of(1, 5, 0, 2);
    blocks[1].index_bytes = 54;
    let policy = Policy {
        max_index_bytes: 100,
        ..Policy::default()
    };
    let plan = plan_group(&one_group(&blocks), &BTreeSet::new(), &policy);
    assert_eq!(
        plan.compaction.map(|plan| plan.sources.len()),
        Some(4),
        "84 bytes are less than 85 % of 100"
    );
    blocks[1].index_bytes = 55;
    let plan = plan_group(&one_group(&blocks), &BTreeSet::new(), &policy);
    assert_eq!(plan.marks.len(), 1);
    assert_eq!(
        (plan.marks[0].block, &plan.marks[0].reason),
        (id(2), &NoCompactReason::IndexSizeExceeding)
    );
    let sources = plan.compaction.unwrap().sources;
    assert_eq!(numbers(sources.iter().map(BlockInfo::id)), [3, 4]);
}

/// The format allows for no index of 64 GiB: 85 % of it are planned for.
#[test]
fn no_index_of_64_gib_is_planned() {
    let of_gib = |gib: u64| {
        let mut blocks = run_of(1, 5, 0, 2);
        blocks.iter_mut().for_each(|block| block.index_bytes = gib << 30);
        let plan = plan_group(&one_group(&blocks), &BTreeSet::new(), &Policy::default());
        let sources = plan.compaction.map(|plan| plan.sources).unwrap_or_default();
        let marked = plan.marks.iter().map(|mark| mark.block);
        (numbers(marked), numbers(sources.iter().map(BlockInfo::id)))
    };
    assert_eq!(of_gib(13), (vec![], vec![1, 2, 3, 4]));
    assert_eq!(of_gib(14), (vec![1], vec![2, 3, 4]));
    assert_eq!(of_gib(28), (vec![1, 2, 3], vec![]));
    assert_eq!(of_gib(u64::MAX >> 30), (vec![1, 2, 3], vec![]));
}

#[test]
fn overlapping_downsampled_blocks_are_marked_unless_penalty_merges_them() {
    let blocks: Vec<BlockInfo> = [block(1, 0, 48), block(2, 0, 48), block(3, 48, 96)]
        .into_iter()
        .map(|block| at_resolution(block, RESOLUTION_5M_MS))
        .collect();
    let plan = plan_group(&one_group(&blocks), &BTreeSet::new(), &vertical());
    assert!(plan.compaction.is_none());
    assert_eq!(numbers(plan.marks.iter().map(|mark| mark.block)), [1, 2]);
    assert!(
        plan.marks
            .iter()
            .all(|mark| mark.reason == NoCompactReason::DownsampleVerticalCompaction)
    );
    let penalty = Policy {
        merges_aggregates: true,
        ..vertical()
    };
    assert_eq!(planned(&blocks, &[], &penalty), [1, 2]);
}

#[test]
fn a_lower_level_limit_cuts_the_ladder() {
    let blocks = run_of(1, 7, 0, 8);
    let policy = Policy {
        ranges_ms: RANGES_MS[..3].to_vec(),
        ..Policy::default()
    };
    assert_eq!(planned(&blocks, &[], &policy), NONE);
}

#[test]
fn labels_and_resolutions_make_groups_sorted_by_key() {
    let other = change(block(3, 0, 2), |meta| {
        let labels = Labels::from_pairs([("cluster", "us1")]).unwrap();
        meta.thanos.as_mut().unwrap().labels = Some(labels);
    });
    let blocks = [
        block(2, 2, 4),
        block(1, 0, 2),
        other,
        at_resolution(block(4, 0, 2), RESOLUTION_5M_MS),
    ];
    let found = groups(&blocks, false);
    assert_eq!(found.len(), 3);
    assert!(found.is_sorted_by(|a, b| a.key < b.key));
    let eu = found.iter().find(|group| group.blocks.len() == 2).unwrap();
    assert_eq!(eu.key, "0@1319708470537487294");
    assert_eq!(numbers(eu.blocks.iter().map(BlockInfo::id)), [1, 2]);
}

#[test]
fn nothing_is_planned_across_a_gap_that_a_block_may_fill() {
    let blocks = [
        block(1, 0, 2),
        block(2, 4, 6),
        block(3, 6, 8),
        block(4, 8, 10),
        block(5, 10, 12),
    ];
    let next = |holds_gaps| {
        let group = Group {
            holds_gaps,
            ..one_group(&blocks)
        };
        let plan = plan_group(&group, &BTreeSet::new(), &Policy::default());
        let sources = plan.compaction.map(|plan| plan.sources).unwrap_or_default();
        numbers(sources.iter().map(BlockInfo::id))
    };
    assert_eq!(next(false), [1, 2, 3], "a gap is no obstacle by itself");
    assert_eq!(next(true), [2, 3]);
}
