//! Missed days, and how much is deleted at once.

use crate::{
    execute::Outcome,
    names::add_days,
    plan::Step,
    testing::lab::{Ended, FIRST, Lab, policy},
};

const OPENSEARCH: (Option<&str>, &str) = (Some("opensearch"), "2.19.1");

#[tokio::test(start_paused = true)]
async fn a_month_without_runs_is_caught_up_by_and_by() {
    let mut lab = Lab::new(OPENSEARCH, policy("logging-", 2, 4));
    for number in 0..30 {
        lab.write(add_days(FIRST, number), 2);
    }
    lab.max_deletes = 5;
    let mut put_off = Vec::new();
    for number in 29..45 {
        let day = add_days(FIRST, number);
        let Ended::Report(report) = lab.run(day).await else {
            panic!("{day}");
        };
        lab.check(day, &"catching up");
        let deleted = report.entries.iter().filter(|reported| {
            matches!(
                reported.entry.step,
                Step::DeleteIndex { .. } | Step::DeleteSnapshot { .. }
            ) && matches!(reported.outcome, Outcome::Done(_))
        });
        assert!(deleted.count() <= 7);
        let left = report
            .entries
            .iter()
            .filter(|reported| reported.entry.step == Step::PutOff);
        let left: Vec<_> = left.collect();
        assert_eq!(
            report.exit_code(),
            if left.is_empty() { 0 } else { 3 },
            "{report:#?}"
        );
        for reported in &left {
            assert!(
                reported.entry.why.contains("--max-deletes=5 puts it off"),
                "{reported:?}"
            );
        }
        put_off.push(left.len());
    }
    assert_eq!(put_off[0], 0, "nothing was snapshotted yet");
    assert!(put_off[1] > 10, "{put_off:?}");
    assert_eq!(put_off.last(), Some(&0), "{put_off:?}");
    assert_eq!(
        lab.cluster.with(|world| world.indices.len()),
        4,
        "two days, the one that was snapshotted today, and tomorrow's"
    );
}

#[tokio::test(start_paused = true)]
async fn several_prefixes_each_have_their_days() {
    let mut lab = Lab::new(OPENSEARCH, policy("logging-", 2, 4));
    lab.policies.push(policy("logging-nginx-", 1, 5));
    for number in 0..8 {
        let day = add_days(FIRST, number);
        lab.write(day, 2);
        let name = lab.policies[1].names.name_of(day);
        lab.cluster
            .with(|world| world.write(&name, 7_000_000 + u64::try_from(number).unwrap()));
        lab.run_well(day).await;
        lab.check(day, &"prefixes");
    }
    let (indices, snapshots) = lab.cluster.with(|world| {
        let indices: Vec<String> = world.indices.keys().cloned().collect();
        let snapshots: Vec<String> = world.snapshots.keys().cloned().collect();
        (indices, snapshots)
    });
    assert_eq!(
        indices,
        [
            "logging-2026.01.06",
            "logging-2026.01.07",
            "logging-2026.01.08",
            "logging-2026.01.09",
            "logging-nginx-2026.01.07",
            "logging-nginx-2026.01.08",
            "logging-nginx-2026.01.09",
        ]
    );
    assert_eq!(
        snapshots,
        [
            "sn_logging-2026.01.05",
            "sn_logging-2026.01.06",
            "sn_logging-nginx-2026.01.04",
            "sn_logging-nginx-2026.01.05",
            "sn_logging-nginx-2026.01.06",
            "sn_logging-nginx-2026.01.07",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_of_the_same_day_again_does_nothing() {
    let mut lab = Lab::new((None, "7.10.2"), policy("logging-", 2, 4));
    lab.live(0..8).await;
    let again = lab.run_well(add_days(FIRST, 7)).await;
    assert_eq!(Lab::steps(&again), Vec::<String>::new());
}
