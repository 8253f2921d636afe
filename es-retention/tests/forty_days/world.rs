//! What was written, and what became of it: kept apart from the cluster, to hold it against.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{ToSpan, civil::Date};

use crate::{
    cluster::Ids,
    job::{INDEX_RETENTION, PREFIX, SNAPSHOT_RETENTION},
};

/// A day's index and all that was ever written to it.
#[derive(Debug, Default)]
pub(crate) struct Day {
    pub(crate) written: Ids,
    /// The day of the last writing.
    pub(crate) last_write: Option<Date>,
    /// The run's day of the last good snapshot that was taken after it.
    pub(crate) last_good: Option<Date>,
    /// Runs since then on days when the index and its snapshots were due to go.
    pub(crate) runs_when_due: u32,
    /// It was seen to be gone from both.
    pub(crate) is_gone: bool,
}

/// A good snapshot, as it was restored when it was first seen.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    pub(crate) name: String,
    pub(crate) index: String,
    pub(crate) ids: Ids,
}

/// Everything that was written, and every good snapshot that was ever seen.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) days: BTreeMap<Date, Day>,
    /// By uuid and index.
    pub(crate) good: BTreeMap<(String, String), Good>,
    /// Snapshots that were restored by the command just before they were due to go.
    pub(crate) restored_at_the_end: BTreeSet<String>,
    pub(crate) counted_docs: u64,
    pub(crate) documents_checked: u64,
}

pub(crate) fn days_after(day: Date, days: i32) -> Date {
    day.checked_add(days.days()).expect("a day")
}

pub(crate) fn index_of(day: Date) -> String {
    format!("{PREFIX}{}", day.strftime("%Y.%m.%d"))
}

/// The day of an index of ours.
pub(crate) fn day_of(index: &str) -> Option<Date> {
    Date::strptime("%Y.%m.%d", index.strip_prefix(PREFIX)?).ok()
}

/// The index that a snapshot's name says, without its generation.
pub(crate) fn index_of_snapshot(snapshot: &str) -> Option<&str> {
    let rest = snapshot.strip_prefix("sn_")?;
    let length = PREFIX.len() + "2026.01.01".len();
    let (index, generation) = rest.split_at_checked(length)?;
    let is_generation = generation
        .strip_prefix('-')
        .is_some_and(|number| number.parse::<u32>().is_ok());
    (generation.is_empty() || is_generation).then_some(index)
}

impl World {
    /// Makes ids of new documents for a day's index, and remembers them.
    pub(crate) fn make(&mut self, index_day: Date, today: Date, count: usize) -> Vec<String> {
        let day = self.days.entry(index_day).or_default();
        let first = day.written.len();
        let ids: Vec<String> = (first..first + count)
            .map(|number| format!("{index_day}-{number}"))
            .collect();
        day.written.extend(ids.iter().cloned());
        day.last_write = Some(today);
        day.last_good = None;
        day.runs_when_due = 0;
        day.is_gone = false;
        ids
    }

    /// A good snapshot was taken by the run of `today`.
    pub(crate) fn snapshot_taken(&mut self, index: &str, today: Date) {
        if let Some(day) = day_of(index).and_then(|day| self.days.get_mut(&day)) {
            day.last_good = Some(today);
            day.runs_when_due = 0;
        }
    }

    /// A run ended on `today`: counts for all that were due on it.
    pub(crate) fn run_ended(&mut self, today: Date) {
        for (day, known) in &mut self.days {
            let Some(taken) = known.last_good else { continue };
            let by_age = days_after(*day, SNAPSHOT_RETENTION);
            let by_snapshot = days_after(taken, SNAPSHOT_RETENTION - INDEX_RETENTION);
            if today >= by_age.max(by_snapshot) {
                known.runs_when_due += 1;
            }
        }
    }
}
