//! What is deleted: blocks whose mark is old enough, uploads that were given up; and which blocks are garbage.

use sabre_block::{View, filter, filter::State};
use sabre_model::BlockId;
use sabre_objstore::PendingUpload;

use super::policy::HOUR_MS;

/// An upload that saw no change for so long was given up.
pub(crate) const PARTIAL_UPLOAD_AGE_MS: i64 = 48 * HOUR_MS;

/// What cleaning deletes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleaningPlan {
    /// Blocks whose deletion mark is older than the delay, with the time of the mark in seconds.
    pub marked: Vec<(BlockId, i64)>,
    /// Blocks without a usable `meta.json` and without a mark, with the time of their last change in milliseconds.
    pub partial: Vec<(BlockId, i64)>,
    /// Multipart uploads that were begun and neither finished nor aborted.
    pub uploads: Vec<PendingUpload>,
}

/// Plans cleaning as of `now_ms`.
///
/// `own` are the blocks that an earlier run of this process was writing when it stopped: their uploads need not wait
/// for the age that tells an upload given up from a slow one.
pub fn plan_cleaning(
    view: &View,
    pending: &[PendingUpload],
    own: &[BlockId],
    delete_delay_ms: i64,
    now_ms: i64,
) -> CleaningPlan {
    let mut plan = CleaningPlan::default();
    for (block, mark) in &view.marks.deletion {
        // Of what could not be looked at nobody knows whose it is.
        let is_unknown = view.failures.contains_key(block);
        if !is_unknown && !is_of_others(view, *block) && filter::is_expired(mark, delete_delay_ms, now_ms) {
            plan.marked.push((*block, mark.deletion_time_s));
        }
    }
    for (block, partial) in &view.partial {
        let since_ms = partial.age_from_ms(*block);
        let is_marked = view.marks.deletion.contains_key(block);
        // What could not be looked at may be anything.
        let is_unknown = view.failures.contains_key(block);
        if !is_marked && !is_unknown && is_given_up(since_ms, now_ms) {
            plan.partial.push((*block, since_ms));
        }
    }
    for upload in pending {
        let Some((block, _)) = sabre_block::layout::split_key(&upload.key) else {
            continue;
        };
        if own.contains(&block) || is_given_up(upload.started_ms, now_ms) {
            plan.uploads.push(upload.clone());
        }
    }
    plan
}

/// Blocks that others make superfluous and that have no deletion mark yet.
///
/// There are none while the marks of a block that counts cannot be read: if it is marked for deletion itself, nothing is
/// superfluous because of it.
pub fn plan_garbage(view: &View) -> Vec<BlockId> {
    if view.failures.keys().any(|block| view.meta(*block).is_some()) {
        return Vec::new();
    }
    let duplicates = view
        .dropped
        .iter()
        .filter(|(_, state)| **state == State::Duplicate);
    let unmarked = duplicates.filter(|(block, _)| !view.marks.deletion.contains_key(block));
    unmarked.map(|(block, _)| *block).collect()
}

/// Whether flags leave the block out: another compactor may have it, with another delay.
fn is_of_others(view: &View, block: BlockId) -> bool {
    let state = view.dropped.get(&block);
    matches!(state, Some(State::LabelExcluded | State::TimeExcluded))
}

fn is_given_up(since_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(since_ms) > PARTIAL_UPLOAD_AGE_MS
}
