//! Everything that can go wrong, at each request in turn.

use std::collections::BTreeSet;

use crate::{
    names::add_days,
    plan::Step,
    testing::{
        Fault,
        lab::{Ended, FIRST, Lab, policy},
    },
};

/// Distribution and version.
type Engine = (Option<&'static str>, &'static str);

/// The day of the run in which things go wrong.
const DAY: i64 = 8;

/// A cluster on a day on which every kind of step is due: a snapshot expires, two indices are safe, a snapshot ended badly
/// and is replaced, one is new, tomorrow's index is missing.
async fn busy_day(engine: Engine) -> Lab {
    let mut lab = Lab::new(engine, policy("logging-", 2, 4));
    lab.live(0..DAY - 2).await;
    // A day without a run, then one whose snapshots end badly.
    lab.write(add_days(FIRST, DAY - 2), 3);
    lab.write(add_days(FIRST, DAY - 1), 3);
    lab.cluster.with(|world| world.next_ending = Some("PARTIAL"));
    let Ended::Report(report) = lab.run(add_days(FIRST, DAY - 1)).await else {
        panic!("no report");
    };
    assert_eq!(report.exit_code(), 3, "{report:#?}");
    lab.write(add_days(FIRST, DAY), 3);
    let today = add_days(FIRST, DAY);
    lab.check(today, &"before");
    lab
}

async fn clean_run(lab: &Lab) -> usize {
    let clean = lab.copy();
    clean.cluster.with(|world| world.calls = 0);
    let report = clean.run_well(add_days(FIRST, DAY)).await;
    for wanted in ["delete snapshot", "delete index", "take snapshot", "create index"] {
        assert!(
            report
                .entries
                .iter()
                .any(|reported| reported.entry.step.words() == wanted),
            "{wanted}: {report:#?}"
        );
    }
    let replaced = |step: &Step| matches!(step, Step::TakeSnapshot { replaces, .. } if !replaces.is_empty());
    assert!(
        report
            .entries
            .iter()
            .any(|reported| replaced(&reported.entry.step)),
        "{report:#?}"
    );
    clean.cluster.with(|world| world.calls)
}

/// What a cluster looks like from outside: names of indices, and names of indices that are in a good snapshot. A fault
/// between a snapshot and its record costs one more snapshot of the same index.
fn names(lab: &Lab) -> (BTreeSet<String>, BTreeSet<String>) {
    lab.cluster.with(|world| {
        let indices = world.indices.keys().filter(|name| name.starts_with("logging-"));
        let good = world
            .snapshots
            .values()
            .filter(|snapshot| snapshot.state == "SUCCESS");
        let snapshotted = good.flat_map(|snapshot| snapshot.indices.iter().cloned());
        (indices.cloned().collect(), snapshotted.collect())
    })
}

async fn bad_answers_at_each_call(engine: Engine) {
    let today = add_days(FIRST, DAY);
    let mut runs = 0;
    let lab = busy_day(engine).await;
    let calls = clean_run(&lab).await;
    let clean = lab.copy();
    clean.run_well(today).await;
    for fault in Fault::BAD_ANSWERS {
        for call in 0..calls {
            let struck = lab.copy();
            struck.inject(fault, call);
            let ended = struck.run(today).await;
            assert!(!matches!(ended, Ended::Killed));
            struck.check(today, &(engine, fault, call));
            struck.run_well(today).await;
            struck.check(today, &(engine, fault, call, "again"));
            runs += 2;
            assert_eq!(names(&struck), names(&clean), "{engine:?} {fault:?} at {call}");
            no_index_stays_blocked(&struck);
        }
    }
    println!("{runs} runs on {engine:?}");
    assert!(runs > 300, "{runs}");
}

fn no_index_stays_blocked(lab: &Lab) {
    lab.cluster.with(|world| {
        for (name, index) in &world.indices {
            assert!(index.blocks.is_empty(), "{name} stays blocked");
        }
    });
}

