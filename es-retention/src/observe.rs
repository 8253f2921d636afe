//! Reads what a plan needs to know.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use crate::{
    cluster::{CallError, Client, indices::IndexRow, record::Contents},
    names::snapshot_name,
    plan::{ClusterState, IndexState, Policy},
};

/// How closely indices are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing is touched. Documents that came in last may not be counted yet.
    Only,
    /// Indices that are due are refreshed, so that all documents count.
    Refresh,
}

/// Reads indices and snapshots of the policies, and measures the indices that are due on `day`.
///
/// # Errors
/// When anything does not answer: nothing is decided on half of the facts.
pub async fn observe(
    client: &Client,
    repository: &str,
    policies: &[Policy],
    day: Date,
    look: Look,
) -> Result<ClusterState, CallError> {
    let mut rows: BTreeMap<String, IndexRow> = BTreeMap::new();
    let mut indices = BTreeMap::new();
    for policy in policies {
        let prefix = &policy.names.prefix;
        rows.extend(client.index_rows(prefix).await?);
        for index in client.indices(prefix).await? {
            indices.insert(index.name.clone(), index);
        }
    }
    let mut states = Vec::new();
    for (name, index) in indices {
        let Some((policy, read)) = policies
            .iter()
            .find_map(|policy| Some((policy, policy.names.read(&name)?)))
        else {
            continue;
        };
        // An index that appeared between the two lists is young, and of no interest yet.
        let Some(row) = rows.remove(&name) else { continue };
        let due = day >= policy.snapshot_due(read.day);
        let contents = if due && row.open && index.write_index_of.is_none() {
            match measure(client, &name, look).await {
                Ok(contents) => Some(contents),
                // Another run deleted it just now.
                Err(error) if error.is("index_not_found_exception") => continue,
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        states.push(IndexState { index, row, contents });
    }
    let prefixes: BTreeSet<String> = policies
        .iter()
        .map(|policy| snapshot_name(&policy.names.prefix, 1))
        .collect();
    let prefixes: Vec<String> = prefixes.into_iter().collect();
    let mut names = client.snapshot_names(repository, &prefixes).await?;
    names.retain(|name| {
        policies
            .iter()
            .any(|policy| policy.names.read_snapshot(name).is_some())
    });
    let mut snapshots = client.snapshots(repository, &names).await?;
    client.add_records(&mut snapshots).await?;
    Ok(ClusterState {
        indices: states,
        snapshots,
    })
}

async fn measure(client: &Client, name: &str, look: Look) -> Result<Result<Contents, String>, CallError> {
    match look {
        Look::Only => client.contents(name).await,
        Look::Refresh => client.measure(name).await,
    }
}
