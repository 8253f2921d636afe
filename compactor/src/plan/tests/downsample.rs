//! Downsampling and retention.

mod short;

use sabre_block::View;

use super::*;

fn due(blocks: &[BlockInfo]) -> Vec<(u8, i64)> {
    let plans = plan_downsampling(blocks, &Restraint::default(), &Policy::default(), 0);
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

/// Nothing is missing of no sources: then any aggregate at all would do.
#[test]
fn a_block_without_sources_is_covered_by_what_was_made_of_it_and_by_nothing_else() {
    let nameless = with_sources(block(9, 0, 48), &[]);
    let five = |n, sources: &[u8]| at_resolution(with_sources(block(n, 48, 96), sources), RESOLUTION_5M_MS);
    let others = [nameless.clone(), five(10, &[1]), five(11, &[])];
    for blocks in [std::slice::from_ref(&nameless), &others] {
        assert_eq!(due(blocks), [(9, RESOLUTION_5M_MS)]);
        assert_eq!(retained(blocks, 48, 0, 0, 500), (vec![], vec![9]));
    }
    let both = [nameless, five(10, &[1, 9])];
    assert!(due(&both).is_empty());
    assert_eq!(retained(&both, 48, 0, 0, 500), (vec![9], vec![]));
}

#[test]
fn candidates_come_by_name_and_marks_and_the_switch_count() {
    let blocks = [block(3, 48, 96), block(2, 0, 48), block(4, 96, 144)];
    assert_eq!(
        due(&blocks).iter().map(|(n, _)| *n).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    let restraint = Restraint {
        not_downsampled: BTreeSet::from([id(3)]),
        ..Restraint::default()
    };
    let marked = plan_downsampling(&blocks, &restraint, &Policy::default(), 0);
    assert_eq!(marked.len(), 2);
    let off = Policy {
        downsamples: false,
        ..Policy::default()
    };
    assert!(plan_downsampling(&blocks, &Restraint::default(), &off, 0).is_empty());
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
    let at = |hours: i64| plan_downsampling(&blocks, &Restraint::default(), &policy, hours * HOUR_MS).len();
    assert_eq!((at(348), at(349)), (1, 0));
}

fn keeping(raw_h: i64, five_h: i64, hour_h: i64) -> Policy {
    Policy {
        retention: RetentionPolicy {
            raw_ms: raw_h * HOUR_MS,
            five_minutes_ms: five_h * HOUR_MS,
            one_hour_ms: hour_h * HOUR_MS,
        },
        ..Policy::default()
    }
}

fn retained(blocks: &[BlockInfo], raw_h: i64, five_h: i64, hour_h: i64, now_h: i64) -> (Vec<u8>, Vec<u8>) {
    let restraint = Restraint::default();
    retained_with(blocks, &restraint, &keeping(raw_h, five_h, hour_h), now_h)
}

/// The numbers of the blocks that expire, and of those that wait.
fn retained_with(
    blocks: &[BlockInfo],
    restraint: &Restraint,
    policy: &Policy,
    now_h: i64,
) -> (Vec<u8>, Vec<u8>) {
    let view = View {
        metas: blocks.iter().map(|block| Arc::clone(&block.meta)).collect(),
        ..View::default()
    };
    let plan = retention_of(&view, restraint, policy, now_h * HOUR_MS);
    let expired = numbers(plan.expired.iter().map(BlockInfo::id));
    (expired, numbers(plan.kept.iter().map(|kept| kept.block.id())))
}

#[test]
fn blocks_expire_strictly_after_their_time_by_resolution() {
    // All three are there, so none waits for another.
    let made = |n, resolution_ms| at_resolution(with_sources(block(n, 0, 2), &[9]), resolution_ms);
    let blocks = [made(1, 0), made(2, RESOLUTION_5M_MS), made(3, RESOLUTION_1H_MS)];
    for (kept_h, order) in [
        ((48, 60, 72), [1, 2, 3]),
        ((72, 48, 60), [2, 3, 1]),
        ((60, 72, 48), [3, 1, 2]),
    ] {
        let policy = keeping(kept_h.0, kept_h.1, kept_h.2);
        let expired_at = |ms: i64| {
            let plan = plan_retention(&blocks, &Restraint::default(), &policy, ms);
            numbers(plan.expired.iter().map(BlockInfo::id))
        };
        for (count, hours) in (1..).zip([50, 62, 74]) {
            let mut gone = order[..count].to_vec();
            gone.sort_unstable();
            assert_eq!(expired_at(hours * HOUR_MS + 1), gone, "{kept_h:?}");
            assert_eq!(expired_at(hours * HOUR_MS).len(), count - 1, "{kept_h:?}");
        }
    }
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
        retained(std::slice::from_ref(&raw), 48, 48, 0, 500),
        (vec![], vec![1]),
        "data of 1 h is made from data of 5 m"
    );
    let five = at_resolution(with_sources(block(2, 0, 48), &[1]), RESOLUTION_5M_MS);
    assert_eq!(retained(&[raw, five], 48, 0, 0, 200), (vec![1], vec![]));
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
    let never = Restraint {
        never_downsampled: BTreeSet::from([id(1)]),
        ..Restraint::default()
    };
    let plan = plan_retention(&blocks, &never, &policy, 100 * HOUR_MS);
    assert_eq!((plan.expired.len(), plan.kept.len()), (1, 0));
}

/// A mark says that it goes, and a fault that it is of no use: the raw data is all there is.
#[test]
fn a_raw_block_waits_for_an_aggregate_that_can_be_relied_on() {
    let raw = block(1, 0, 48);
    let five = at_resolution(with_sources(block(2, 0, 48), &[1]), RESOLUTION_5M_MS);
    let blocks = [raw, five];
    let policy = keeping(48, 0, 0);
    let mut restraint = Restraint::default();
    assert_eq!(
        retained_with(&blocks, &restraint, &policy, 200),
        (vec![1], vec![])
    );
    restraint.not_relied_on.insert(id(2));
    assert_eq!(
        retained_with(&blocks, &restraint, &policy, 200),
        (vec![], vec![1])
    );
}

/// Data of 5 minutes that is past its retention goes. Were it made again from raw data that is kept for longer, it would
/// go again, with every run.
#[test]
fn what_has_data_of_1_hour_is_not_downsampled_again_when_its_data_of_5_minutes_has_expired() {
    let raw = block(1, 0, 336);
    let hour = at_resolution(with_sources(block(2, 0, 336), &[1]), RESOLUTION_1H_MS);
    let policy = keeping(0, 240, 0);
    let at = |blocks: &[BlockInfo], now_h: i64| {
        plan_downsampling(blocks, &Restraint::default(), &policy, now_h * HOUR_MS).len()
    };
    let both = [raw.clone(), hour];
    assert_eq!(
        at(&both, 500),
        1,
        "data of 5 minutes is still kept, and not there"
    );
    assert_eq!(at(&both, 577), 0);
    assert_eq!(at(&[raw], 577), 1, "data of 1 hour is to be made of it");
    assert_eq!(
        retained_with(&both, &Restraint::default(), &keeping(1, 240, 0), 577).0,
        [1]
    );
}

#[test]
fn nothing_is_downsampled_while_the_result_may_be_a_block_that_cannot_be_read() {
    let blocks = [
        block(1, 0, 48),
        block(2, 0, 24),
        block(3, 24, 48),
        block(4, 48, 50),
    ];
    let held = Restraint {
        holds_aggregates: true,
        ..Restraint::default()
    };
    let policy = Policy::default();
    assert_eq!(
        plan_downsampling(&blocks, &Restraint::default(), &policy, 0).len(),
        1
    );
    assert!(plan_downsampling(&blocks, &held, &policy, 0).is_empty());
    let plan = plan_group(&one_group(&blocks[1..]), &BTreeSet::new(), &policy);
    let plan = plan.compaction.unwrap();
    let due = |restraint| due_from_result(&plan, &blocks[1..], restraint, &policy, 0);
    let free = Restraint::default();
    assert_eq!(due(&free), Some(RESOLUTION_5M_MS));
    assert_eq!(due(&held), None);
}
