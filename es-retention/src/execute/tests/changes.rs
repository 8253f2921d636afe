//! Indices that change, come back, or are not what they seem.

use serde_json::json;

use crate::{
    execute::Outcome,
    names::add_days,
    plan::Step,
    testing::lab::{ENGINES, Ended, FIRST, Lab, policy},
};

const DAY: i64 = 7;

async fn lab(engine: (Option<&'static str>, &'static str)) -> Lab {
    let mut lab = Lab::new(engine, policy("logging-", 2, 4));
    lab.live(0..DAY).await;
    lab
}

fn snapshots_of(lab: &Lab, index: &str) -> Vec<String> {
    lab.cluster.with(|world| {
        let names = world.snapshots.keys().filter(|name| name.contains(index));
        names.cloned().collect()
    })
}

#[tokio::test(start_paused = true)]
async fn late_documents_make_another_generation_and_both_live_until_they_expire() {
    for engine in ENGINES {
        let mut lab = lab(engine).await;
        let of = add_days(FIRST, DAY - 3);
        let name = lab.name(of);
        lab.write(of, 2);
        lab.run_well(add_days(FIRST, DAY)).await;
        assert_eq!(
            snapshots_of(&lab, &name),
            [format!("sn_{name}"), format!("sn_{name}-2")],
            "{engine:?}"
        );
        assert!(lab.cluster.with(|world| world.indices.contains_key(&name)));
        // Deleted a day after the second snapshot; documents that come now make the index again.
        lab.run_well(add_days(FIRST, DAY + 1)).await;
        assert!(!lab.cluster.with(|world| world.indices.contains_key(&name)));
        lab.write(of, 1);
        lab.run_well(add_days(FIRST, DAY + 2)).await;
        assert_eq!(snapshots_of(&lab, &name).len(), 3, "{engine:?}");
        lab.run_well(add_days(FIRST, DAY + 3)).await;
        lab.check(add_days(FIRST, DAY + 3), &engine);
        let kept = lab.cluster.with(|world| world.snapshotted(&name));
        assert_eq!(kept, lab.ever[&of], "{engine:?}");
        assert!(!lab.cluster.with(|world| world.indices.contains_key(&name)));
        lab.run_well(add_days(FIRST, DAY + 4)).await;
        assert_eq!(snapshots_of(&lab, &name), Vec::<String>::new(), "{engine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_the_old_job_is_not_enough_to_delete_by() {
    let lab = lab((Some("opensearch"), "1.3.20")).await;
    let name = lab.name(add_days(FIRST, DAY - 3));
    lab.cluster.with(|world| {
        world.snapshots.get_mut(&format!("sn_{name}")).unwrap().metadata = None;
    });
    lab.run_well(add_days(FIRST, DAY)).await;
    assert!(lab.cluster.with(|world| world.indices.contains_key(&name)));
    assert_eq!(
        snapshots_of(&lab, &name),
        [format!("sn_{name}"), format!("sn_{name}-2")]
    );
    lab.run_well(add_days(FIRST, DAY + 1)).await;
    assert!(!lab.cluster.with(|world| world.indices.contains_key(&name)));
}

#[tokio::test(start_paused = true)]
async fn a_write_index_is_never_touched() {
    type Change = fn(&mut crate::testing::World, &str);
    let changes: [(&str, Change); 3] = [
        ("alias logs", |world, name| {
            world
                .indices
                .get_mut(name)
                .unwrap()
                .aliases
                .insert("logs".to_owned(), Some(true));
        }),
        ("alias only", |world, name| {
            world
                .indices
                .get_mut(name)
                .unwrap()
                .aliases
                .insert("only".to_owned(), None);
        }),
        ("data stream stream", |world, name| {
            world.indices.get_mut(name).unwrap().data_stream = Some("stream".to_owned());
        }),
    ];
    for (writer, change) in changes {
        let lab = lab((Some("opensearch"), "2.19.1")).await;
        let name = lab.name(add_days(FIRST, DAY - 3));
        lab.cluster.with(|world| change(world, &name));
        for number in DAY..DAY + 10 {
            let report = lab.run_well(add_days(FIRST, number)).await;
            let entry = report
                .entries
                .iter()
                .find(|reported| reported.entry.name == name)
                .unwrap();
            assert_eq!(entry.entry.step, Step::Protected);
            assert_eq!(entry.entry.why, format!("write index of {writer}"));
        }
        assert!(lab.cluster.with(|world| world.indices.contains_key(&name)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_of_many_indices_or_that_is_only_read_protects_nothing() {
    let lab = lab((Some("opensearch"), "2.19.1")).await;
    let name = lab.name(add_days(FIRST, DAY - 3));
    lab.cluster.with(|world| {
        for index in world.indices.values_mut() {
            index.aliases.insert("all".to_owned(), None);
        }
        world
            .indices
            .get_mut(&name)
            .unwrap()
            .aliases
            .insert("read".to_owned(), Some(false));
    });
    lab.run_well(add_days(FIRST, DAY)).await;
    assert!(!lab.cluster.with(|world| world.indices.contains_key(&name)));
}

#[tokio::test(start_paused = true)]
async fn closed_and_read_only_indices_are_told_and_left_alone() {
    let lab = lab((None, "8.15.1")).await;
    let (closed, locked) = (
        lab.name(add_days(FIRST, DAY - 3)),
        lab.name(add_days(FIRST, DAY - 2)),
    );
    lab.cluster.with(|world| {
        world.indices.get_mut(&closed).unwrap().closed = true;
        world.indices.get_mut(&locked).unwrap().blocks.insert("read_only");
    });
    for number in [DAY, DAY + 1] {
        let Ended::Report(report) = lab.run(add_days(FIRST, number)).await else {
            panic!("no report");
        };
        assert_eq!(report.exit_code(), 3, "{report:#?}");
        let step = |name: &str| {
            let found = report.entries.iter().find(|reported| reported.entry.name == name);
            found.map(|reported| reported.entry.step.words()).unwrap()
        };
        assert_eq!(step(&closed), "stuck");
        assert!(
            report.findings.iter().any(|finding| finding.contains(&locked)),
            "{report:#?}"
        );
        if number > DAY {
            assert_eq!(step(&locked), "stuck");
        }
    }
    lab.check(add_days(FIRST, DAY + 1), &"closed");
}

#[tokio::test(start_paused = true)]
async fn an_index_without_primaries_is_told_and_the_others_are_dealt_with() {
    for engine in ENGINES {
        let lab = lab(engine).await;
        let (red, other) = (
            lab.name(add_days(FIRST, DAY - 3)),
            lab.name(add_days(FIRST, DAY - 2)),
        );
        lab.cluster
            .with(|world| world.indices.get_mut(&red).unwrap().red = true);
        let Ended::Report(report) = lab.run(add_days(FIRST, DAY)).await else {
            panic!("no report");
        };
        assert_eq!(report.exit_code(), 3, "{report:#?}");
        let entry = report
            .entries
            .iter()
            .find(|reported| reported.entry.name == red)
            .unwrap();
        assert_eq!(entry.entry.step, Step::Stuck);
        assert!(entry.entry.why.contains("no shard answered"), "{entry:?}");
        assert_eq!(snapshots_of(&lab, &other), [format!("sn_{other}")], "{engine:?}");
        lab.check(add_days(FIRST, DAY), &engine);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_does_not_stop_the_deletion_that_frees_it() {
    let lab = lab((None, "7.17.20")).await;
    let name = lab.name(add_days(FIRST, DAY - 3));
    lab.cluster.with(|world| {
        world
            .indices
            .get_mut(&name)
            .unwrap()
            .blocks
            .insert("read_only_allow_delete");
    });
    let report = lab.run_well(add_days(FIRST, DAY)).await;
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.contains("disk of a node was full"))
    );
    assert!(!lab.cluster.with(|world| world.indices.contains_key(&name)));
}

#[tokio::test(start_paused = true)]
async fn what_looks_alike_is_not_touched() {
    let lab = lab((None, "7.10.2")).await;
    let strangers = [
        "logging-nginx-2026.01.01",
        "logging-2026.01.01-reindexed",
        "restored-logging-2026.01.01",
        "logging-2026.01",
    ];
    lab.cluster.with(|world| {
        for (at, name) in strangers.iter().enumerate() {
            world.write(name, 9_000_000 + at as u64);
        }
        let mut other = world.snapshots.values().next().unwrap().clone();
        other.indices.push("payments".to_owned());
        world
            .snapshots
            .insert("sn_logging-2025.01.01".to_owned(), other.clone());
        world
            .snapshots
            .insert("sn_logging-2025.01.01-old".to_owned(), other);
    });
    for number in DAY..DAY + 5 {
        let Ended::Report(report) = lab.run(add_days(FIRST, number)).await else {
            panic!("no report");
        };
        assert_eq!(
            report.exit_code(),
            3,
            "a snapshot with other indices is told: {report:#?}"
        );
    }
    lab.cluster.with(|world| {
        for name in strangers {
            assert!(world.indices.contains_key(name), "{name}");
        }
        assert!(world.snapshots.contains_key("sn_logging-2025.01.01"));
        assert!(world.snapshots.contains_key("sn_logging-2025.01.01-old"));
    });
}

#[tokio::test(start_paused = true)]
async fn a_partial_snapshot_of_an_index_that_was_made_again_is_not_replaced() {
    let mut lab = lab((Some("opensearch"), "2.19.1")).await;
    let of = add_days(FIRST, DAY - 2);
    let name = lab.name(of);
    lab.write(add_days(FIRST, DAY), 1);
    lab.cluster.with(|world| world.next_ending = Some("PARTIAL"));
    lab.run(add_days(FIRST, DAY)).await;
    // Somebody deletes the index, and a late document makes it again: the half of it is only in the PARTIAL snapshot.
    lab.cluster.with(|world| world.indices.remove(&name));
    lab.cluster.with(|world| world.write(&name, 5_000_000));
    lab.run_well(add_days(FIRST, DAY + 1)).await;
    assert_eq!(
        snapshots_of(&lab, &name),
        [format!("sn_{name}"), format!("sn_{name}-2")]
    );
}

#[tokio::test(start_paused = true)]
async fn templates_win_over_configured_shards() {
    for engine in [
        (None, "6.8.23"),
        (None, "7.4.2"),
        (None, "8.15.1"),
        (Some("opensearch"), "3.8.0"),
    ] {
        let lab = Lab::new(engine, policy("logging-", 2, 4));
        lab.cluster
            .with(|world| world.template = Some(json!({"number_of_shards": "3"})));
        let report = lab.run_well(FIRST).await;
        let created = report
            .entries
            .iter()
            .find(|reported| reported.entry.name == "logging-2026.01.02");
        assert_eq!(
            created.map(|reported| &reported.outcome),
            Some(&Outcome::Done("created, number_of_replicas 1".to_owned())),
            "{engine:?}"
        );
        lab.check(FIRST, &engine);
    }
}
