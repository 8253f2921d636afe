//! Whatever the state: what must never be planned is not.

use jiff::civil::date;
use proptest::prelude::*;

use super::{
    super::*,
    years::{apply, contents, index, snapshot},
};
use crate::{
    cluster::{record::Record, snapshots::Phase},
    names::days_between,
    testing::lab,
};

const ORIGIN: Date = date(2026, 1, 1);

fn name(day: i64) -> String {
    lab::policy("logging-", 7, 9).names.name_of(add_days(ORIGIN, day))
}

prop_compose! {
    fn any_index()(day in 0_i64..12, uuid in 0_u8..3, docs in 0_u64..3, open in any::<bool>(), measured in 0_u8..4, writer in 0_u8..5) -> IndexState {
        let mut made = index(&name(day), &format!("u{uuid}"), docs);
        made.row.open = open || docs > 0;
        if measured == 0 {
            made.contents = Some(Err("no".to_owned()));
        }
        if writer == 0 {
            made.index.write_index_of = Some("alias a".to_owned());
        }
        made
    }
}

prop_compose! {
    fn any_snapshot()(
        day in 0_i64..12,
        of in 0_i64..14,
        generation in 1_u32..4,
        phase in 0_u8..8,
        failed in 0_u64..3,
        taken in 0_i64..20,
        uuid in 0_u8..3,
        docs in 0_u64..3,
        recorded in any::<bool>(),
    ) -> Snapshot {
        let index_name = name(day);
        let of = if of >= 12 { index_name.clone() } else { name(of) };
        let mut made = snapshot(&crate::names::snapshot_name(&index_name, generation), &index(&index_name, "x", 0), ORIGIN);
        made.phase = match phase {
            0 => Phase::Failed,
            1 => Phase::Partial,
            2 => Phase::InProgress,
            3 => Phase::Unknown("x".to_owned()),
            _ => Phase::Success,
        };
        made.failed_shards = failed.saturating_sub(1);
        made.record = recorded.then(|| Record { day: add_days(ORIGIN, taken), index: of, contents: contents(&format!("u{uuid}"), docs) });
        made
    }
}

fn any_state() -> impl Strategy<Value = ClusterState> {
    (
        proptest::collection::vec(any_index(), 0..12),
        proptest::collection::vec(any_snapshot(), 0..16),
    )
        .prop_map(|(mut indices, mut snapshots)| {
            indices.sort_by(|a, b| a.index.name.cmp(&b.index.name));
            indices.dedup_by(|a, b| a.index.name == b.index.name);
            snapshots.sort_by(|a, b| a.name.cmp(&b.name));
            snapshots.dedup_by(|a, b| a.name == b.name);
            ClusterState { indices, snapshots }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_planned_that_must_not_be(state in any_state(), today in 0_i64..30, index_retention in 0_u32..9, beside in 2_u32..6, max_deletes in 0_u32..4) {
        let day = add_days(ORIGIN, today);
        let policies = [lab::policy("logging-", index_retention, index_retention + beside)];
        let plan = plan(day, &state, &policies, max_deletes);
        let mut deletions = 0;
        let mut last = 0;
        for entry in &plan.entries {
            prop_assert!(entry.step.rank() >= last, "out of order");
            last = entry.step.rank();
            let index = state.indices.iter().find(|index| index.index.name == entry.name);
            let snapshot = state.snapshots.iter().find(|snapshot| snapshot.name == entry.name);
            match &entry.step {
                Step::DeleteIndex { uuid, snapshot } => {
                    deletions += 1;
                    let index = index.unwrap();
                    let holder = state.snapshots.iter().find(|found| found.name == *snapshot).unwrap();
                    let record = holder.record.as_ref().unwrap();
                    prop_assert!(index.row.open && index.index.write_index_of.is_none());
                    prop_assert_eq!(&index.index.uuid, uuid);
                    prop_assert!(holder.phase == Phase::Success && holder.failed_shards == 0);
                    prop_assert_eq!(Some(Ok(record.contents.clone())), index.contents.clone());
                    prop_assert!(record.day < day && holder.holds_all_of(&entry.name) && record.index == entry.name);
                    let read = policies[0].names.read(&entry.name).unwrap();
                    prop_assert!(days_between(read.day, day) > i64::from(index_retention));
                }
                Step::DeleteSnapshot { index, .. } => {
                    deletions += 1;
                    let snapshot = snapshot.unwrap();
                    prop_assert!(!state.indices.iter().any(|alive| alive.index.name == *index));
                    let read = policies[0].names.read(index).unwrap();
                    prop_assert!(days_between(read.day, day) >= i64::from(index_retention + beside));
                    prop_assert!(days_between(taken_on(snapshot).unwrap(), day) >= i64::from(beside));
                    prop_assert!(!matches!(snapshot.phase, Phase::InProgress | Phase::Unknown(_)));
                }
                Step::TakeSnapshot { snapshot, replaces, uuid } => {
                    for replaced in replaces {
                        let bad = state.snapshots.iter().find(|found| found.name == *replaced).unwrap();
                        prop_assert!(matches!(bad.phase, Phase::Failed | Phase::Partial));
                        prop_assert!(bad.record.as_ref().is_none_or(|record| record.contents.uuid == *uuid));
                    }
                    let taken = state.snapshots.iter().any(|found| found.name == *snapshot);
                    prop_assert!(!taken || replaces.contains(snapshot), "the name is free");
                }
                _ => {}
            }
        }
        prop_assert!(deletions <= 2 + max_deletes);
        let names: std::collections::BTreeSet<_> = plan.entries.iter().map(|entry| (&entry.name, entry.what == What::Index)).collect();
        prop_assert_eq!(names.len(), plan.entries.len(), "one entry for each");
    }

    #[test]
    fn a_plan_that_was_done_leaves_nothing_to_do_on_the_same_day(state in any_state(), today in 0_i64..30) {
        let day = add_days(ORIGIN, today);
        let policies = [lab::policy("logging-", 2, 4)];
        let mut state = state;
        let first = plan(day, &state, &policies, 1000);
        apply(&mut state, &first);
        let second = plan(day, &state, &policies, 1000);
        let mut left: Vec<_> = second.entries.iter().filter(|entry| entry.step.is_action()).collect();
        // The snapshots of an index that went just now may have expired before it.
        left.retain(|entry| !matches!(entry.step, Step::DeleteSnapshot { .. }));
        prop_assert!(left.is_empty(), "{:?}", left);
    }
}
