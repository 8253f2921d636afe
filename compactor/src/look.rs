//! Looking at the bucket: what is there, what cannot be judged, and what is left alone because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use sabre_block::View;
use sabre_block::fetcher::PartialReason;
use sabre_model::BlockId;
use sabre_tsdb::meta::NoCompactReason;

use crate::compactor::Compactor;
use crate::error::PassError;
use crate::metrics::gauge;
use crate::plan::{BlockInfo, Restraint, Young};
use crate::quarantine::{Quarantine, Work};
use crate::unclear::{AllUnclear, Reason, changed_ms, unclear, unplaced};

/// What looks at the bucket found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The blocks that could not be judged by the last look.
    unclear: AllUnclear,
    /// Blocks whose `meta.json` was found broken twice.
    broken_metas: BTreeSet<BlockId>,
    /// Blocks of which downsampling leaves nothing, as this process found out.
    nothing_due: BTreeSet<BlockId>,
    /// Aggregates that this process found sound, though a mark keeps them out of work.
    proven: BTreeSet<BlockId>,
    /// What could not be looked at by the last look, in words.
    unseen: Option<String>,
    /// Whether there was such a thing since [`Compactor::forget_unseen`].
    was_unseen: bool,
    /// The blocks that were too young for the last look.
    young: Young,
}

impl Compactor {
    /// Looks at the bucket.
    ///
    /// A block that cannot be judged stops no other: it is left alone, and so is every place where it may belong, by
    /// [`Compactor::restraint`].
    ///
    /// # Errors
    /// A bucket that cannot be listed.
    pub(crate) async fn sync(&self) -> Result<View, PassError> {
        let mut view = self.look().await?;
        if self.has_new_broken_meta(&view) {
            // It is read again before it is believed.
            self.fetcher.forget_broken_metas().await;
            view = self.look().await?;
            self.looked.lock().broken_metas = broken_metas(&view).collect();
        }
        self.note_unclear(&view);
        let is_there =
            |block: BlockId| view.listing.get(block).is_some() || view.failures.contains_key(&block);
        self.quarantine.lock().retain(is_there);
        {
            let mut looked = self.looked.lock();
            looked.nothing_due.retain(|block| is_there(*block));
            looked.proven.retain(|block| is_there(*block));
            looked.young = Young::of(&view, self.config.consistency_delay_ms);
        }
        self.set_impossible_apart(&BlockInfo::with_incomplete(&view));
        let is_settled = |block, work| is_settled(&view, block, work);
        self.quarantine.lock().settle(is_settled);
        self.show_trouble();
        Ok(view)
    }

    async fn look(&self) -> Result<View, PassError> {
        let synced = self.fetcher.sync(self.now_ms()).await;
        synced.map_err(|error| PassError::Sync(error.to_string()))
    }

    fn has_new_broken_meta(&self, view: &View) -> bool {
        let looked = self.looked.lock();
        broken_metas(view).any(|block| !looked.broken_metas.contains(&block))
    }

    /// Remembers what cannot be judged, and tells of what is new.
    fn note_unclear(&self, view: &View) {
        let now_ms = self.now_ms();
        let mut looked = self.looked.lock();
        let found = unclear(view, &looked.unclear, now_ms);
        for (block, unclear) in &found {
            if looked.unclear.get(block).map(|known| &known.why) != Some(&unclear.why) {
                let why = format!("{block}: {}", unclear.why);
                tracing::error!(%block, error = unclear.why, "block cannot be judged, it and the places it may fill are left alone");
                self.board.error(now_ms, why);
            }
        }
        let mut unread = found
            .iter()
            .filter(|(_, unclear)| unclear.reason == Reason::Unreadable);
        let first = unread.next();
        let unseen = first.map(|(block, unclear)| {
            format!(
                "{} blocks could not be looked at, {block} among them: {}; the others were worked on, except across gaps \
                 where these may belong",
                unread.count().saturating_add(1),
                unclear.why
            )
        });
        looked.was_unseen |= unseen.is_some();
        looked.unseen = unseen;
        looked.unclear = found;
    }

    /// Begins to watch for blocks that cannot be seen.
    pub(crate) fn forget_unseen(&self) {
        self.looked.lock().was_unseen = false;
    }

