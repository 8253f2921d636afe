//! What must hold after every day.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use jiff::civil::Date;

use crate::{
    cluster::{Cluster, Ids, Listed},
    job::{Ended, Job, PREFIX, REPOSITORY, SNAPSHOT_RETENTION},
    world::{Good, World, day_of, days_after, index_of, index_of_snapshot},
};

fn is_good(snapshot: &Listed) -> bool {
    snapshot.state == "SUCCESS" && snapshot.failed_shards == 0
}

/// Restores each good snapshot the first time it is seen, and remembers what is in it. A snapshot that is new after the
/// run of `today` was taken by it.
pub(crate) async fn learn_snapshots(
    cluster: &Cluster,
    world: &mut World,
    today: Date,
    listed: &[Listed],
) -> Result<()> {
    for snapshot in listed.iter().filter(|snapshot| is_good(snapshot)) {
        for index in snapshot.indices.iter().filter(|index| day_of(index).is_some()) {
            let key = (snapshot.uuid.clone(), index.clone());
            if world.good.contains_key(&key) {
                continue;
            }
            let ids = cluster.restored_ids(REPOSITORY, &snapshot.name, index).await?;
            world.snapshot_taken(index, today);
            let good = Good {
                name: snapshot.name.clone(),
                index: index.clone(),
                ids,
            };
            world.good.insert(key, good);
        }
    }
    Ok(())
}

/// What can be restored of each index, all snapshots together.
fn restorable(world: &World, listed: &[Listed]) -> BTreeMap<String, Ids> {
    let mut all: BTreeMap<String, Ids> = BTreeMap::new();
    for snapshot in listed.iter().filter(|snapshot| is_good(snapshot)) {
        for index in &snapshot.indices {
            if let Some(good) = world.good.get(&(snapshot.uuid.clone(), index.clone())) {
                all.entry(index.clone())
                    .or_default()
                    .extend(good.ids.iter().cloned());
            }
        }
    }
    all
}

/// Each document that is young enough is in the cluster or in a good snapshot.
pub(crate) async fn nothing_is_lost(
    cluster: &Cluster,
    world: &mut World,
    today: Date,
    listed: &[Listed],
) -> Result<()> {
    let restorable = restorable(world, listed);
    let oldest = days_after(today, 1 - SNAPSHOT_RETENTION);
    let mut checked = 0;
    for (day, known) in world.days.range(oldest..) {
        let index = index_of(*day);
        let mut found = cluster.ids(&index).await?.unwrap_or_default();
        found.extend(restorable.get(&index).cloned().unwrap_or_default());
        let lost: Vec<&String> = known.written.difference(&found).collect();
        ensure!(lost.is_empty(), "day {today}: {index} has lost {lost:?}");
        checked += known.written.len() as u64;
    }
    world.documents_checked += checked;
    Ok(())
}

/// What was due at the second run is gone from both.
pub(crate) async fn what_is_due_is_gone(
    cluster: &Cluster,
    world: &mut World,
    today: Date,
    listed: &[Listed],
    output: &str,
) -> Result<()> {
    let indices = cluster.indices(&format!("{PREFIX}*")).await?;
    for (day, known) in &mut world.days {
        if known.runs_when_due < 2 {
            continue;
        }
        let index = index_of(*day);
        // Put off by the limit of deletions, and named.
        if output
            .lines()
            .any(|line| line.contains(&index) && line.contains("--max-deletes"))
        {
            continue;
        }
        let snapshots: Vec<&str> = listed
            .iter()
            .map(|snapshot| snapshot.name.as_str())
            .filter(|name| index_of_snapshot(name) == Some(index.as_str()))
            .collect();
        ensure!(
            !indices.contains_key(&index) && snapshots.is_empty(),
            "day {today}: {index} should be gone: in the cluster {}, snapshots {snapshots:?}; {known:?}",
            indices.contains_key(&index)
        );
        known.is_gone = true;
    }
    Ok(())
}

/// Restores with the command what the run of `today` may delete, and counts it.
pub(crate) async fn restore_what_expires(
    cluster: &Cluster,
    job: &Job,
    world: &mut World,
    today: Date,
    listed: &[Listed],
) -> Result<()> {
    let mut expiring: BTreeMap<String, Vec<Good>> = BTreeMap::new();
    for snapshot in listed.iter().filter(|snapshot| is_good(snapshot)) {
        for index in &snapshot.indices {
            let Some(day) = day_of(index) else { continue };
            let is_due = days_after(day, SNAPSHOT_RETENTION) <= today;
            if is_due && !world.restored_at_the_end.contains(&snapshot.uuid) {
                let key = (snapshot.uuid.clone(), index.clone());
                let good = world.good.get(&key).context("a snapshot that was never seen")?;
                expiring.entry(index.clone()).or_default().push(good.clone());
                world.restored_at_the_end.insert(snapshot.uuid.clone());
            }
        }
    }
    for (index, snapshots) in expiring {
        world.counted_docs += restore_one(cluster, job, &index, &snapshots).await?;
    }
    Ok(())
}

async fn restore_one(cluster: &Cluster, job: &Job, index: &str, snapshots: &[Good]) -> Result<u64> {
    let told = job.restore(index).await?;
    let restored = cluster.indices(&format!("restored-{index}*")).await?;
    ensure!(
        told.keys().eq(restored.keys()),
        "restore {index}: {told:?}, and there are {restored:?}"
    );
    let mut found = Ids::new();
    let mut count = 0;
    for (name, told) in told {
        let ids = cluster.ids(&name).await?.unwrap_or_default();
        ensure!(
            ids.len() as u64 == told,
            "restore {index}: {told} documents in {name}, and there are {}",
            ids.len()
        );
        count += told;
        found.extend(ids);
        cluster.ok("DELETE", &format!("/{name}"), None).await?;
    }
    for good in snapshots {
        let lost: Vec<&String> = good.ids.difference(&found).collect();
        ensure!(
            lost.is_empty(),
            "{} of {} comes back without {lost:?}",
            good.name,
            good.index
        );
    }
    Ok(count)
}

/// A run ended as it should, or says what it could not do.
pub(crate) fn ended_with(ended: &Ended, codes: &[i32], day: Date) -> Result<()> {
    ensure!(
        codes.contains(&ended.code),
        "day {day}: ended with {}, not {codes:?}\n{}\n{}",
        ended.code,
        ended.stdout,
        ended.stderr
    );
    Ok(())
}
