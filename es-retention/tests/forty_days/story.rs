//! The forty days.

use anyhow::{Context, Result, ensure};
use jiff::civil::{Date, date};
use serde_json::json;

use crate::{
    checks::{self, ended_with},
    cluster::{Cluster, Ids},
    job::{INDEX_RETENTION, Job, PREFIX, REPOSITORY, SNAPSHOT_RETENTION},
    world::{World, days_after, index_of},
};

/// A day in the past, because a run of a day that has not come is refused. The end of February is among the forty.
const FIRST: Date = date(2026, 2, 3);
const DAYS: i32 = 40;
const DOCUMENTS_A_DAY: usize = 12;

/// Days without a run: two in a row, and one.
const MISSED: [i32; 3] = [13, 14, 22];
/// Before this run somebody's snapshot of the right name is there, PARTIAL.
const PARTIAL: i32 = 11;
/// At this run there is an index, long due, whose shards no node may hold: nothing can be known of it.
const UNASSIGNED: i32 = 17;
/// On these days documents come late, each to the index of so many days before.
const LATE: [(i32, i32); 7] = [
    // after its snapshot, before it is deleted
    (9, INDEX_RETENTION),
    (25, INDEX_RETENTION),
    // twice in a row to the same index
    (26, INDEX_RETENTION + 1),
    // to an index that is deleted: somebody makes it anew
    (19, INDEX_RETENTION + 1),
    // to one whose snapshot is gone as well
    (28, SNAPSHOT_RETENTION + 3),
    // on a missed day
    (14, INDEX_RETENTION - 1),
    (30, INDEX_RETENTION + 2),
];
/// On this day two jobs run at once.
const TWO_AT_ONCE: i32 = 33;

/// Indices that no run may touch, however old: another prefix that begins like ours, a restored one, one with more behind.
const OTHERS: [&str; 4] = [
    "logs-app-nginx-2026.01.01",
    "restored-logs-app-2026.01.01",
    "logs-app-2026.01.01-reindexed",
    "logs-app",
];

pub(crate) struct Story<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    world: World,
    failed_runs: u32,
    runs: u32,
}

impl<'a> Story<'a> {
    pub(crate) fn new(cluster: &'a Cluster, job: &'a Job) -> Self {
        Self {
            cluster,
            job,
            world: World::default(),
            failed_runs: 0,
            runs: 0,
        }
    }

    pub(crate) async fn play(mut self) -> Result<()> {
        self.job.register().await?;
        for name in OTHERS {
            self.cluster.write(name, &[format!("of-{name}")]).await?;
        }
        for number in 0..DAYS {
            self.day(number)
                .await
                .with_context(|| format!("day number {number}, {}", days_after(FIRST, number)))?;
        }
        self.end().await
    }

    async fn day(&mut self, number: i32) -> Result<()> {
        let today = days_after(FIRST, number);
        self.write(today, today, DOCUMENTS_A_DAY / 2).await?;
        if number == PARTIAL {
            self.make_partial(today).await?;
        }
        let output = if MISSED.contains(&number) {
            String::new()
        } else {
            self.run(number, today).await?
        };
        // The rest of the day.
        self.write(today, today, DOCUMENTS_A_DAY / 2).await?;
        for (_, days_before) in LATE.iter().filter(|(day, _)| *day == number) {
            self.write(days_after(today, -days_before), today, 3).await?;
        }
        self.check(today, &output).await
    }

    async fn write(&mut self, index_day: Date, today: Date, count: usize) -> Result<()> {
        let ids = self.world.make(index_day, today, count);
        self.cluster.write(&index_of(index_day), &ids).await
    }

    async fn run(&mut self, number: i32, today: Date) -> Result<String> {
        let before = self.cluster.snapshots(REPOSITORY).await?;
        checks::restore_what_expires(self.cluster, self.job, &mut self.world, today, &before).await?;
        let red = days_after(FIRST, -5);
        if number == UNASSIGNED {
            self.make_unassigned(&index_of(red)).await?;
        }
        let ended = if number == TWO_AT_ONCE {
            let (one, other) = tokio::join!(self.job.run(today), self.job.run(today));
            let (one, other) = (one?, other?);
            ended_with(&other, &[0, 1, 3], today)?;
            one
        } else {
            self.job.run(today).await?
        };
        self.runs += 1;
        match number {
            UNASSIGNED => {
                ended_with(&ended, &[1, 3], today)?;
                let name = index_of(red);
                let says = ended.stdout.lines().find(|line| line.contains(&name));
                println!("shards on no node: {}", says.unwrap_or_default().trim());
                ensure!(says.is_some(), "nothing is said of {name}:\n{}", ended.stdout);
                self.assign(&name).await?;
                self.write(red, today, 3).await?;
                self.failed_runs += 1;
            }
            PARTIAL => {
                ended_with(&ended, &[0, 3], today)?;
                let all = format!("{}{}", ended.stdout, ended.stderr).to_lowercase();
                ensure!(
                    all.contains("partial"),
                    "the PARTIAL snapshot is not reported: {all}"
                );
            }
            TWO_AT_ONCE => ended_with(&ended, &[0, 1, 3], today)?,
            _ => ended_with(&ended, &[0], today)?,
        }
        let after = self.cluster.snapshots(REPOSITORY).await?;
        checks::learn_snapshots(self.cluster, &mut self.world, today, &after).await?;
        self.world.run_ended(today);
        ensure!(
            self.cluster
                .indices(&format!("{PREFIX}*"))
                .await?
                .contains_key(&index_of(days_after(today, 1))),
            "tomorrow's index is not there"
        );
        Ok(ended.stdout)
    }

