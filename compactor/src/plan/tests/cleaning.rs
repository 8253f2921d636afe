//! Cleaning, garbage, and the whole plan as a table.

use std::collections::{BTreeMap, BTreeSet};

use sabre_block::{
    BlockError, View,
    fetcher::{BlockListing, IncompleteBlock, PartialBlock, PartialReason},
    filter::State,
};
use sabre_objstore::{ObjectMeta, PendingUpload};
use sabre_tsdb::meta::DeletionMark;

use super::*;

fn mark(n: u8, deletion_time_s: i64) -> (BlockId, DeletionMark) {
    let mark = DeletionMark {
        id: id(n),
        details: String::new(),
        deletion_time_s,
    };
    (id(n), mark)
}

fn partial(newest_modified_ms: Option<i64>) -> PartialBlock {
    PartialBlock {
        reason: PartialReason::NoMeta,
        newest_modified_ms,
    }
}

const DAY_S: i64 = 86_400;

fn delay(delete_delay_ms: i64) -> Policy {
    Policy {
        delete_delay_ms,
        ..Policy::default()
    }
}

/// A listing in which the block has a `meta.json`.
fn with_listed_meta(n: u8) -> BlockListing {
    let mut listing = BlockListing::default();
    listing.add(&ObjectMeta {
        key: format!("{}/meta.json", id(n)),
        size_bytes: 1,
        last_modified_ms: 0,
    });
    listing
}

fn unreadable(n: u8) -> (BlockId, BlockError) {
    (id(n), BlockError::invalid(id(n), "meta.json", "no access"))
}

#[test]
fn marked_blocks_are_deleted_strictly_after_the_delay() {
    let mut view = View::default();
    view.marks.deletion.extend([mark(1, 0), mark(2, 1)]);
    let plan = plan_cleaning(&view, &[], &[], &delay(DAY_S * 1000), (DAY_S + 1) * 1000);
    assert_eq!(plan.marked, [(id(1), 0)]);
}

#[test]
fn marked_blocks_that_flags_leave_out_are_not_deleted() {
    let mut view = View::default();
    let marked = [mark(1, 0), mark(2, 0), mark(3, 0), mark(4, 0)];
    view.marks.deletion.extend(marked);
    view.dropped.insert(id(4), State::TooFresh);
    view.dropped.insert(id(1), State::LabelExcluded);
    view.dropped.insert(id(2), State::TimeExcluded);
    view.dropped.insert(id(3), State::Duplicate);
    let plan = plan_cleaning(&view, &[], &[], &delay(0), 1000);
    assert_eq!(plan.marked, [(id(3), 0)]);
}

#[test]
fn partial_uploads_are_deleted_after_48_hours_without_a_change() {
    let mut view = View::default();
    let now_ms = 100 * HOUR_MS;
    view.partial.insert(id(1), partial(Some(now_ms - 48 * HOUR_MS)));
    view.partial
        .insert(id(2), partial(Some(now_ms - 48 * HOUR_MS - 1)));
    view.partial.insert(id(3), partial(None));
    view.partial.insert(id(4), partial(Some(0)));
    view.marks.deletion.extend([mark(4, now_ms / 1000)]);
    let plan = plan_cleaning(&view, &[], &[], &delay(DAY_S * 1000), now_ms);
    assert_eq!(
        plan.partial.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [id(2), id(3)],
        "where nothing was listed the name tells the age; a mark means that a deletion was begun"
    );
}

#[test]
fn uploads_of_others_are_aborted_by_age_and_own_ones_at_once() {
    let upload = |n: u8, started_ms| PendingUpload {
        key: format!("{}/chunks/000001", id(n)),
        id: "u".to_owned(),
        started_ms,
    };
    let now_ms = 100 * HOUR_MS;
    let mut foreign = upload(4, 0);
    foreign.key = "no/block".to_owned();
    let pending = [upload(1, now_ms), upload(2, 0), upload(3, now_ms), foreign];
    let plan = plan_cleaning(&View::default(), &pending, &[id(3)], &delay(0), now_ms);
    assert_eq!(plan.uploads, [pending[1].clone(), pending[2].clone()]);
}

/// Nobody can read it any more, but somebody said what is to become of it.
#[test]
fn a_deletion_mark_releases_a_block_that_cannot_be_read() {
    let mut view = View::default();
    view.marks.deletion.extend([mark(1, 0), mark(2, 0)]);
    view.failures.extend([unreadable(1), unreadable(2)]);
    view.known.push(block(2, 0, 2).meta);
    let marked = |policy: &Policy, now_s: i64| {
        let plan = plan_cleaning(&view, &[], &[], policy, now_s * 1000);
        numbers(plan.marked.into_iter().map(|(block, _)| block))
    };
    let all = delay(DAY_S * 1000);
    assert_eq!(marked(&all, DAY_S), [0_u8; 0]);
    assert_eq!(marked(&all, DAY_S + 1), [1, 2]);
    let part = Policy {
        leaves_blocks_out: true,
        ..all
    };
    assert_eq!(
        marked(&part, DAY_S + 1),
        [2],
        "the other may be another compactor's, with another delay"
    );
    assert_eq!(marked(&part, 3 * DAY_S + 1), [1, 2]);
}