    /// Whether some block could not be looked at since [`Compactor::forget_unseen`], and every one can now: looks again.
    pub(crate) async fn has_healed(&self) -> bool {
        self.looked.lock().was_unseen && self.sync().await.is_ok() && self.all_were_seen().is_ok()
    }

    /// Whether every block could be looked at by the last look.
    pub(crate) fn all_were_seen(&self) -> Result<(), PassError> {
        match self.looked.lock().unseen.clone() {
            Some(unseen) => Err(PassError::Sync(unseen)),
            None => Ok(()),
        }
    }

    /// The blocks that were too young when the bucket was last looked at.
    pub fn young(&self) -> Young {
        self.looked.lock().young
    }

    /// Remembers that downsampling leaves nothing of a block.
    pub(crate) fn nothing_due_from(&self, block: BlockId) {
        self.looked.lock().nothing_due.insert(block);
    }

    /// Remembers that an aggregate was found sound.
    pub(crate) fn note_proven(&self, block: BlockId) {
        self.looked.lock().proven.insert(block);
    }

    /// The aggregates that somebody marked, for what may be a fault, and that this process has not read yet.
    pub(crate) fn unproven(&self, view: &View) -> BTreeSet<BlockId> {
        let looked = self.looked.lock();
        let aggregates = view.metas.iter().filter(|meta| meta.resolution_ms() != 0);
        let unread = aggregates.filter(|meta| !looked.proven.contains(&meta.ulid));
        unread
            .map(|meta| meta.ulid)
            .filter(|block| may_be_marked_for_a_fault(view, *block))
            .collect()
    }

    /// Blocks that cannot be judged, with what was found.
    pub(crate) fn unclear_reasons(&self) -> BTreeMap<BlockId, String> {
        let looked = self.looked.lock();
        let all = looked.unclear.iter();
        all.map(|(block, unclear)| (*block, unclear.why.clone()))
            .collect()
    }

    /// All blocks that cannot be judged.
    pub(crate) fn unclear(&self) -> AllUnclear {
        self.looked.lock().unclear.clone()
    }

    /// What is left alone now. The same for the loop, for what is counted, and for what is shown.
    pub(crate) fn restraint(&self, view: &View) -> Restraint {
        let marks = &view.marks;
        let unread = view.failures.keys().copied();
        let deleted = marks.deletion.keys().copied();
        let incomplete = view.incomplete_metas.iter().map(|meta| meta.ulid);
        let mut never_downsampled = self.looked.lock().nothing_due.clone();
        never_downsampled.extend(marks.no_downsample.keys());
        let common: BTreeSet<BlockId> = unread.clone().chain(deleted).chain(incomplete).collect();
        let broken = self.avoided(Work::Compaction);
        let not_compacted = broken.iter().chain(&common).chain(marks.no_compact.keys());
        let not_compacted = not_compacted.copied().collect();
        let mut not_downsampled = self.avoided(Work::Downsampling);
        not_downsampled.extend(broken.iter().chain(&common).chain(&never_downsampled));
        let mut not_relied_on = self.with_quarantine(Quarantine::blocks);
        not_relied_on.extend(common.iter().chain(view.incomplete.keys()));
        not_relied_on.extend(self.unproven(view));
        let unplaced = unplaced(view);
        Restraint {
            not_compacted,
            not_downsampled,
            never_downsampled,
            not_retained: unread.collect(),
            not_relied_on,
            marked_no_compact: marks.no_compact.keys().copied().collect(),
            marked_for_deletion: marks.deletion.keys().copied().collect(),
            holds_aggregates: self.may_be_read_soon(view, &unplaced),
            holds_gaps: !unplaced.is_empty(),
        }
    }

    /// Whether one of the blocks could not be read just now. One that cannot be read for long holds nothing up: should it
    /// turn out to be what is made again without it, the two are found to be the same.
    ///
    /// A process that ends with its first iteration sees a block once, and the next one would wait as this one does. There the
    /// block counts as out of reach since it was last changed.
    fn may_be_read_soon(&self, view: &View, unplaced: &BTreeSet<BlockId>) -> bool {
        let now_ms = self.now_ms();
        let looked = self.looked.lock();
        unplaced.iter().any(|block| {
            let Some(unclear) = looked.unclear.get(block) else {
                return false;
            };
            let since_ms = match self.config.waits {
                true => unclear.since_ms,
                false => changed_ms(view, *block),
            };
            unclear.may_be_read_soon(since_ms, now_ms)
        })
    }

