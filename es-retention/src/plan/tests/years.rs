//! Every day of two years with a leap day, in five zones, for days, weeks and months.

use std::collections::BTreeMap;

use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};

use super::super::*;
use crate::{
    cluster::{indices::Blocks, record::Record, snapshots::Phase},
    names::{DatePattern, days_between},
};

const FROM: Date = date(2027, 7, 1);
const DAYS: i64 = 731;
const ZONES: [&str; 5] = [
    "UTC",
    "Europe/Berlin",
    "America/Los_Angeles",
    "Australia/Lord_Howe",
    "Atlantic/Azores",
];

pub(super) fn contents(uuid: &str, docs: u64) -> Contents {
    Contents::new(uuid.to_owned(), docs, &[(0, 7)].into())
}

pub(super) fn index(name: &str, uuid: &str, docs: u64) -> IndexState {
    IndexState {
        index: Index {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            created_ms: 1,
            write_index_of: None,
            blocks: Blocks::default(),
            aliases: BTreeMap::new(),
            data_stream: None,
        },
        row: IndexRow {
            open: true,
            ..IndexRow::default()
        },
        contents: Some(Ok(contents(uuid, docs))),
    }
}

pub(super) fn snapshot(name: &str, index: &IndexState, day: Date) -> Snapshot {
    Snapshot {
        name: name.to_owned(),
        uuid: format!("of-{name}"),
        phase: Phase::Success,
        indices: vec![index.index.name.clone()],
        failed_shards: 0,
        start_ms: 5,
        end_ms: 6,
        record: Some(Record {
            day,
            index: index.index.name.clone(),
            contents: index.contents.clone().unwrap().unwrap(),
        }),
    }
}

/// Does what the plan says, at once and well.
pub(super) fn apply(state: &mut ClusterState, plan: &Plan) {
    for entry in &plan.entries {
        match &entry.step {
            Step::DeleteSnapshot { .. } => state.snapshots.retain(|snapshot| snapshot.name != entry.name),
            Step::DeleteIndex { .. } => state.indices.retain(|index| index.index.name != entry.name),
            Step::TakeSnapshot {
                snapshot: name,
                replaces,
                ..
            } => {
                state
                    .snapshots
                    .retain(|snapshot| !replaces.contains(&snapshot.name));
                let of = state
                    .indices
                    .iter()
                    .find(|index| index.index.name == entry.name)
                    .unwrap();
                state.snapshots.push(snapshot(name, of, plan.day));
            }
            Step::CreateIndex { .. } => state.indices.push(index(&entry.name, &entry.name, 0)),
            _ => {}
        }
    }
}

fn policy(pattern: &str, zone: &str) -> Policy {
    Policy {
        names: IndexNames {
            prefix: "logging-".to_owned(),
            pattern: DatePattern::parse(pattern).unwrap(),
            zone: TimeZone::get(zone).unwrap(),
        },
        index_retention: 7,
        snapshot_retention: 9,
        shards: 5,
        replicas: 1,
        create_ahead: true,
    }
}

#[test]
fn in_utc_each_day_has_just_the_four_old_steps() {
    let policies = [policy("%Y.%m.%d", "UTC")];
    let mut state = ClusterState::default();
    for number in 0..DAYS {
        let day = add_days(FROM, number);
        let plan = plan(day, &state, &policies, 0);
        if number > 12 {
            let name = |ago: i64| policies[0].names.name_of(add_days(day, -ago));
            let steps: Vec<(&str, &str)> = plan
                .entries
                .iter()
                .filter(|entry| entry.step.is_action())
                .map(|entry| (entry.name.as_str(), entry.step.words()))
                .collect();
            assert_eq!(
                steps,
                [
                    (format!("sn_{}", name(9)).as_str(), "delete snapshot"),
                    (name(8).as_str(), "delete index"),
                    (name(7).as_str(), "take snapshot"),
                    (name(-1).as_str(), "create index"),
                ],
                "{day}"
            );
        }
        apply(&mut state, &plan);
    }
}

#[test]
fn in_every_zone_and_period_nothing_is_touched_that_may_still_be_written() {
    let mut days = 0;
    for zone in ZONES {
        for pattern in ["%Y.%m.%d", "%G.%V", "%Y.%m"] {
            let policies = [policy(pattern, zone)];
            let names = &policies[0].names;
            let mut state = ClusterState::default();
            for number in 0..DAYS {
                let day = add_days(FROM, number);
                // Where clocks change at midnight, two days of a zone end on one day of UTC.
                let plan = plan(day, &state, &policies, 1);
                // The run is at the earliest at the first moment of the day.
                let start = TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap();
                for entry in plan.entries.iter().filter(|entry| entry.step.is_action()) {
                    let read = names
                        .read(&entry.name)
                        .or_else(|| names.read_snapshot(&entry.name).map(|(_, read, _)| read))
                        .unwrap();
                    let last = names.pattern.last_day(read.first_day).unwrap();
                    let end = last
                        .tomorrow()
                        .unwrap()
                        .to_zoned(names.zone.clone())
                        .unwrap()
                        .timestamp();
                    let full_days = start.duration_since(end).as_hours() / 24;
                    let wanted = match entry.step {
                        Step::DeleteSnapshot { .. } => 8,
                        Step::DeleteIndex { .. } => 7,
                        Step::TakeSnapshot { .. } => 6,
                        _ => continue,
                    };
                    assert!(
                        full_days >= wanted,
                        "{zone} {day}: {entry:?} is {full_days} days old"
                    );
                    assert!(
                        full_days <= wanted + 1,
                        "{zone} {day}: {entry:?} is {full_days} days old"
                    );
                }
                apply(&mut state, &plan);
                // Whatever is written tomorrow has its index today.
                let tomorrow = add_days(day, 1);
                for hour in 0..24 {
                    let moment = TimeZone::UTC.to_timestamp(tomorrow.at(hour, 30, 0, 0)).unwrap();
                    let name = names.name_of(names.zone.to_datetime(moment).date());
                    assert!(
                        state.indices.iter().any(|index| index.index.name == name),
                        "{zone} {day}: {name}"
                    );
                }
                days += 1;
            }
            let oldest = state
                .indices
                .iter()
                .map(|index| names.read(&index.index.name).unwrap().day)
                .min();
            assert!(days_between(oldest.unwrap(), add_days(FROM, DAYS - 1)) <= 7);
        }
    }
    println!("{days} days");
}

#[test]
fn the_leap_day_is_a_day() {
    let names = policy("%Y.%m.%d", "UTC").names;
    assert_eq!(
        names.name_of(add_days(date(2028, 2, 28), 1)),
        "logging-2028.02.29"
    );
    let policy = policy("%Y.%m.%d", "UTC");
    let leap = policy.names.read("logging-2028.02.29").unwrap().day;
    assert_eq!(policy.deletion_due(leap), date(2028, 3, 8));
    assert_eq!(policy.expiry(leap, date(2028, 3, 7)), date(2028, 3, 9));
}
