//! Downsampling and retention.

use std::collections::BTreeMap;

use super::*;

fn due(blocks: &[BlockInfo]) -> Vec<(u8, i64)> {
    let plans = plan_downsampling(blocks, &BTreeSet::new(), &Policy::default(), 0);
    let pair = |plan: &DownsamplePlan| (plan.block.id().to_bytes()[15], plan.to_ms);
    plans.iter().map(pair).collect()
}

fn with_sources(block: BlockInfo, sources: &[u8]) -> BlockInfo {
    change(block, |meta| {
        meta.compaction.sources = sources.iter().map(|n| id(*n)).collect();
    })
}

#[test]
fn blocks_are_due_from_40_hours_and_from_10_days_on() {
    let five = |block| at_resolution(block, RESOLUTION_5M_MS);
    assert_eq!(due(&[block(1, 0, 40)]), [(1, RESOLUTION_5M_MS)]);
    assert!(due(&[block(1, 1, 40)]).is_empty());
    assert_eq!(due(&[five(block(1, 0, 240))]), [(1, RESOLUTION_1H_MS)]);
    assert!(due(&[five(block(1, 0, 239))]).is_empty());
    assert!(due(&[at_resolution(block(1, 0, 336), RESOLUTION_1H_MS)]).is_empty());
}

#[test]
fn a_block_is_covered_by_the_union_of_all_coarser_blocks() {
    let raw = with_sources(block(9, 0, 48), &[1, 2, 3]);
    let five = |n, sources: &[u8]| at_resolution(with_sources(block(n, 0, 24), sources), RESOLUTION_5M_MS);
    assert_eq!(due(&[raw.clone(), five(10, &[1, 2])]), [(9, RESOLUTION_5M_MS)]);
    assert!(due(&[raw, five(10, &[1, 2]), five(11, &[3])]).is_empty());
}

#[test]
fn candidates_come_by_name_and_marks_and_the_switch_count() {
    let blocks = [block(3, 48, 96), block(2, 0, 48), block(4, 96, 144)];
    assert_eq!(
        due(&blocks).iter().map(|(n, _)| *n).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    let marked = plan_downsampling(&blocks, &BTreeSet::from([id(3)]), &Policy::default(), 0);
    assert_eq!(marked.len(), 2);
    let off = Policy {
        downsamples: false,
        ..Policy::default()
    };
    assert!(plan_downsampling(&blocks, &BTreeSet::new(), &off, 0).is_empty());
}

#[test]
fn a_result_that_would_expire_at_once_is_not_made() {
    let policy = Policy {
        retention: RetentionPolicy {
            five_minutes_ms: 300 * HOUR_MS,
            ..RetentionPolicy::default()
        },
        ..Policy::default()
    };
    let blocks = [block(1, 0, 48)];
    let at = |hours: i64| plan_downsampling(&blocks, &BTreeSet::new(), &policy, hours * HOUR_MS).len();
    assert_eq!((at(348), at(349)), (1, 0));
}

fn retained(blocks: &[BlockInfo], raw_h: i64, five_h: i64, hour_h: i64, now_h: i64) -> (Vec<u8>, Vec<u8>) {
    let policy = Policy {
        retention: RetentionPolicy {
            raw_ms: raw_h * HOUR_MS,
            five_minutes_ms: five_h * HOUR_MS,
            one_hour_ms: hour_h * HOUR_MS,
        },
        ..Policy::default()
    };
    let mut finals = BTreeMap::new();
    for group in groups(blocks, false) {
        finals.extend(simulate(&group, &BTreeSet::new(), &policy).finals);
    }
    let plan = plan_retention(blocks, &finals, &BTreeSet::new(), &policy, now_h * HOUR_MS);
    let expired = numbers(plan.expired.iter().map(BlockInfo::id));
    (expired, numbers(plan.kept.iter().map(|kept| kept.block.id())))
}

#[test]
fn blocks_expire_strictly_after_their_time_by_resolution() {
    let blocks = [block(1, 0, 2), at_resolution(block(2, 0, 2), RESOLUTION_5M_MS)];
    assert_eq!(retained(&blocks, 48, 0, 0, 50), (vec![], vec![]));
    let just_after = Policy {
        retention: RetentionPolicy {
            raw_ms: 48 * HOUR_MS,
            ..RetentionPolicy::default()
        },
        ..Policy::default()
    };
    let plan = plan_retention(
        &blocks,
        &BTreeMap::new(),
        &BTreeSet::new(),
        &just_after,
        50 * HOUR_MS + 1,
    );
    assert_eq!(numbers(plan.expired.iter().map(BlockInfo::id)), [1]);
    assert_eq!(retained(&blocks, 0, 48, 0, 51), (vec![2], vec![]));
    assert_eq!(retained(&blocks, 0, 0, 0, 1 << 30), (vec![], vec![]));
}

#[test]
fn a_raw_block_waits_for_the_aggregate_that_outlives_it() {
    let raw = block(1, 0, 48);
    assert_eq!(
        retained(std::slice::from_ref(&raw), 48, 0, 0, 200),
        (vec![], vec![1])
    );
    assert_eq!(
        retained(std::slice::from_ref(&raw), 48, 48, 48, 200),
        (vec![1], vec![]),
        "no aggregate would outlive it"
    );
    assert_eq!(
        retained(std::slice::from_ref(&raw), 48, 48, 0, 200),
        (vec![1], vec![]),
        "48 h alone never become data of 1 h"
    );
    assert_eq!(
        retained(&[block(1, 0, 336)], 48, 48, 0, 500),
        (vec![], vec![1]),
        "data of 1 h is made from data of 5 m"
    );
    let five = at_resolution(with_sources(block(2, 0, 48), &[1]), RESOLUTION_5M_MS);
    assert_eq!(retained(&[raw, five], 48, 0, 0, 200), (vec![1], vec![]));
}

#[test]
fn a_small_block_waits_while_the_large_one_is_still_to_be_made_of_it() {
    let mut blocks: Vec<BlockInfo> = (0..24)
        .map(|n| block(n + 1, i64::from(n) * 2, i64::from(n) * 2 + 2))
        .collect();
    blocks.push(block(30, 96, 98));
    let (expired, kept) = retained(&blocks, 48, 0, 0, 500);
    assert_eq!(kept.len(), 24);
    assert_eq!(expired, [30], "no aggregate is due from a lone block of 2 h");
}

#[test]
fn a_mark_that_forbids_downsampling_ends_the_wait() {
    let policy = Policy {
        retention: RetentionPolicy {
            raw_ms: HOUR_MS,
            ..RetentionPolicy::default()
        },
        ..Policy::default()
    };
    let blocks = [block(1, 0, 48)];
    let never = BTreeSet::from([id(1)]);
    let plan = plan_retention(&blocks, &BTreeMap::new(), &never, &policy, 100 * HOUR_MS);
    assert_eq!((plan.expired.len(), plan.kept.len()), (1, 0));
}