/// It was there when the bucket was listed, and all of the block's data may be there too.
#[test]
fn a_block_whose_meta_is_listed_is_no_upload_that_was_given_up() {
    let mut view = View {
        listing: with_listed_meta(1),
        ..View::default()
    };
    let corrupt = PartialBlock {
        reason: PartialReason::CorruptMeta("no JSON".to_owned()),
        newest_modified_ms: Some(0),
    };
    let now_ms = 100 * HOUR_MS;
    for listed in [partial(Some(0)), corrupt] {
        view.partial.extend([(id(1), listed), (id(2), partial(Some(0)))]);
        let plan = plan_cleaning(&view, &[], &[], &delay(0), now_ms);
        assert_eq!(plan.partial, [(id(2), 0)]);
    }
}

/// A block of 8 h, with the four it was made of as duplicates.
fn covered() -> View {
    let result = change(block(9, 0, 8), |meta| {
        meta.compaction.sources = (1..5).map(id).collect();
    });
    let sources = (1..5_u8).map(|n| block(n, i64::from(n) * 2 - 2, i64::from(n) * 2).meta);
    View {
        metas: vec![result.meta],
        duplicates: sources.collect(),
        ..View::default()
    }
}

fn garbage(view: &View) -> Vec<u8> {
    numbers(plan_garbage(view, &BTreeSet::new()))
}

#[test]
fn garbage_is_what_is_a_duplicate_and_not_marked_yet() {
    let mut view = covered();
    assert_eq!(garbage(&view), [1, 2, 3, 4]);
    view.marks.deletion.extend([mark(2, 0)]);
    assert_eq!(garbage(&view), [1, 3, 4]);
}

#[test]
fn only_a_block_that_is_there_to_stay_makes_others_garbage() {
    let mut marked = covered();
    marked.marks.deletion.extend([mark(9, 0)]);
    let mut unread = covered();
    unread.failures.extend([unreadable(9)]);
    let mut incomplete = covered();
    incomplete.incomplete.insert(id(9), IncompleteBlock::default());
    let mut dropped = covered();
    dropped.metas.clear();
    let mut foreign = covered();
    foreign.metas[0] = at_resolution(block(9, 0, 8), RESOLUTION_5M_MS).meta;
    for view in [marked, unread, incomplete, dropped, foreign] {
        assert_eq!(garbage(&view), [0_u8; 0], "{view:?}");
    }
    let found_broken = plan_garbage(&covered(), &BTreeSet::from([id(9)]));
    assert!(found_broken.is_empty());
    // Another one that stays covers them all the same.
    let mut both = covered();
    let second = change(block(10, 0, 8), |meta| {
        meta.compaction.sources = (1..5).map(id).collect();
    });
    both.metas.push(second.meta);
    both.marks.deletion.extend([mark(9, 0)]);
    assert_eq!(garbage(&both), [1, 2, 3, 4]);
}

/// Such a meta was edited by hand: it counts as its own source.
#[test]
fn a_block_that_names_no_sources_is_garbage_only_beside_what_was_made_of_it() {
    let mut view = covered();
    let nameless = change(block(7, 0, 2), |meta| meta.compaction.sources.clear());
    view.duplicates = vec![nameless.meta];
    assert_eq!(garbage(&view), [0_u8; 0]);
    let made_of_it = change(block(8, 0, 8), |meta| {
        meta.compaction.sources = vec![id(6), id(7)];
    });
    view.metas.push(made_of_it.meta);
    assert_eq!(garbage(&view), [7]);
}

#[test]
fn the_table_says_what_why_when_and_how_many_bytes() {
    let mut view = View::default();
    for n in 0..5 {
        view.metas
            .push(block(n + 1, i64::from(n) * 2, i64::from(n) * 2 + 2).meta);
    }
    view.metas.push(block(9, 0, 2).meta);
    let five = change(at_resolution(block(10, 0, 336), RESOLUTION_5M_MS), |meta| {
        meta.compaction.sources.push(id(5));
    });
    view.metas.push(five.meta);
    view.marks.deletion.extend([mark(20, 0)]);
    view.partial.insert(id(21), partial(Some(0)));
    let avoided = BTreeMap::from([(id(4), ("index: broken".to_owned(), 1_000))]);
    let policy = Policy {
        retention: RetentionPolicy {
            raw_ms: 300 * HOUR_MS,
            ..RetentionPolicy::default()
        },
        ..Policy::default()
    };
    let input = PlanInput {
        view: &view,
        pending: &[],
        own: &[],
        avoided: &avoided,
        unclear: &BTreeMap::from([(id(22), "meta.json: no JSON".to_owned())]),
        restraint: &Restraint {
            not_compacted: BTreeSet::from([id(4), id(20)]),
            ..Restraint::default()
        },
        policy: &policy,
        now_ms: 400 * HOUR_MS,
    };
    let actions = plan_all(&input);
    let text = render(&actions, &Young::default(), input.now_ms);
    for part in [
        "what",
        "bytes",
        "leave broken block",
        "index: broken",
        "leave unclear block",
        "meta.json: no JSON",
        "leave overlap",
        "of group 0@1319708470537487294 (full resolution, {cluster=\"eu1\"}) overlap",
        "compact",
        "downsample",
        "mark for deletion",
        "past the retention of 12d12h",
        "delete partial upload",
        "1970-01-01T00:00:01Z",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert_eq!(actions.iter().filter(|action| action.is_trouble()).count(), 3);
    assert_eq!(render(&[], &Young::default(), 0), "nothing to do");
}