    /// A block that ends before it begins was edited by hand: nobody knows where its data belongs.
    fn set_impossible_apart(&self, blocks: &[BlockInfo]) {
        let known = self.avoided(Work::Compaction);
        for block in blocks {
            let (begin, end) = (block.meta.min_time, block.meta.max_time);
            if end < begin && !known.contains(&block.id()) {
                let why = format!(
                    "block {}: meta.json: it ends before it begins: {begin} to {end}",
                    block.id()
                );
                self.set_apart(block.id(), Work::Compaction, why);
            }
        }
    }

    /// Stops, until the process is started again.
    pub(crate) fn halt(&self) {
        self.has_halted.store(true, Ordering::SeqCst);
        self.show_trouble();
    }

    /// Whether it stopped.
    pub(crate) fn is_halted(&self) -> bool {
        self.has_halted.load(Ordering::SeqCst)
    }

    /// What an operator has to look at, if there is anything.
    pub(crate) fn trouble(&self) -> Option<String> {
        let mut all: Vec<String> = self.with_quarantine(|quarantine| {
            let all = quarantine.unsettled();
            all.map(|(block, _, entry)| format!("{block}: {}", entry.why))
                .collect()
        });
        let overlaps = self.overlaps.lock();
        let overlapping = overlaps
            .iter()
            .map(|(group, blocks)| format!("{} blocks of group {group} overlap", blocks.len()));
        all.extend(overlapping);
        let now_ms = self.now_ms();
        for (block, unclear) in &self.looked.lock().unclear {
            if unclear.is_trouble(now_ms) {
                all.push(format!("{block}: {}", unclear.why));
            }
        }
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Shows how many blocks are left alone, and whether anything is stuck. Who halted stays so.
    pub(crate) fn show_trouble(&self) {
        let (compaction, downsampling) = self.with_quarantine(|quarantine| {
            let count = |work| {
                let all = quarantine.unsettled();
                all.filter(|(_, other, _)| *other == work).count()
            };
            (count(Work::Compaction), count(Work::Downsampling))
        });
        let overlapping: usize = self.overlaps.lock().values().map(Vec::len).sum();
        let metrics = &self.metrics;
        metrics.quarantined.with(["compaction"]).set(gauge(compaction));
        metrics
            .quarantined
            .with(["downsampling"])
            .set(gauge(downsampling));
        metrics.overlapping.set(gauge(overlapping));
        for reason in Reason::ALL {
            let looked = self.looked.lock();
            let of_reason = looked.unclear.values().filter(|unclear| unclear.reason == reason);
            metrics
                .unclear
                .with([reason.as_str()])
                .set(gauge(of_reason.count()));
        }
        let is_stuck = self.is_halted() || self.trouble().is_some();
        metrics.halted.set(i64::from(is_stuck));
    }
}

/// Whether a mark keeps the block out of the work.
fn is_settled(view: &View, block: BlockId, work: Work) -> bool {
    let marks = &view.marks;
    let is_kept_out = match work {
        Work::Compaction => marks.no_compact.contains_key(&block),
        Work::Downsampling => marks.no_downsample.contains_key(&block),
    };
    is_kept_out || marks.deletion.contains_key(&block)
}

/// Whether a mark keeps the block out of work, other than those that compactors write of what is sound.
fn may_be_marked_for_a_fault(view: &View, block: BlockId) -> bool {
    use NoCompactReason::{DownsampleVerticalCompaction, IndexSizeExceeding};
    let marks = &view.marks;
    let mark = marks.no_compact.get(&block);
    let is_no_compact =
        mark.is_some_and(|mark| !matches!(mark.reason, IndexSizeExceeding | DownsampleVerticalCompaction));
    is_no_compact || marks.no_downsample.contains_key(&block)
}

/// Blocks whose `meta.json` cannot be understood.
fn broken_metas(view: &View) -> impl Iterator<Item = BlockId> {
    let broken = view.partial.iter();
    broken
        .filter(|(_, partial)| matches!(partial.reason, PartialReason::CorruptMeta(_)))
        .map(|(block, _)| *block)
}
