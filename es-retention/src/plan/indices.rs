//! What becomes of an index that is in the cluster.

use jiff::civil::Date;

use super::{Generation, IndexState, Policy, Step, taken_on};
use crate::{
    cluster::{
        record::{Contents, Record},
        snapshots::{Phase, Snapshot},
    },
    names::{IndexDay, snapshot_name},
};

/// Decides on one index; `own` are its snapshots.
pub(super) fn judge(
    day: Date,
    policy: &Policy,
    read: &IndexDay,
    state: &IndexState,
    own: &[Generation<'_>],
) -> (Step, String) {
    let due = policy.snapshot_due(read.day);
    if let Some(writer) = &state.index.write_index_of {
        return (Step::Protected, format!("write index of {writer}"));
    }
    if day < due {
        return (
            Step::Keep,
            format!("of {}, is snapshotted from {due} on", read.day),
        );
    }
    if !state.row.open {
        return (
            Step::Stuck,
            format!("closed, and due since {due}: open it, or delete it yourself"),
        );
    }
    let contents = match &state.contents {
        Some(Ok(contents)) => contents,
        Some(Err(problem)) => return (Step::Stuck, format!("due since {due}, and {problem}")),
        None => return (Step::Stuck, format!("due since {due}, and was not measured")),
    };
    if let Some(running) = own.iter().find(|own| own.snapshot.phase == Phase::InProgress) {
        return (Step::Keep, format!("{} is being taken", running.snapshot.name));
    }
    let name = &state.index.name;
    let holding: Vec<&Snapshot> = own
        .iter()
        .map(|own| own.snapshot)
        .filter(|snapshot| proves(snapshot, name, contents))
        .collect();
    let Some(newest) = holding.last() else {
        return take(state, own, contents, due);
    };
    let earlier = holding
        .iter()
        .rev()
        .find(|snapshot| taken_on(snapshot).is_some_and(|taken| taken < day));
    let deletion_due = policy.deletion_due(read.day);
    match earlier {
        Some(snapshot) if day >= deletion_due => {
            if state.index.blocks.read_only {
                let why = format!(
                    "in {}, and index.blocks.read_only forbids to delete it",
                    snapshot.name
                );
                return (Step::Stuck, why);
            }
            let step = Step::DeleteIndex {
                uuid: state.index.uuid.clone(),
                snapshot: snapshot.name.clone(),
            };
            (
                step,
                format!("of {}, all of it is in {}", read.day, snapshot.name),
            )
        }
        _ => (
            Step::Keep,
            format!("in {}, is deleted from the next day on", newest.name),
        ),
    }
}

/// Whether a snapshot holds all of an index as it is now: it is good, and what was written down is what there is.
pub(crate) fn proves(snapshot: &Snapshot, index: &str, contents: &Contents) -> bool {
    snapshot.holds_all_of(index)
        && matches!(&snapshot.record, Some(Record { index: of, contents: then, .. }) if of == index && then == contents)
}

/// Whether a snapshot did not end well and is of the index that is there now, so that nothing is in it that is not
/// in the cluster.
pub(crate) fn is_replaceable(snapshot: &Snapshot, uuid: &str, created_ms: i64) -> bool {
    if !matches!(snapshot.phase, Phase::Failed | Phase::Partial) {
        return false;
    }
    match &snapshot.record {
        Some(record) => record.contents.uuid == uuid,
        // Names are unique: an index that is older than the snapshot was the one that was snapshotted.
        None => created_ms > 0 && snapshot.start_ms > 0 && created_ms <= snapshot.start_ms,
    }
}

fn take(state: &IndexState, own: &[Generation<'_>], contents: &Contents, due: Date) -> (Step, String) {
    let index = &state.index;
    let replaceable: Vec<&Generation<'_>> = own
        .iter()
        .filter(|own| is_replaceable(own.snapshot, &index.uuid, index.created_ms))
        .collect();
    let generation = match replaceable.first() {
        Some(first) => first.number,
        None => own
            .iter()
            .map(|own| own.number)
            .max()
            .unwrap_or_default()
            .saturating_add(1),
    };
    let why = match (replaceable.first(), own.last()) {
        (Some(first), _) => format!("{} is {}", first.snapshot.name, first.snapshot.ending()),
        (None, None) => format!("due since {due}"),
        (None, Some(last)) => {
            let name = &last.snapshot.name;
            match &last.snapshot.record {
                _ if !last.snapshot.holds_all_of(&index.name) => {
                    format!("{name} is {}", last.snapshot.ending())
                }
                None => format!("it is not written down what {name} holds"),
                Some(record) if record.contents.uuid != contents.uuid => {
                    format!("it was made again after {name}")
                }
                Some(record) => format!(
                    "{name} holds {} documents and there are {} now, or some changed",
                    record.contents.docs, contents.docs
                ),
            }
        }
    };
    let step = Step::TakeSnapshot {
        uuid: index.uuid.clone(),
        snapshot: snapshot_name(&index.name, generation),
        replaces: replaceable.iter().map(|own| own.snapshot.name.clone()).collect(),
    };
    (step, why)
}
