//! The rules that close the holes of the old job, one test each.

use jiff::civil::date;

use super::{
    super::*,
    years::{contents, index, snapshot},
};
use crate::{cluster::snapshots::Phase, testing::lab};

const TODAY: Date = date(2026, 1, 20);
const OLD: &str = "logging-2026.01.10";

fn decide(state: &ClusterState, name: &str) -> (Step, String) {
    let plan = plan(TODAY, state, &[lab::policy("logging-", 7, 9)], 10);
    let found = plan.entries.into_iter().find(|entry| entry.name == name).unwrap();
    (found.step, found.why)
}

fn with(indices: Vec<IndexState>, snapshots: Vec<Snapshot>) -> ClusterState {
    ClusterState { indices, snapshots }
}

#[test]
fn an_empty_success_snapshot_of_a_missing_index_holds_nothing() {
    let old = index(OLD, "a", 3);
    let mut empty = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 17));
    empty.indices.clear();
    let (step, _) = decide(&with(vec![old], vec![empty]), OLD);
    assert!(matches!(step, Step::TakeSnapshot { snapshot, .. } if snapshot == "sn_logging-2026.01.10-2"));
}

#[test]
fn success_with_a_failed_shard_is_not_good() {
    let old = index(OLD, "a", 3);
    let mut bad = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 17));
    bad.failed_shards = 1;
    let (step, why) = decide(&with(vec![old], vec![bad]), OLD);
    assert!(
        matches!(step, Step::TakeSnapshot { replaces, .. } if replaces.is_empty()),
        "{why}"
    );
}

#[test]
fn an_index_is_deleted_no_earlier_than_the_day_after_its_snapshot() {
    let old = index(OLD, "a", 3);
    let today = snapshot("sn_logging-2026.01.10", &old, TODAY);
    assert_eq!(decide(&with(vec![old.clone()], vec![today]), OLD).0, Step::Keep);
    let yesterday = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 19));
    let (step, _) = decide(&with(vec![old], vec![yesterday]), OLD);
    assert!(matches!(step, Step::DeleteIndex { .. }));
}

#[test]
fn uuid_count_and_sequence_numbers_must_all_be_those_recorded() {
    let old = index(OLD, "a", 3);
    let taken = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 17));
    let mut other_seq = old.clone();
    other_seq.contents = Some(Ok(Contents::new("a".to_owned(), 3, &[(0, 8)].into())));
    for changed in [index(OLD, "b", 3), index(OLD, "a", 4), other_seq] {
        let (step, why) = decide(&with(vec![changed], vec![taken.clone()]), OLD);
        assert!(
            matches!(&step, Step::TakeSnapshot { snapshot, replaces, .. } if snapshot == "sn_logging-2026.01.10-2" && replaces.is_empty()),
            "{step:?} {why}"
        );
    }
}

#[test]
fn failed_and_partial_ones_are_replaced_while_their_index_exists() {
    for phase in [Phase::Failed, Phase::Partial] {
        let old = index(OLD, "a", 3);
        let mut bad = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 19));
        bad.phase = phase.clone();
        bad.failed_shards = 2;
        let (step, why) = decide(&with(vec![old.clone()], vec![bad.clone()]), OLD);
        let wanted = Step::TakeSnapshot {
            uuid: "a".to_owned(),
            snapshot: "sn_logging-2026.01.10".to_owned(),
            replaces: vec!["sn_logging-2026.01.10".to_owned()],
        };
        assert_eq!(step, wanted, "{why}");
        assert!(why.contains("sn_logging-2026.01.10 is "), "{why}");
        // The index is another one: what is in the bad snapshot is nowhere else.
        let (step, _) = decide(&with(vec![index(OLD, "b", 1)], vec![bad]), OLD);
        assert!(
            matches!(step, Step::TakeSnapshot { replaces, snapshot, .. } if replaces.is_empty() && snapshot.ends_with("-2"))
        );
    }
}

#[test]
fn without_a_record_age_of_index_and_snapshot_tell_whether_a_bad_one_is_replaced() {
    let mut old = index(OLD, "a", 3);
    let mut bad = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 19));
    (bad.phase, bad.record) = (Phase::Partial, None);
    let (step, _) = decide(&with(vec![old.clone()], vec![bad.clone()]), OLD);
    assert!(matches!(step, Step::TakeSnapshot { replaces, .. } if replaces.len() == 1));
    old.index.created_ms = bad.start_ms + 1;
    let (step, _) = decide(&with(vec![old], vec![bad]), OLD);
    assert!(matches!(step, Step::TakeSnapshot { replaces, .. } if replaces.is_empty()));
}

#[test]
fn a_snapshot_lives_until_its_index_is_gone_and_s_minus_i_days_after_it_was_taken() {
    let old = index(OLD, "a", 3);
    let name = "sn_logging-2026.01.10";
    let step = |taken: Date, alive: bool| {
        let indices = if alive { vec![old.clone()] } else { Vec::new() };
        decide(&with(indices, vec![snapshot(name, &old, taken)]), name).0
    };
    assert_eq!(step(date(2026, 1, 18), true), Step::Keep);
    assert!(matches!(
        step(date(2026, 1, 18), false),
        Step::DeleteSnapshot { .. }
    ));
    assert_eq!(step(date(2026, 1, 19), false), Step::Keep);
}

#[test]
fn without_a_record_the_servers_end_time_tells_when_it_was_taken() {
    let old = index(OLD, "a", 3);
    let mut taken = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 1));
    taken.record = None;
    taken.end_ms = 1_768_867_200_000; // 2026-01-20T00:00:00Z
    assert_eq!(taken_on(&taken), Some(TODAY));
    assert_eq!(
        decide(&with(Vec::new(), vec![taken.clone()]), &taken.name).0,
        Step::Keep
    );
    (taken.start_ms, taken.end_ms) = (0, 0);
    assert_eq!(
        decide(&with(Vec::new(), vec![taken.clone()]), &taken.name).0,
        Step::Stuck
    );
}

#[test]
fn unmeasured_closed_and_running_are_not_touched() {
    let mut closed = index(OLD, "a", 3);
    closed.row.open = false;
    assert_eq!(decide(&with(vec![closed], Vec::new()), OLD).0, Step::Stuck);
    let mut red = index(OLD, "a", 3);
    red.contents = Some(Err("the primary of shard 1 is not there".to_owned()));
    let (step, why) = decide(&with(vec![red], Vec::new()), OLD);
    assert!(step == Step::Stuck && why.contains("shard 1"), "{why}");
    let old = index(OLD, "a", 3);
    let mut running = snapshot("sn_logging-2026.01.10", &old, TODAY);
    running.phase = Phase::InProgress;
    assert_eq!(decide(&with(vec![old], vec![running]), OLD).0, Step::Keep);
}

#[test]
fn an_index_that_cannot_be_measured_is_never_proved_by_default_values() {
    let old = index(OLD, "a", 0);
    let mut bare = snapshot("sn_logging-2026.01.10", &old, date(2026, 1, 17));
    if let Some(record) = &mut bare.record {
        record.contents = contents("a", 0);
        record.index = "logging-2026.01.11".to_owned();
    }
    let (step, _) = decide(&with(vec![old], vec![bare]), OLD);
    assert!(
        matches!(step, Step::TakeSnapshot { .. }),
        "the record is of another index"
    );
}
