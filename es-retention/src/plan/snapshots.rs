//! What becomes of a snapshot.

use jiff::civil::Date;

use super::{Policy, Step, taken_on};
use crate::{
    cluster::snapshots::{Phase, Snapshot},
    names::IndexDay,
};

/// Decides on one snapshot of `index`.
pub(super) fn judge(
    day: Date,
    policy: &Policy,
    read: &IndexDay,
    index: &str,
    snapshot: &Snapshot,
    index_is_alive: bool,
) -> (Step, String) {
    let ending = snapshot.ending();
    match &snapshot.phase {
        Phase::InProgress => return (Step::Keep, "is being taken".to_owned()),
        Phase::Unknown(_) => return (Step::Stuck, ending),
        _ if index_is_alive => return (Step::Keep, format!("{ending}, {index} is still there")),
        _ => {}
    }
    if !snapshot.holds_only(index) {
        return (
            Step::Stuck,
            format!("{ending}, holds other indices than {index}, and is left alone"),
        );
    }
    let Some(taken) = taken_on(snapshot) else {
        return (
            Step::Stuck,
            format!("{ending}, and nothing says when it was taken"),
        );
    };
    let due = policy.expiry(read.day, taken);
    if day < due {
        return (
            Step::Keep,
            format!("{ending}, taken on {taken}, expires on {due}"),
        );
    }
    let step = Step::DeleteSnapshot {
        index: index.to_owned(),
        due,
    };
    (step, format!("{ending}, taken on {taken}, expired on {due}"))
}

/// The day from which a snapshot of a deleted index may be deleted, once more; `None` when it must not be.
pub(crate) fn expired_on(policy: &Policy, index: &str, snapshot: &Snapshot) -> Option<Date> {
    let read = policy.names.read(index)?;
    let ended = matches!(snapshot.phase, Phase::Success | Phase::Partial | Phase::Failed);
    (ended && snapshot.holds_only(index)).then_some(policy.expiry(read.day, taken_on(snapshot)?))
}
