//! What is to be done on a day: a value, made from the day, the state of the cluster and the policies, and nothing else.
//!
//! With `i` the days an index is kept and `s` the days a snapshot is kept, and X the day of an index:
//!
//! | when | what |
//! |---|---|
//! | from X + i | the index is snapshotted, unless a good snapshot holds just what it holds now |
//! | from X + i + 1, and a day after that snapshot | the index is deleted |
//! | from X + s, `s - i` days after it was taken, the index gone | the snapshot is deleted |
//! | always | the index of tomorrow is there |
//!
//! Every index and snapshot of a policy gets an [`Entry`], with a [`Step`] or with the reason why there is none.

mod budget;
mod indices;
mod snapshots;
#[cfg(test)]
mod tests;

pub(crate) use indices::{is_replaceable as snapshot_is_replaceable, proves as indices_prove};
pub(crate) use snapshots::expired_on as snapshot_expired_on;

use std::collections::BTreeMap;

use jiff::{civil::Date, tz::TimeZone};
use serde::Serialize;

use crate::{
    cluster::{
        indices::{Index, IndexRow},
        record::Contents,
        snapshots::Snapshot,
    },
    names::{IndexDay, IndexNames, add_days},
};

/// What is kept how long, for the indices of one kind of name.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Which indices.
    pub names: IndexNames,
    /// Days an index is kept before it is snapshotted.
    pub index_retention: u32,
    /// Days from the day of the index until its snapshot is deleted, at least two more.
    pub snapshot_retention: u32,
    /// Shards of a new index, where no template says.
    pub shards: u32,
    /// Replicas of a new index, where no template says.
    pub replicas: u32,
    /// Whether tomorrow's index is created.
    pub create_ahead: bool,
}

/// What the cluster holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterState {
    /// The indices that belong to a policy.
    pub indices: Vec<IndexState>,
    /// The snapshots of the repository that may belong to one.
    pub snapshots: Vec<Snapshot>,
}

/// An index with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexState {
    /// Name, UUID, aliases, blocks.
    pub index: Index,
    /// Open or closed, its size.
    pub row: IndexRow,
    /// What it holds, or why that cannot be told; `None` when it was not asked for.
    pub contents: Option<Result<Contents, String>>,
}

/// What to do on a day, in the order in which it is to be done, and what not to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The day.
    pub day: Date,
    /// One for each index and snapshot, those with steps first and in their order.
    pub entries: Vec<Entry>,
}

/// What becomes of an index or snapshot, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The prefix of its policy.
    pub prefix: String,
    /// Its name.
    pub name: String,
    /// Whether it is an index or a snapshot.
    pub what: What,
    /// What is done.
    pub step: Step,
    /// Why, in words.
    pub why: String,
}

/// What an [`Entry`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// An index.
    Index,
    /// A snapshot.
    Snapshot,
}

/// What is done. Steps carry what they were decided on, and whoever does them looks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Step {
    /// Deletes an expired snapshot.
    DeleteSnapshot {
        /// The index it is of.
        index: String,
        /// The day from which it may be deleted.
        due: Date,
    },
    /// Deletes an index that is in a good snapshot.
    DeleteIndex {
        /// The index as it was seen.
        uuid: String,
        /// The snapshot that holds it.
        snapshot: String,
    },
    /// Takes a snapshot of an index.
    TakeSnapshot {
        /// The index as it was seen.
        uuid: String,
        /// The name of the snapshot.
        snapshot: String,
        /// Snapshots that did not end well and make room for it, or are not needed any more.
        replaces: Vec<String>,
    },
    /// Creates an index.
    CreateIndex {
        /// Shards, where no template says.
        shards: u32,
        /// Replicas, where no template says.
        replicas: u32,
    },
    /// Nothing is due.
    Keep,
    /// Nothing is due because of a rule that the user made; it is said once more.
    Protected,
    /// Something is due and cannot be done as things are: somebody must act.
    Stuck,
    /// Something is due and is put off by `--max-deletes`.
    PutOff,
}

impl Step {
    /// Whether there is something to do.
    pub fn is_action(&self) -> bool {
        !matches!(self, Step::Keep | Step::Protected | Step::Stuck | Step::PutOff)
    }

    /// A few words for a table.
    pub fn words(&self) -> &'static str {
        match self {
            Step::DeleteSnapshot { .. } => "delete snapshot",
            Step::DeleteIndex { .. } => "delete index",
            Step::TakeSnapshot { .. } => "take snapshot",
            Step::CreateIndex { .. } => "create index",
            Step::Keep => "keep",
            Step::Protected => "protected",
            Step::Stuck => "stuck",
            Step::PutOff => "put off",
        }
    }

    /// The place in the order of a run.
    fn rank(&self) -> u8 {
        match self {
            Step::DeleteSnapshot { .. } => 0,
            Step::DeleteIndex { .. } => 1,
            Step::TakeSnapshot { .. } => 2,
            Step::CreateIndex { .. } => 3,
            Step::PutOff => 4,
            Step::Stuck => 5,
            Step::Protected => 6,
            Step::Keep => 7,
        }
    }
}

