//! Short blocks whose data retention takes away: an aggregate is made of them, however short they are.
//!
//! Fortnights begin at hour 0; data of a range may come until 48 h after its end, aggregates until 144 h.

use super::*;

const EVER: i64 = 0;

fn five(n: u8, from_h: i64, to_h: i64) -> BlockInfo {
    at_resolution(block(n, from_h, to_h), RESOLUTION_5M_MS)
}

fn due_with(blocks: &[BlockInfo], restraint: &Restraint, policy: &Policy, now_h: i64) -> Vec<(u8, i64)> {
    let plans = plan_downsampling(blocks, restraint, policy, now_h * HOUR_MS);
    let pair = |plan: &DownsamplePlan| (numbers([plan.block.id()])[0], plan.to_ms);
    plans.iter().map(pair).collect()
}

/// The numbers of what is due where raw data is kept for 40 h and data of 5 minutes for 10 days.
fn due_at(blocks: &[BlockInfo], now_h: i64) -> Vec<u8> {
    let due = due_with(blocks, &Restraint::default(), &keeping(40, 240, EVER), now_h);
    due.into_iter().map(|(n, _)| n).collect()
}

fn marked(n: u8) -> Restraint {
    Restraint {
        not_compacted: BTreeSet::from([id(n)]),
        marked_no_compact: BTreeSet::from([id(n)]),
        ..Restraint::default()
    }
}

#[test]
fn a_short_block_waits_for_its_aggregate_and_goes_when_that_is_there() {
    let raw = block(1, 0, 2);
    let alone = std::slice::from_ref(&raw);
    assert_eq!(retained(alone, 40, EVER, EVER, 5_000), (vec![], vec![1]));
    let made = [
        raw,
        at_resolution(with_sources(block(2, 0, 2), &[1]), RESOLUTION_5M_MS),
    ];
    assert_eq!(retained(&made, 40, EVER, EVER, 5_000), (vec![1], vec![]));
    assert_eq!(
        retained(&made, 40, 40, EVER, 5_000),
        (vec![1], vec![2]),
        "data of 1 h is still to be made"
    );
    assert_eq!(retained(&made, 40, 40, 40, 5_000), (vec![1, 2], vec![]));
}

#[test]
fn a_short_block_is_downsampled_when_its_fortnight_is_over() {
    let raw = [block(1, 0, 14)];
    assert_eq!((due_at(&raw, 384), due_at(&raw, 385)), (vec![], vec![1]));
    let second = [block(1, 336, 350)];
    assert_eq!((due_at(&second, 720), due_at(&second, 721)), (vec![], vec![1]));
}

#[test]
fn a_short_block_of_5_minutes_becomes_data_of_1_hour_when_its_fortnight_is_over() {
    let aggregate = [five(1, 0, 100)];
    assert_eq!(
        (due_at(&aggregate, 480), due_at(&aggregate, 481)),
        (vec![], vec![1])
    );
}

/// The ladder needs two blocks after a range. They come late where raw data is missing, or kept out by marks.
#[test]
fn a_short_block_of_5_minutes_waits_while_raw_data_still_comes() {
    let (first, second, raw) = (five(1, 0, 120), five(2, 120, 235), block(3, 596, 598));
    assert_eq!(due_at(&[first.clone(), second.clone()], 600), [1, 2]);
    assert!(due_at(&[first.clone(), second, raw.clone()], 600).is_empty());
    assert!(due_at(&[first.clone(), raw.clone()], 600).is_empty());
    let passed = [first, five(4, 400, 441), five(5, 450, 491), raw];
    assert_eq!(
        due_at(&passed, 600),
        [1],
        "the ladder is past it, and the others are not"
    );
}

/// Its data is part of the longer one's as soon as that is made.
#[test]
fn a_short_block_that_is_still_to_be_compacted_is_not_downsampled() {
    let mut blocks: Vec<BlockInfo> = (0..24_u8)
        .map(|n| block(n + 1, i64::from(n) * 2, i64::from(n) * 2 + 2))
        .collect();
    blocks.push(block(30, 96, 98));
    assert_eq!(due_at(&blocks, 1_000), [30]);
    assert_eq!(retained(&blocks, 40, EVER, EVER, 1_000).1.len(), 25);
}

