//! What there is: indices, snapshots, ages, sizes, gaps, and what is due.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Serialize;

use crate::{
    cluster::{CallError, Client},
    config::Warn,
    findings::findings,
    names::{add_days, days_between},
    observe::{Look, observe},
    plan::{ClusterState, Plan, Policy, What, plan, taken_on},
};

/// Gaps are looked for over at most so many days.
const MAX_GAP_DAYS: i64 = 4000;

/// Everything that is known on a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The day.
    pub day: Date,
    /// What runs there.
    pub engine: String,
    /// What may go wrong soon.
    pub findings: Vec<String>,
    /// Indices and snapshots, by prefix and day.
    pub rows: Vec<Row>,
    /// Days without an index and without a good snapshot, between the oldest and yesterday.
    pub gaps: Vec<Gap>,
}

/// An index or a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its prefix.
    pub prefix: String,
    /// Its name.
    pub name: String,
    /// Which of both.
    pub what: What,
    /// The day its age counts from.
    pub day: Date,
    /// Days since.
    pub age_days: i64,
    /// Health and state of an index, the state of a snapshot.
    pub state: String,
    /// Documents.
    pub docs: Option<u64>,
    /// Bytes.
    pub size_bytes: Option<u64>,
    /// What is due, in a word.
    pub due: &'static str,
    /// Why, or why not.
    pub why: String,
}

/// A period that is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gap {
    /// Its prefix.
    pub prefix: String,
    /// The index that there should be, or its snapshot.
    pub index: String,
}

/// Reads everything and touches nothing.
///
/// # Errors
/// When the cluster does not answer.
pub async fn status(
    client: &Client,
    repository: &str,
    policies: &[Policy],
    warn: &Warn,
    day: Date,
    max_deletes: u32,
) -> Result<Status, CallError> {
    let state = observe(client, repository, policies, day, Look::Only).await?;
    let plan = plan(day, &state, policies, max_deletes);
    let names: Vec<String> = state.snapshots.iter().map(|found| found.name.clone()).collect();
    // Sizes are nice to have; a repository that does not tell them is no reason to tell nothing.
    let sizes: BTreeMap<String, u64> = match client.snapshot_status(repository, &names).await {
        Ok(read) => read
            .into_iter()
            .map(|status| (status.name, status.size_bytes))
            .collect(),
        Err(error) => {
            tracing::warn!(err = %error, "sizes of snapshots cannot be told");
            BTreeMap::new()
        }
    };
    Ok(Status {
        day,
        engine: client.engine.to_string(),
        findings: findings(client, warn, policies, &state).await,
        rows: rows(&plan, &state, policies, &sizes),
        gaps: gaps(&state, policies, day),
    })
}

fn rows(plan: &Plan, state: &ClusterState, policies: &[Policy], sizes: &BTreeMap<String, u64>) -> Vec<Row> {
    let mut rows = Vec::new();
    for entry in &plan.entries {
        let Some(policy) = policies.iter().find(|policy| policy.names.prefix == entry.prefix) else {
            continue;
        };
        let index = state.indices.iter().find(|found| found.index.name == entry.name);
        let snapshot = state.snapshots.iter().find(|found| found.name == entry.name);
        let (read, state, docs, size_bytes) = match (entry.what, index, snapshot) {
            (What::Index, Some(index), _) => {
                let open = if index.row.open {
                    index.row.health.clone()
                } else {
                    "closed".to_owned()
                };
                (
                    policy.names.read(&entry.name),
                    open,
                    Some(index.row.docs),
                    Some(index.row.size_bytes),
                )
            }
            (What::Snapshot, _, Some(snapshot)) => {
                let read = policy.names.read_snapshot(&entry.name).map(|(_, read, _)| read);
                let taken = taken_on(snapshot)
                    .map(|day| format!(", taken on {day}"))
                    .unwrap_or_default();
                let docs = snapshot.record.as_ref().map(|record| record.contents.docs);
                let state = format!("{}{taken}", snapshot.ending());
                (read, state, docs, sizes.get(&entry.name).copied())
            }
            _ => (policy.names.read(&entry.name), "missing".to_owned(), None, None),
        };
        let Some(read) = read else { continue };
        rows.push(Row {
            prefix: entry.prefix.clone(),
            name: entry.name.clone(),
            what: entry.what,
            day: read.day,
            age_days: days_between(read.day, plan.day),
            state,
            docs,
            size_bytes,
            due: entry.step.words(),
            why: entry.why.clone(),
        });
    }
    rows.sort_by(|a, b| {
        (&a.prefix, a.day, a.what as u8, &a.name).cmp(&(&b.prefix, b.day, b.what as u8, &b.name))
    });
    rows
}

/// Periods that are neither in the cluster nor in a good snapshot, from the oldest that is to the day before.
fn gaps(state: &ClusterState, policies: &[Policy], day: Date) -> Vec<Gap> {
    let mut gaps = BTreeSet::new();
    for policy in policies {
        let mut there: BTreeMap<String, Date> = BTreeMap::new();
        for index in &state.indices {
            if let Some(read) = policy.names.read(&index.index.name) {
                there.insert(index.index.name.clone(), read.first_day);
            }
        }
        for snapshot in &state.snapshots {
            if let Some((index, read, _)) = policy.names.read_snapshot(&snapshot.name)
                && snapshot.holds_all_of(index)
            {
                there.insert(index.to_owned(), read.first_day);
            }
        }
        let Some(oldest) = there.values().min() else {
            continue;
        };
        for ago in 1..=days_between(*oldest, day).min(MAX_GAP_DAYS) {
            let name = policy.names.name_of(add_days(day, -ago));
            if !there.contains_key(&name) {
                gaps.insert(Gap {
                    prefix: policy.names.prefix.clone(),
                    index: name,
                });
            }
        }
    }
    gaps.into_iter().collect()
}
