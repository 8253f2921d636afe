//! Forty days on every engine: missed days, snapshots that end badly, late documents.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::{
    names::{add_days, days_between},
    plan::taken_on,
    testing::lab::{ENGINES, Ended, FIRST, Lab, policy},
};

const DAYS: i64 = 40;
const MISSED: [i64; 3] = [11, 12, 25];
const PARTIAL_ON: i64 = 15;
const FAILED_ON: i64 = 20;
/// On which day documents come late, for the index of how many days ago.
const LATE: [(i64, i64); 3] = [(17, 8), (22, 30), (30, 3)];

/// The last day on which a good snapshot of each index was taken.
async fn last_taken(lab: &Lab, day: Date, seen: &mut BTreeMap<Date, Date>) {
    let job = lab.job(day).await.unwrap();
    let names: Vec<String> = lab
        .cluster
        .with(|world| world.snapshots.keys().cloned().collect());
    let mut snapshots = job.client.snapshots("repo", &names).await.unwrap();
    job.client.add_records(&mut snapshots).await.unwrap();
    for snapshot in snapshots {
        let (index, read, _) = lab.policies[0].names.read_snapshot(&snapshot.name).unwrap();
        if snapshot.holds_all_of(index) {
            let taken = taken_on(&snapshot).unwrap();
            let last = seen.entry(read.day).or_insert(taken);
            *last = taken.max(*last);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_nothing_stays_for_ever() {
    let mut runs = 0;
    for engine in ENGINES {
        let mut lab = Lab::new(engine, policy("logging-", 7, 9));
        let mut taken: BTreeMap<Date, Date> = BTreeMap::new();
        let mut overdue: BTreeMap<Date, u32> = BTreeMap::new();
        let mut written_late: BTreeMap<Date, i64> = BTreeMap::new();
        for number in 0..DAYS {
            let day = add_days(FIRST, number);
            lab.write(day, 5);
            for (on, ago) in LATE {
                if on == number && number >= ago {
                    let late = add_days(day, -ago);
                    lab.write(late, 2);
                    written_late.insert(late, number);
                }
            }
            if MISSED.contains(&number) {
                continue;
            }
            let bad = match number {
                PARTIAL_ON => Some("PARTIAL"),
                FAILED_ON => Some("FAILED"),
                _ => None,
            };
            lab.cluster.with(|world| world.next_ending = bad);
            let Ended::Report(report) = lab.run(day).await else {
                panic!("{engine:?} {day}");
            };
            runs += 1;
            let wanted = if bad.is_some() { [1, 3] } else { [0, 0] };
            assert!(
                wanted.contains(&report.exit_code()),
                "{engine:?} {day}: {report:#?}"
            );
            lab.check(day, &engine);
            last_taken(&lab, day, &mut taken).await;
            for (of, last) in &taken {
                let bound = add_days(*of, 9).max(add_days(*last, 2));
                if day < bound {
                    overdue.remove(of);
                    continue;
                }
                let runs = overdue.entry(*of).or_default();
                *runs += 1;
                let name = lab.name(*of);
                let there = lab.cluster.with(|world| {
                    world.indices.contains_key(&name)
                        || world.snapshots.keys().any(|snapshot| snapshot.contains(&name))
                });
                if *runs >= 2 {
                    assert!(!there, "{engine:?} {day}: {name}, last taken on {last}");
                }
            }
            let tomorrow = lab.name(add_days(day, 1));
            assert!(
                lab.cluster.with(|world| world.indices.contains_key(&tomorrow)),
                "{tomorrow}"
            );
        }
        let oldest = lab
            .cluster
            .with(|world| world.indices.keys().min().cloned())
            .unwrap();
        let age = days_between(
            lab.policies[0].names.read(&oldest).unwrap().day,
            add_days(FIRST, DAYS - 1),
        );
        assert_eq!(age, 7, "{engine:?}: the oldest index is {oldest}");
        assert_eq!(written_late.len(), 2);
        lab.cluster.with(|world| {
            assert!(
                world.records.len() <= world.snapshots.len(),
                "records outlive their snapshots"
            );
        });
    }
    println!("{runs} runs on {} engines", ENGINES.len());
    assert_eq!(runs, 9 * (DAYS - 3));
}