#[test]
fn a_short_block_beside_one_that_was_found_broken_waits_for_it() {
    let mut blocks = vec![block(1, 0, 2), block(2, 2, 4), block(3, 4, 6)];
    blocks.extend([block(4, 94, 96), block(5, 96, 98)]);
    let broken = Restraint {
        not_compacted: BTreeSet::from([id(2)]),
        not_downsampled: BTreeSet::from([id(2)]),
        ..Restraint::default()
    };
    let policy = keeping(40, EVER, EVER);
    let cut_off = [(4, RESOLUTION_5M_MS), (5, RESOLUTION_5M_MS)];
    assert_eq!(due_with(&blocks, &broken, &policy, 1_000), cut_off);
    let unread = Restraint {
        holds_gaps: true,
        ..marked(4)
    };
    assert_eq!(
        due_with(&blocks, &unread, &policy, 1_000),
        [(4, RESOLUTION_5M_MS)],
        "a mark decides, whatever may belong beside it"
    );
}

/// It may be taken away, as long as the block is there.
#[test]
fn a_block_with_a_mark_that_forbids_compaction_is_downsampled_when_its_time_is_over() {
    let blocks = [block(1, 0, 2), block(2, 2, 4), block(3, 4, 48), block(4, 48, 50)];
    let at = |raw_h, now_h| {
        let due = due_with(&blocks, &marked(2), &keeping(raw_h, EVER, EVER), now_h);
        due.into_iter().map(|(n, _)| n).collect::<Vec<_>>()
    };
    assert_eq!((at(40, 44), at(40, 45)), (vec![3], vec![2, 3]));
    assert_eq!(
        (at(1_000, 384), at(1_000, 385)),
        (vec![3], vec![1, 2, 3, 4]),
        "or its fortnight"
    );
    assert_eq!(at(EVER, 5_000), [3]);
}

#[test]
fn a_short_block_that_is_kept_for_ever_is_left_as_it_is() {
    let blocks = [block(1, 0, 14), five(2, 0, 100)];
    let due = |policy: &Policy| due_with(&blocks, &Restraint::default(), policy, 5_000);
    assert!(due(&keeping(EVER, EVER, EVER)).is_empty());
    assert_eq!(due(&keeping(EVER, 240, EVER)), [(2, RESOLUTION_1H_MS)]);
    let off = Policy {
        downsamples: false,
        ..keeping(40, 240, EVER)
    };
    assert!(due(&off).is_empty());
    let restraint = Restraint::default();
    assert_eq!(
        retained_with(&blocks, &restraint, &off, 5_000),
        (vec![1, 2], vec![])
    );
}

#[test]
fn nothing_is_made_of_a_short_block_that_nothing_would_outlive() {
    let raw = [block(1, 0, 14)];
    let at = |five_h, hour_h| due_with(&raw, &Restraint::default(), &keeping(40, five_h, hour_h), 5_000);
    assert!(at(100, 100).is_empty());
    assert_eq!(
        at(100, EVER),
        [(1, RESOLUTION_5M_MS)],
        "data of 1 h is made from it"
    );
    assert_eq!(retained(&raw, 40, 100, 100, 5_000), (vec![1], vec![]));
}

/// Thanos stops at aggregates that overlap.
#[test]
fn a_short_block_is_not_downsampled_into_what_is_there() {
    let (raw, around) = (block(1, 100, 102), five(2, 0, 200));
    let beside = five(5, 102, 200);
    let long = with_sources(block(6, 96, 144), &[1, 7]);
    let long = [long, around.clone()];
    let blocks = [raw.clone(), around];
    let policy = keeping(40, EVER, EVER);
    let free = Restraint::default();
    assert!(due_with(&blocks, &free, &policy, 5_000).is_empty());
    assert_eq!(
        retained_with(&blocks, &free, &policy, 5_000),
        (vec![], vec![1]),
        "nor lost"
    );
    let merging = Policy {
        vertical: true,
        merges_aggregates: true,
        ..policy.clone()
    };
    assert_eq!(due_with(&blocks, &free, &merging, 5_000), [(1, RESOLUTION_5M_MS)]);
    assert!(due_with(&long, &free, &policy, 5_000).is_empty());
    assert_eq!(due_with(&long, &free, &merging, 5_000), [(6, RESOLUTION_5M_MS)]);
    assert_eq!(
        due_with(&[raw, beside], &free, &policy, 5_000),
        [(1, RESOLUTION_5M_MS)]
    );
}

#[test]
fn neither_of_two_short_blocks_that_overlap_is_downsampled() {
    let policy = keeping(40, EVER, EVER);
    let blocks = [block(1, 0, 2), block(2, 0, 2)];
    for restraint in [Restraint::default(), marked(1)] {
        assert!(due_with(&blocks, &restraint, &policy, 5_000).is_empty());
        assert_eq!(
            retained_with(&blocks, &restraint, &policy, 5_000),
            (vec![], vec![1, 2])
        );
    }
}

