//! Brings a deleted index back under other names.

use serde::Serialize;

use crate::{
    cluster::{CallError, Client, snapshots::Phase},
    execute::Polls,
    names::{restored_name, snapshot_name, split_snapshot_name},
};

/// A generation of an index, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The snapshot.
    pub snapshot: String,
    /// The name it was restored under; no run ever deletes it.
    pub index: String,
    /// Its documents, or why there are none.
    pub outcome: Result<u64, String>,
}

/// Restores all generations of an index, the first as `restored-<index>`, others as `restored-<index>-<generation>`, one
/// after the other, and waits for each. One that is there already is only counted.
///
/// # Errors
/// When the cluster does not answer; what can be restored is restored all the same.
pub async fn restore(client: &Client, repository: &str, index: &str) -> Result<Vec<Restored>, CallError> {
    let names = client
        .snapshot_names(repository, &[snapshot_name(index, 1)])
        .await?;
    let mut generations: Vec<(u32, String)> = names
        .into_iter()
        .filter_map(|name| Some((split_snapshot_name(&name, index)?, name)))
        .collect();
    generations.sort_unstable();
    let mut restored = Vec::new();
    for (generation, snapshot) in generations {
        let target = restored_name(index, generation);
        let outcome = match restore_one(client, repository, index, &snapshot, &target).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_unreachable() || error == CallError::Stopped => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        tracing::info!(snapshot, target, ?outcome, "restored");
        restored.push(Restored {
            snapshot,
            index: target,
            outcome,
        });
    }
    Ok(restored)
}

async fn restore_one(
    client: &Client,
    repository: &str,
    index: &str,
    snapshot: &str,
    target: &str,
) -> Result<Result<u64, String>, CallError> {
    if client.index(target).await?.is_none() {
        let Some(found) = client.snapshot(repository, snapshot).await? else {
            return Ok(Err("the snapshot is gone".to_owned()));
        };
        match &found.phase {
            Phase::Success if found.holds_all_of(index) => {}
            Phase::Success => return Ok(Err(format!("the snapshot does not hold all of {index}"))),
            _ => return Ok(Err(format!("the snapshot is {}", found.ending()))),
        }
        match client.begin_restore(repository, snapshot, index, target).await {
            Ok(()) => {}
            // It may have begun all the same: the look at the index tells.
            Err(error) if error.is_ambiguous() => {
                client.pause(client.patience.first_pause).await?;
                if client.index(target).await?.is_none() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    let mut polls = Polls::new(client);
    while !matches!(client.index_health(target).await?.as_str(), "green" | "yellow") {
        if !polls.next().await? {
            return Ok(Err("it is still being restored".to_owned()));
        }
    }
    client.refresh(target).await?;
    client.count(target).await.map(Ok)
}