impl Policy {
    /// The first day on which an index of `day` is snapshotted.
    pub fn snapshot_due(&self, day: Date) -> Date {
        add_days(day, i64::from(self.index_retention))
    }

    /// The first day on which an index of `day` may be deleted.
    pub fn deletion_due(&self, day: Date) -> Date {
        add_days(self.snapshot_due(day), 1)
    }

    /// The first day on which a snapshot that was taken on `taken`, of an index of `day`, may be deleted.
    pub fn expiry(&self, day: Date, taken: Date) -> Date {
        let by_index = add_days(day, i64::from(self.snapshot_retention));
        let beside = i64::from(self.snapshot_retention) - i64::from(self.index_retention);
        by_index.max(add_days(taken, beside))
    }
}

/// The day a snapshot was taken: the run's day as it was written down, else the server's end time, else its start.
pub fn taken_on(snapshot: &Snapshot) -> Option<Date> {
    if let Some(record) = &snapshot.record {
        return Some(record.day);
    }
    let server_ms = [snapshot.end_ms, snapshot.start_ms]
        .into_iter()
        .find(|ms| *ms > 0)?;
    let timestamp = jiff::Timestamp::from_millisecond(server_ms).ok()?;
    Some(TimeZone::UTC.to_datetime(timestamp).date())
}

/// A snapshot of an index of a policy.
#[derive(Debug, Clone, Copy)]
struct Generation<'a> {
    number: u32,
    snapshot: &'a Snapshot,
}

/// The snapshots of a policy by index, generations in order.
type ByIndex<'a> = BTreeMap<&'a str, (IndexDay, Vec<Generation<'a>>)>;

/// Decides what is to be done on `day`. Beside one snapshot and one index of each policy, at most `max_deletes` are
/// deleted.
pub fn plan(day: Date, state: &ClusterState, policies: &[Policy], max_deletes: u32) -> Plan {
    let mut entries = Vec::new();
    for policy in policies {
        let generations = generations(policy, &state.snapshots);
        let mut alive: BTreeMap<&str, &IndexState> = BTreeMap::new();
        for index in &state.indices {
            if policy.names.read(&index.index.name).is_some() {
                alive.insert(&index.index.name, index);
            }
        }
        let mut add = |name: &str, what: What, (step, why): (Step, String)| {
            entries.push(Entry {
                prefix: policy.names.prefix.clone(),
                name: name.to_owned(),
                what,
                step,
                why,
            });
        };
        for (name, index) in &alive {
            let Some(read) = policy.names.read(name) else {
                continue;
            };
            let own = generations.get(name).map_or(&[][..], |(_, own)| own.as_slice());
            add(name, What::Index, indices::judge(day, policy, &read, index, own));
        }
        for (index, (read, own)) in &generations {
            for generation in own {
                let judged = snapshots::judge(
                    day,
                    policy,
                    read,
                    index,
                    generation.snapshot,
                    alive.contains_key(index),
                );
                add(&generation.snapshot.name, What::Snapshot, judged);
            }
        }
        if policy.create_ahead {
            for name in policy.names.names_covering(add_days(day, 1)) {
                if !alive.contains_key(name.as_str()) {
                    let step = Step::CreateIndex {
                        shards: policy.shards,
                        replicas: policy.replicas,
                    };
                    add(
                        &name,
                        What::Index,
                        (step, format!("documents of {} go into it", add_days(day, 1))),
                    );
                }
            }
        }
    }
    budget::put_off(&mut entries, policies, max_deletes);
    // The sort is stable: within a step, policies and days keep their order.
    entries.sort_by_key(|entry| entry.step.rank());
    Plan { day, entries }
}

fn generations<'a>(policy: &Policy, snapshots: &'a [Snapshot]) -> ByIndex<'a> {
    let mut by_index: ByIndex<'a> = BTreeMap::new();
    for snapshot in snapshots {
        if let Some((index, day, number)) = policy.names.read_snapshot(&snapshot.name) {
            let (_, own) = by_index.entry(index).or_insert_with(|| (day, Vec::new()));
            own.push(Generation { number, snapshot });
        }
    }
    for (_, own) in by_index.values_mut() {
        own.sort_by_key(|generation| generation.number);
    }
    by_index
}
