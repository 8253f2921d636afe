//! A cluster, policies, and every document that was ever written: days go by, runs are made, nothing may be lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};

use super::{DocId, FakeCluster, Fault};
use crate::{
    cluster::{Client, Patience},
    config::Warn,
    execute::{Job, JobError, Report},
    names::{DatePattern, IndexNames, add_days},
    plan::{Policy, Step},
};

/// The engines: each line, and each side of a version from which something is different.
pub(crate) const ENGINES: [(Option<&str>, &str); 9] = [
    (None, "6.8.23"),
    (None, "7.1.1"),
    (None, "7.4.2"),
    (None, "7.10.2"),
    (None, "7.17.20"),
    (None, "8.15.1"),
    (Some("opensearch"), "1.3.20"),
    (Some("opensearch"), "2.19.1"),
    (Some("opensearch"), "3.8.0"),
];

/// The first day of all tests.
pub(crate) const FIRST: Date = date(2026, 1, 1);

/// A cluster with its policies and the documents that were ever written.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    pub(crate) cluster: FakeCluster,
    pub(crate) policies: Vec<Policy>,
    pub(crate) ever: BTreeMap<Date, BTreeSet<DocId>>,
    pub(crate) max_deletes: u32,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Report(Report),
    Error(JobError),
    Killed,
}

/// Daily indices of `prefix` in UTC.
pub(crate) fn policy(prefix: &str, index_retention: u32, snapshot_retention: u32) -> Policy {
    Policy {
        names: IndexNames {
            prefix: prefix.to_owned(),
            pattern: DatePattern::parse("%Y.%m.%d").unwrap(),
            zone: TimeZone::UTC,
        },
        index_retention,
        snapshot_retention,
        shards: 5,
        replicas: 1,
        create_ahead: true,
    }
}

impl Lab {
    pub(crate) fn new(engine: (Option<&'static str>, &'static str), policy: Policy) -> Self {
        Self {
            cluster: FakeCluster::new(engine.0, engine.1),
            policies: vec![policy],
            ever: BTreeMap::new(),
            max_deletes: 10,
        }
    }

    /// The same once more, apart from this one.
    pub(crate) fn copy(&self) -> Self {
        Self {
            cluster: self.cluster.copy(),
            ..self.clone()
        }
    }

    pub(crate) fn name(&self, day: Date) -> String {
        self.policies[0].names.name_of(day)
    }

    /// Writes documents into the index of a day.
    pub(crate) fn write(&mut self, day: Date, count: u64) {
        let name = self.name(day);
        let ever = &mut self.ever;
        self.cluster
            .with(|world| world.write_day(ever, day, &name, count));
    }

    pub(crate) async fn job(&self, day: Date) -> Result<Job, JobError> {
        let client = Client::connect(
            Arc::new(self.cluster.clone()),
            Patience::default(),
            self.cluster.stop.clone(),
        )
        .await?;
        Ok(Job {
            client,
            repository: "repo".to_owned(),
            policies: self.policies.clone(),
            max_deletes: self.max_deletes,
            warn: Warn {
                disk_percent: 85,
                shards_percent: 90,
            },
            day,
        })
    }

    /// One run, which may be killed.
    pub(crate) async fn run(&self, day: Date) -> Ended {
        let killed = Arc::clone(&self.cluster.killed);
        let run = async { self.job(day).await?.run().await };
        tokio::select! {
            result = run => match result {
                Ok(report) => Ended::Report(report),
                Err(error) => Ended::Error(error),
            },
            () = killed.notified() => Ended::Killed,
        }
    }

    /// One run in which all must be well.
    pub(crate) async fn run_well(&self, day: Date) -> Report {
        match self.run(day).await {
            Ended::Report(report) => {
                assert_eq!(report.exit_code(), 0, "{day}: {report:#?}");
                report
            }
            other => panic!("{day}: {other:?}"),
        }
    }

    /// Days on which documents come in and all runs are well.
    pub(crate) async fn live(&mut self, days: std::ops::Range<i64>) {
        for number in days {
            let day = add_days(FIRST, number);
            self.write(day, 3);
            self.run_well(day).await;
        }
    }

    /// Nothing that must never happen did, and no document is missing that is to be kept on `day`.
    pub(crate) fn check(&self, day: Date, what: &dyn std::fmt::Debug) {
        let from = add_days(day, 1 - i64::from(self.policies[0].snapshot_retention));
        self.cluster.with(|world| {
            assert_eq!(
                world.sins,
                Vec::<String>::new(),
                "{day} {what:?}\n{}",
                world.log.join("\n")
            );
            let missing = world.missing(&self.ever, from, |day| self.name(day));
            assert_eq!(
                missing,
                Vec::<String>::new(),
                "{day} {what:?}\n{}",
                world.log.join("\n")
            );
        });
    }

    pub(crate) fn inject(&self, fault: Fault, call: usize) {
        self.cluster.with(|world| {
            world.calls = 0;
            world.log.clear();
            world.fault = Some((call, fault));
        });
    }

    /// The steps of a report that are not `Keep`, as `name: words`.
    pub(crate) fn steps(report: &Report) -> Vec<String> {
        let entries = report.entries.iter().map(|reported| &reported.entry);
        entries
            .filter(|entry| entry.step != Step::Keep)
            .map(|entry| format!("{}: {}", entry.name, entry.step.words()))
            .collect()
    }
}
