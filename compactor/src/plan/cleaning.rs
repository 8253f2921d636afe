//! What is deleted: blocks whose mark is old enough, uploads that were given up; and which blocks are garbage.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sabre_block::View;
use sabre_block::filter::{self, State, sources_of};
use sabre_model::{BlockId, Labels};
use sabre_objstore::PendingUpload;
use sabre_tsdb::meta::BlockMeta;

use super::policy::{HOUR_MS, Policy};

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
    policy: &Policy,
    now_ms: i64,
) -> CleaningPlan {
    let mut plan = CleaningPlan::default();
    for (block, mark) in &view.marks.deletion {
        let delay_ms = deletion_delay_ms(view, *block, policy);
        if !is_left_out(view, *block) && filter::is_expired(mark, delay_ms, now_ms) {
            plan.marked.push((*block, mark.deletion_time_s));
        }
    }
    for (block, partial) in &view.partial {
        let since_ms = partial.age_from_ms(*block);
        let is_marked = view.marks.deletion.contains_key(block);
        // What could not be looked at may be anything.
        let is_unknown = view.failures.contains_key(block) || is_meta_listed(view, *block);
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
/// What makes them so must be there to stay: a block of the same resolution and labels that has all their sources, has no
/// deletion mark itself, has all its files, could be looked at, and is none of `doubted`, which are those found broken.
pub fn plan_garbage(view: &View, doubted: &BTreeSet<BlockId>) -> Vec<BlockId> {
    let is_sure = |meta: &&Arc<BlockMeta>| {
        let block = meta.ulid;
        let is_unknown = view.failures.contains_key(&block) || view.incomplete.contains_key(&block);
        !is_unknown && !view.marks.deletion.contains_key(&block) && !doubted.contains(&block)
    };
    let mut coverers: HashMap<(i64, Labels), Vec<HashSet<BlockId>>> = HashMap::new();
    if !view.duplicates.is_empty() {
        for meta in view.metas.iter().filter(is_sure) {
            let sources = sources_of(meta).iter().copied();
            let of_group = coverers.entry((meta.resolution_ms(), meta.ext_labels()));
            of_group.or_default().push(sources.collect());
        }
    }
    let mut garbage = Vec::new();
    for meta in &view.duplicates {
        let sources = sources_of(meta);
        let of_group = coverers.get(&(meta.resolution_ms(), meta.ext_labels()));
        let mut of_group = of_group.into_iter().flatten();
        let is_covered = of_group.any(|held| sources.iter().all(|source| held.contains(source)));
        if is_covered && !view.marks.deletion.contains_key(&meta.ulid) {
            garbage.push(meta.ulid);
        }
    }
    garbage
}

/// How old the mark of a block must be. Where nobody can tell whose the block is, and another compactor may have another
/// delay, it waits as long again as an upload does.
fn deletion_delay_ms(view: &View, block: BlockId, policy: &Policy) -> i64 {
    let may_be_of_others = policy.leaves_blocks_out
        && view.failures.contains_key(&block)
        && view.known.binary_search_by_key(&block, |meta| meta.ulid).is_err();
    match may_be_of_others {
        true => policy.delete_delay_ms.saturating_add(PARTIAL_UPLOAD_AGE_MS),
        false => policy.delete_delay_ms,
    }
}

/// Whether the listing has the block's `meta.json`, whatever became of it when it was read. Then it is no upload that was
/// given up: an operator looks at it, or the next sync sees it gone.
pub(crate) fn is_meta_listed(view: &View, block: BlockId) -> bool {
    let objects = view.listing.get(block);
    objects.is_some_and(|objects| objects.meta.is_some())
}

/// Whether flags leave the block out: another compactor may have it, with another delay, or it is too young to be touched,
/// as Thanos has it.
fn is_left_out(view: &View, block: BlockId) -> bool {
    let state = view.dropped.get(&block);
    matches!(
        state,
        Some(State::LabelExcluded | State::TimeExcluded | State::TooFresh)
    )
}

fn is_given_up(since_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(since_ms) > PARTIAL_UPLOAD_AGE_MS
}
