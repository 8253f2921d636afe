//! At most so many deletions a run.

use std::collections::HashSet;

use jiff::civil::Date;

use super::{Entry, Policy, Step};

/// Puts off deletions beyond a day's usual ones (one snapshot and one index of each policy, the oldest) and `max_deletes`
/// more, which are the oldest of all.
pub(super) fn put_off(entries: &mut [Entry], policies: &[Policy], max_deletes: u32) {
    let mut deletions: Vec<(Date, u8, usize)> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let index = match &entry.step {
            Step::DeleteSnapshot { index, .. } => index,
            Step::DeleteIndex { .. } => &entry.name,
            _ => continue,
        };
        let policy = policies.iter().find(|policy| policy.names.prefix == entry.prefix);
        let read = policy.and_then(|policy| policy.names.read(index));
        deletions.push((read.map_or(Date::MAX, |read| read.day), entry.step.rank(), at));
    }
    deletions.sort_unstable();
    let mut usual: HashSet<(String, u8)> = HashSet::new();
    let mut left = max_deletes;
    for (_, rank, at) in deletions {
        let Some(entry) = entries.get_mut(at) else {
            continue;
        };
        if usual.insert((entry.prefix.clone(), rank)) {
            continue;
        }
        if left > 0 {
            left -= 1;
            continue;
        }
        entry.why = format!(
            "{}; --max-deletes={max_deletes} puts it off: {}",
            entry.step.words(),
            entry.why
        );
        entry.step = Step::PutOff;
    }
}