async fn a_job_killed_at_each_call(engine: Engine) {
    let today = add_days(FIRST, DAY);
    let mut runs = 0;
    let lab = busy_day(engine).await;
    let calls = clean_run(&lab).await;
    // Killed before a call is killed after the call before it.
    let first = std::iter::once((Fault::KillBefore, 0));
    for (fault, call) in first.chain((0..calls).map(|call| (Fault::KillAfter, call))) {
        let mut struck = lab.copy();
        struck.inject(fault, call);
        assert!(
            matches!(struck.run(today).await, Ended::Killed),
            "{engine:?} {call}"
        );
        struck.check(today, &(engine, fault, call));
        // Documents that come in meanwhile are as dear.
        struck.write(add_days(today, -2), 1);
        let Ended::Report(report) = struck.run(today).await else {
            panic!("{engine:?} {fault:?} {call}");
        };
        assert!(
            [0, 3].contains(&report.exit_code()),
            "{engine:?} {call}: {report:#?}"
        );
        struck.check(today, &(engine, fault, call, "again"));
        for number in 1..=7 {
            let day = add_days(today, number);
            let Ended::Report(report) = struck.run(day).await else {
                panic!("{engine:?} {fault:?} {call}");
            };
            assert_eq!(report.exit_code(), 0, "{engine:?} {fault:?} {call}: {report:#?}");
            struck.check(day, &(engine, fault, call, number));
            runs += 1;
        }
        runs += 2;
        let old = struck.name(add_days(today, -1));
        let (indices, snapshots) = names(&struck);
        assert!(
            indices.iter().all(|name| *name > old),
            "{engine:?} {fault:?} {call}: {indices:?}"
        );
        assert!(
            snapshots.iter().all(|name| !name.contains("2026.01.0")),
            "{snapshots:?}"
        );
    }
    println!("{runs} runs on {engine:?}");
    assert!(runs > 300, "{runs}");
}

async fn a_document_that_comes_in_at_any_moment(engine: Engine) {
    let today = add_days(FIRST, DAY);
    let mut taken = 0;
    let lab = busy_day(engine).await;
    let calls = clean_run(&lab).await;
    for ago in 2..=4 {
        for call in 0..calls {
            let struck = lab.copy();
            let of = add_days(today, -ago);
            let name = struck.name(of);
            let doc = 1_000_000;
            struck.cluster.with(|world| {
                world.calls = 0;
                world.log.clear();
                world.write_at = Some((call, name.clone(), doc));
            });
            let ended = struck.run(today).await;
            assert!(matches!(ended, Ended::Report(_)), "{ended:?}");
            if struck.cluster.with(|world| world.written) {
                taken += 1;
            }
            // Whatever is older may expire, and this document stays: it came in today.
            for number in 0..2 {
                let day = add_days(today, number);
                if number > 0 {
                    let ended = struck.run(day).await;
                    assert!(matches!(ended, Ended::Report(_)), "{ended:?}");
                }
                struck.check(day, &(engine, ago, call, number));
                struck.cluster.with(|world| {
                    let alive = world.indices.get(&name).map(|index| index.all_docs());
                    let kept =
                        alive.unwrap_or_default().contains(&doc) || world.snapshotted(&name).contains(&doc);
                    assert!(
                        kept || !world.written,
                        "{engine:?} {ago} {call}\n{}",
                        world.log.join("\n")
                    );
                });
            }
        }
    }
    println!("{taken} documents came in on {engine:?}");
    assert!(taken > 100, "{taken}");
}

async fn a_job_told_to_stop_at_each_call(engine: Engine) {
    let today = add_days(FIRST, DAY);
    let mut runs = 0;
    let lab = busy_day(engine).await;
    let calls = clean_run(&lab).await;
    for call in 0..calls {
        let told = lab.copy();
        told.cluster.with(|world| {
            world.calls = 0;
            world.stop_at = Some(call);
        });
        let ended = told.run(today).await;
        assert!(!matches!(ended, Ended::Killed), "{engine:?} {call}");
        if let Ended::Report(report) = &ended {
            assert!(
                call + 1 == calls || report.exit_code() != 0,
                "{engine:?} {call}: {report:#?}"
            );
        }
        told.check(today, &(engine, call));
        let next = told.copy();
        next.cluster.with(|world| world.stop_at = None);
        next.run_well(today).await;
        next.check(today, &(engine, call, "again"));
        no_index_stays_blocked(&next);
        runs += 2;
    }
    println!("{runs} runs on {engine:?}");
}

/// All of it on one engine of each line, each a test of its own, as there are thousands of runs.
macro_rules! on_each_line {
    ($($line:ident: $engine:expr;)*) => {$(
        mod $line {
            #[tokio::test(start_paused = true)]
            async fn bad_answers_at_each_call_lose_nothing_and_the_next_run_finishes() {
                super::bad_answers_at_each_call($engine).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_job_killed_at_each_call_loses_nothing_and_the_next_run_finishes() {
                super::a_job_killed_at_each_call($engine).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_document_that_comes_in_at_any_moment_is_kept() {
                super::a_document_that_comes_in_at_any_moment($engine).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_job_told_to_stop_at_each_call_is_finished_by_the_next_run() {
                super::a_job_told_to_stop_at_each_call($engine).await;
            }
        }
    )*};
}

on_each_line! {
    elasticsearch_6: (None, "6.8.23");
    elasticsearch_7_10: (None, "7.10.2");
    opensearch_3: (Some("opensearch"), "3.8.0");
}