    async fn check(&mut self, today: Date, output: &str) -> Result<()> {
        let listed = self.cluster.snapshots(REPOSITORY).await?;
        checks::nothing_is_lost(self.cluster, &mut self.world, today, &listed).await?;
        checks::what_is_due_is_gone(self.cluster, &mut self.world, today, &listed, output).await
    }

    /// A snapshot of the name that the run is about to use, which covers the index, but another with it that has no shard.
    async fn make_partial(&self, today: Date) -> Result<()> {
        let index = index_of(days_after(today, -INDEX_RETENTION));
        let broken = json!({"settings": {
            "index.routing.allocation.require._name": "nobody", "number_of_replicas": 0, "number_of_shards": 1,
        }});
        self.cluster
            .ok("PUT", "/broken?wait_for_active_shards=0", Some(&broken))
            .await?;
        let body =
            json!({"indices": format!("{index},broken"), "partial": true, "include_global_state": false});
        let path = format!("/_snapshot/{REPOSITORY}/sn_{index}?wait_for_completion=true");
        let taken = self.cluster.ok("PUT", &path, Some(&body)).await?;
        ensure!(taken["snapshot"]["state"] == "PARTIAL", "not PARTIAL: {taken}");
        self.cluster.ok("DELETE", "/broken", None).await?;
        Ok(())
    }

    async fn make_unassigned(&self, index: &str) -> Result<()> {
        let body = json!({"settings": {"index.routing.allocation.require._name": "nobody"}});
        let path = format!("/{index}?wait_for_active_shards=0");
        self.cluster.ok("PUT", &path, Some(&body)).await?;
        Ok(())
    }

    async fn assign(&self, index: &str) -> Result<()> {
        let settings = json!({"index.routing.allocation.require._name": null});
        self.cluster
            .ok("PUT", &format!("/{index}/_settings"), Some(&settings))
            .await?;
        let path = format!("/_cluster/health/{index}?wait_for_status=green&timeout=60s");
        let health = self.cluster.ok("GET", &path, None).await?;
        ensure!(health["status"] == "green", "{index}: {health}");
        Ok(())
    }

    async fn end(self) -> Result<()> {
        for name in OTHERS {
            let ids = self.cluster.ids(name).await?.unwrap_or_default();
            ensure!(
                ids == Ids::from([format!("of-{name}")]),
                "{name} was touched: {ids:?}"
            );
        }
        let world = &self.world;
        let gone = world.days.values().filter(|day| day.is_gone).count();
        let generations = world
            .good
            .values()
            .filter(|good| good.name.trim_start_matches("sn_").len() > index_of(FIRST).len());
        let later = generations.count();
        // Against a test that passes because nothing happened.
        ensure!(gone >= 25, "only {gone} days are gone");
        ensure!(later >= 4, "only {later} snapshots are of a later generation");
        ensure!(
            world.restored_at_the_end.len() >= 30,
            "only {} snapshots were restored before they expired",
            world.restored_at_the_end.len()
        );
        ensure!(world.good.len() >= 35, "only {} good snapshots", world.good.len());
        ensure!(self.failed_runs == 1, "{} runs failed", self.failed_runs);
        let plan = self.job.plan(days_after(FIRST, DAYS - 1)).await?;
        ensure!(plan["entries"].is_array(), "plan: {plan}");
        println!(
            "{DAYS} days, {} runs: {} good snapshots ({later} of later generations), {} restored before they expired with \
             {} documents, {gone} days gone from both; each of {} lookups found its document",
            self.runs,
            world.good.len(),
            world.restored_at_the_end.len(),
            world.counted_docs,
            world.documents_checked
        );
        Ok(())
    }
}
