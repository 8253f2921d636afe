//! A repository that is gone, read-only or broken, and snapshots of others.

use crate::{
    execute::JobError,
    names::add_days,
    testing::{
        RepositoryTrouble,
        lab::{ENGINES, Ended, FIRST, Lab, policy},
    },
};

const DAY: i64 = 7;
/// One of each line.
const LINES: [(Option<&str>, &str); 3] = [(None, "6.8.23"), (None, "7.10.2"), (Some("opensearch"), "3.8.0")];

#[tokio::test(start_paused = true)]
async fn without_a_repository_that_works_nothing_is_done() {
    for engine in ENGINES {
        let mut lab = Lab::new(engine, policy("logging-", 2, 4));
        lab.live(0..DAY).await;
        let day = add_days(FIRST, DAY);
        let before = lab.cluster.with(|world| world.indices.len());
        for trouble in RepositoryTrouble::ALL {
            lab.cluster.with(|world| trouble.happen(world));
            let ended = lab.run(day).await;
            let is_told = match trouble {
                RepositoryTrouble::Broken => {
                    matches!(ended, Ended::Error(JobError::BrokenRepository { .. }))
                }
                RepositoryTrouble::Gone => matches!(ended, Ended::Error(JobError::NoRepository(_))),
                RepositoryTrouble::ReadOnly => {
                    matches!(ended, Ended::Error(JobError::ReadOnlyRepository(_)))
                }
            };
            assert!(is_told, "{engine:?} {trouble:?}: {ended:?}");
            lab.cluster.with(RepositoryTrouble::mend);
        }
        assert_eq!(lab.cluster.with(|world| world.indices.len()), before);
        lab.check(day, &engine);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_goes_during_the_run_loses_nothing_and_the_next_run_finishes() {
    let day = add_days(FIRST, DAY);
    let mut runs = 0;
    for engine in LINES {
        let mut lab = Lab::new(engine, policy("logging-", 2, 4));
        lab.live(0..DAY).await;
        let clean = lab.copy();
        clean.cluster.with(|world| world.calls = 0);
        clean.run_well(day).await;
        let calls = clean.cluster.with(|world| world.calls);
        for trouble in RepositoryTrouble::ALL {
            for call in 0..calls {
                let struck = lab.copy();
                struck.cluster.with(|world| {
                    world.calls = 0;
                    world.trouble_at = Some((call, trouble));
                });
                let _ = struck.run(day).await;
                struck.check(day, &(engine, trouble, call));
                struck.cluster.with(RepositoryTrouble::mend);
                struck.run_well(day).await;
                struck.check(day, &(engine, trouble, call, "again"));
                runs += 2;
            }
        }
    }
    println!("{runs} runs");
    assert!(runs > 1000, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn the_hourly_snapshot_of_the_service_is_waited_for() {
    for engine in [(None, "7.10.2"), (Some("opensearch"), "2.19.1")] {
        let mut lab = Lab::new(engine, policy("logging-", 2, 4));
        for number in 0..12 {
            let day = add_days(FIRST, number);
            lab.write(day, 2);
            lab.cluster.with(|world| world.foreign_looks = 7);
            lab.run_well(day).await;
            lab.check(day, &engine);
        }
        assert!(lab.cluster.with(|world| world.foreign_looks) == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn up_to_7_10_nothing_is_deleted_while_a_snapshot_never_ends() {
    let mut lab = Lab::new((None, "7.10.2"), policy("logging-", 2, 4));
    lab.live(0..DAY).await;
    let before: Vec<String> = lab.cluster.with(|world| world.indices.keys().cloned().collect());
    lab.cluster.with(|world| world.foreign_looks = u32::MAX);
    let Ended::Report(report) = lab.run(add_days(FIRST, DAY)).await else {
        panic!("no report");
    };
    assert_eq!(report.exit_code(), 3, "{report:#?}");
    let after: Vec<String> = lab.cluster.with(|world| world.indices.keys().cloned().collect());
    assert!(before.iter().all(|name| after.contains(name)), "{after:?}");
    lab.check(add_days(FIRST, DAY), &"never ends");
}