/// The mark is taken away: what is made of the longer block has all that is in the shorter aggregates.
#[test]
fn a_block_that_is_compacted_after_all_is_downsampled_again_and_the_shorter_aggregate_is_garbage() {
    let short = at_resolution(with_sources(block(3, 2, 4), &[2]), RESOLUTION_5M_MS);
    let whole = with_sources(block(4, 0, 48), &[1, 2, 5]);
    let due = due_with(
        &[short.clone(), whole.clone()],
        &Restraint::default(),
        &keeping(40, EVER, EVER),
        50,
    );
    assert_eq!(due, [(4, RESOLUTION_5M_MS)]);
    let made = change(at_resolution(whole.clone(), RESOLUTION_5M_MS), |meta| {
        meta.ulid = id(6);
    });
    let mut view = View {
        metas: vec![whole.meta, made.meta],
        ..View::default()
    };
    view.duplicates = vec![short.meta];
    assert_eq!(numbers(plan_garbage(&view, &BTreeSet::new())), [3]);
}

/// Blocks of 5 minutes that become one would lie across what is still to be made of the raw data between them.
#[test]
fn aggregates_are_not_compacted_across_raw_data_of_which_one_is_still_to_come() {
    let mut blocks: Vec<BlockInfo> = [(0, 48), (48, 96), (144, 192), (192, 240), (336, 384), (384, 432)]
        .into_iter()
        .zip(1..)
        .map(|((from_h, to_h), n)| five(n, from_h, to_h))
        .collect();
    let planned = |blocks: &[BlockInfo], restraint: &Restraint, policy: &Policy| {
        let groups = planned_groups(blocks, restraint, policy, 440 * HOUR_MS);
        let group = groups
            .iter()
            .find(|group| group.resolution_ms == RESOLUTION_5M_MS)
            .unwrap();
        let plan = plan_group(group, &BTreeSet::new(), policy).compaction.unwrap();
        numbers(plan.sources.iter().map(BlockInfo::id))
    };
    let (free, policy) = (Restraint::default(), keeping(40, EVER, EVER));
    assert_eq!(planned(&blocks, &free, &policy), [1, 2, 3, 4]);
    blocks.push(block(9, 100, 114));
    assert_eq!(planned(&blocks, &free, &policy), [1, 2]);
    assert_eq!(
        planned(&blocks, &free, &keeping(EVER, EVER, EVER)),
        [1, 2, 3, 4],
        "nothing comes of it"
    );
    for restraint in [
        Restraint {
            never_downsampled: BTreeSet::from([id(9)]),
            ..Restraint::default()
        },
        Restraint {
            marked_for_deletion: BTreeSet::from([id(9)]),
            ..Restraint::default()
        },
    ] {
        assert_eq!(planned(&blocks, &restraint, &policy), [1, 2, 3, 4], "nor of this");
    }
    blocks.push(at_resolution(
        with_sources(block(10, 100, 114), &[9]),
        RESOLUTION_5M_MS,
    ));
    assert_eq!(planned(&blocks, &free, &policy), [1, 2, 10, 3, 4]);
}

/// Retention took away some of what the aggregate was made of. What is made of the rest and of a block that has no aggregate
/// would overlap it.
#[test]
fn what_has_no_aggregate_is_not_compacted_into_the_time_of_one_that_holds_more() {
    let blocks = [
        block(1, 32, 48),
        block(2, 240, 288),
        block(3, 288, 336),
        block(4, 336, 384),
        block(5, 384, 386),
        at_resolution(with_sources(block(6, 48, 336), &[2, 3, 7]), RESOLUTION_5M_MS),
    ];
    let planned = |policy: &Policy| {
        let groups = planned_groups(&blocks, &Restraint::default(), policy, 390 * HOUR_MS);
        let raw = groups.iter().find(|group| group.resolution_ms == 0).unwrap();
        let plan = plan_group(raw, &BTreeSet::new(), policy).compaction.unwrap();
        numbers(plan.sources.iter().map(BlockInfo::id))
    };
    assert_eq!(planned(&keeping(40, EVER, EVER)), [2, 3]);
    assert_eq!(planned(&keeping(EVER, EVER, EVER)), [1, 2, 3]);
    assert_eq!(due_at(&blocks, 385), [1, 4, 6], "it gets one of its own");
}
