//! Merges the series of many blocks into batches that are fetched and sent together.

use std::cmp::Ordering;

use crate::{
    merge::LoserTree,
    partition::{GAP_BYTES, cost_bytes},
    picks::{Pick, SeriesBatch},
    ranges,
};

/// A chunk to send, and which stream it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MergedPick {
    pub(crate) stream: u32,
    pub(crate) pick: Pick,
}

/// How much a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeLimits {
    /// Most series.
    pub(crate) series: usize,
    /// Stop after about so many bytes to fetch.
    pub(crate) fetch_bytes: u64,
    /// Stop after about so many bytes of keys and picks.
    pub(crate) memory_bytes: usize,
    /// Pause after so many series of the streams.
    pub(crate) steps: usize,
}

/// Merged series with the chunks to fetch for them. The first and the last series may be parts of a series that is
/// larger than a batch.
#[derive(Debug, Default)]
pub(crate) struct MergedBatch {
    keys: Vec<u8>,
    picks: Vec<MergedPick>,
    ends: Vec<(usize, usize)>,
    fetch_bytes: u64,
    /// Where the last range of each stream ended: segment and offset.
    last_ends: Vec<Option<(u32, u64)>>,
    /// The last series goes on in the next batch.
    is_cut: bool,
}

/// What [`Merger::fill`] stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The next series of this stream are needed.
    Need(usize),
    /// The batch is full.
    Full,
    /// It has worked long enough for one turn.
    Pause,
    /// All series were merged.
    End,
}

/// Up to so many streams are looked through for all that have the smallest series: where they have it in common, as
/// blocks of the same targets do, that takes a comparison for each, and a tree several.
const FEW_STREAMS: usize = 8;

/// Merges sorted streams; equal series become one.
#[derive(Debug)]
pub(crate) struct Merger {
    heads: Vec<Head>,
    /// Which of few streams have the smallest series, one bit for each; none if that is to be found out.
    smallest: u8,
    /// Whether the series that is being put together is that one.
    is_current: bool,
    /// Finds the smallest of many streams.
    tree: Option<LoserTree>,
    /// The stream whose head changed since the tree was last right.
    stale: Option<usize>,
    /// The series that is being put together.
    current: Current,
    /// How many series may still be begun.
    series_left: u64,
}

#[derive(Debug, Default)]
struct Head {
    batch: SeriesBatch,
    at: usize,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Current {
    is_open: bool,
    key: Vec<u8>,
    picks: Vec<MergedPick>,
    /// Picks that went into an earlier batch.
    sent: usize,
    /// All picks are known; what is left waits for the next batch.
    is_whole: bool,
}

impl Merger {
    /// Merges so many streams and yields at most `limit` series; 0 is no limit.
    pub(crate) fn new(streams: usize, limit: u64) -> Self {
        Self {
            heads: std::iter::repeat_with(Head::default).take(streams).collect(),
            smallest: 0,
            is_current: false,
            tree: None,
            stale: None,
            current: Current::default(),
            series_left: if limit == 0 { u64::MAX } else { limit },
        }
    }

    /// Hands over the next series of a stream, at least one; `None` at its end.
    pub(crate) fn supply(&mut self, stream: usize, batch: Option<SeriesBatch>) {
        if let Some(head) = self.heads.get_mut(stream) {
            head.has_ended = batch.is_none();
            head.batch = batch.unwrap_or_default();
            head.at = 0;
        }
    }

    /// Moves series into `out` until it stops for a reason.
    pub(crate) fn fill(&mut self, out: &mut MergedBatch, limits: MergeLimits) -> Stop {
        if let Some(missing) = self.heads.iter().position(Head::is_missing) {
            return Stop::Need(missing);
        }
        self.mend();
        let mut steps = 0;
        loop {
            if self.current.is_whole && !self.current.move_into(out, limits) {
                return Stop::Full;
            }
            let winner = self.winner();
            let next = winner.and_then(|stream| Some((stream, self.heads.get(stream)?)));
            let Some((stream, head)) = next.filter(|(_, head)| !head.has_ended) else {
                match self.current.is_open {
                    true => self.current.is_whole = true,
                    false => return Stop::End,
                }
                continue;
            };
            if self.current.is_open && !self.is_current && self.current.key != head.key() {
                self.current.is_whole = true;
                continue;
            }
            if !self.current.is_open {
                if self.series_left == 0 {
                    return Stop::End;
                }
                if out.is_full(limits) {
                    return Stop::Full;
                }
                self.series_left -= 1;
                self.current.open(head.key());
            }
            self.current.add(stream, head.picks());
            self.is_current = self.smallest != 0;
            if self.advance(stream) {
                return Stop::Need(stream);
            }
            steps += 1;
            if steps >= limits.steps {
                return Stop::Pause;
            }
        }
    }

    /// The stream with the smallest series, the first of them if several have it; it may have ended.
    fn winner(&mut self) -> Option<usize> {
        if let Some(tree) = &self.tree {
            return tree.winner();
        }
        if self.smallest == 0 {
            self.smallest = smallest(&self.heads);
            self.is_current = false;
        }
        (self.smallest != 0).then(|| self.smallest.trailing_zeros() as usize)
    }

    /// Goes to the next series of a stream; true if that has to be supplied.
    fn advance(&mut self, stream: usize) -> bool {
        self.stale = Some(stream);
        // It is the first of those that have the smallest one.
        self.smallest &= self.smallest.wrapping_sub(1);
        let Some(head) = self.heads.get_mut(stream) else {
            return false;
        };
        head.at += 1;
        if head.is_missing() {
            return true;
        }
        self.mend();
        false
    }

    /// Makes the tree right, if there is one.
    fn mend(&mut self) {
        let heads = &self.heads;
        if heads.len() <= FEW_STREAMS {
            return;
        }
        let less = |a: usize, b: usize| match (heads.get(a), heads.get(b)) {
            (Some(head_a), Some(head_b)) => match head_a.compare(head_b) {
                // Streams come in the order of time, so their chunks need not be sorted mostly.
                Ordering::Equal => a < b,
                order => order == Ordering::Less,
            },
            _ => false,
        };
        match &mut self.tree {
            None => self.tree = Some(LoserTree::new(heads.len(), less)),
            Some(tree) if self.stale.is_some() => tree.replay(less),
            Some(_) => {}
        }
        self.stale = None;
    }
}

/// Which of a few streams have the smallest series, one bit for each.
fn smallest(heads: &[Head]) -> u8 {
    let mut found: Option<&[u8]> = None;
    let mut bits = 0u8;
    for (bit, head) in (0..FEW_STREAMS).map(|stream| 1 << stream).zip(heads) {
        if head.has_ended {
            continue;
        }
        let key = head.key();
        match found.map_or(Ordering::Less, |found| key.cmp(found)) {
            Ordering::Less => (found, bits) = (Some(key), bit),
            Ordering::Equal => bits |= bit,
            Ordering::Greater => {}
        }
    }
    bits
}

impl Head {
    fn is_missing(&self) -> bool {
        !self.has_ended && self.at >= self.batch.len()
    }

    fn key(&self) -> &[u8] {
        self.batch.key(self.at)
    }

    fn picks(&self) -> &[Pick] {
        self.batch.picks(self.at)
    }

    /// Streams that have ended come last.
    fn compare(&self, other: &Self) -> Ordering {
        match (self.has_ended, other.has_ended) {
            (false, false) => self.key().cmp(other.key()),
            (ended, other_ended) => ended.cmp(&other_ended),
        }
    }
}

impl Current {
    fn open(&mut self, key: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.picks.clear();
        (self.sent, self.is_open, self.is_whole) = (0, true, false);
    }

    fn add(&mut self, stream: usize, picks: &[Pick]) {
        let stream = u32::try_from(stream).unwrap_or(u32::MAX);
        self.picks
            .extend(picks.iter().map(|&pick| MergedPick { stream, pick }));
    }

    /// Moves the whole series into `out`; false if it does not fit. A series is only cut in two where it is larger
    /// than a batch, so that a label set comes once as a rule.
    fn move_into(&mut self, out: &mut MergedBatch, limits: MergeLimits) -> bool {
        if self.sent == 0 {
            let time = |pick: &MergedPick| (pick.pick.mint_ms, pick.pick.maxt_ms);
            if !self.picks.is_sorted_by_key(time) {
                self.picks.sort_by_key(time);
            }
            let own_bytes: u64 = self.picks.iter().map(|pick| u64::from(pick.pick.len_bytes)).sum();
            if !out.is_empty() && out.fetch_bytes.saturating_add(own_bytes) > limits.fetch_bytes {
                return false;
            }
        }
        let (before, mark) = (self.sent, (out.picks.len(), out.fetch_bytes));
        while let Some(pick) = self.picks.get(self.sent) {
            if out.is_full(limits) && self.sent > before {
                if before == 0 && !out.is_empty() {
                    // What lies between its chunks made it larger than it looked: it is the first of the next batch.
                    out.take_back(mark);
                    self.sent = 0;
                    return false;
                }
                out.end_series(&self.key);
                out.is_cut = true;
                return false;
            }
            out.push(*pick);
            self.sent += 1;
        }
        out.end_series(&self.key);
        (self.is_open, self.is_whole) = (false, false);
        true
    }
}

impl MergedBatch {
    /// An empty one with room for as much as `other` has.
    pub(crate) fn like(other: &Self) -> Self {
        Self {
            keys: Vec::with_capacity(other.keys.len()),
            picks: Vec::with_capacity(other.picks.len()),
            ends: Vec::with_capacity(other.ends.len()),
            ..Self::default()
        }
    }

    /// Whether its last series goes on in the next batch.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Bytes to fetch for it, those between the chunks included.
    #[cfg(test)]
    pub(crate) fn fetch_bytes(&self) -> u64 {
        self.fetch_bytes
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many series it has.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All chunks, series by series.
    pub(crate) fn picks(&self) -> &[MergedPick] {
        &self.picks
    }

    /// The key of a series.
    pub(crate) fn key(&self, at: usize) -> &[u8] {
        let (start, _) = self.start(at);
        let end = self.ends.get(at).map_or(start, |end| end.0);
        self.keys.get(start..end).unwrap_or_default()
    }

    /// Which of the picks are those of a series.
    pub(crate) fn pick_range(&self, at: usize) -> std::ops::Range<usize> {
        let (_, start) = self.start(at);
        start..self.ends.get(at).map_or(start, |end| end.1)
    }

    fn start(&self, at: usize) -> (usize, usize) {
        at.checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or_default()
    }

    fn is_full(&self, limits: MergeLimits) -> bool {
        let memory = self.keys.len() + self.picks.len() * size_of::<MergedPick>();
        self.ends.len() >= limits.series.max(1)
            || self.fetch_bytes >= limits.fetch_bytes
            || memory >= limits.memory_bytes
    }

    fn push(&mut self, merged: MergedPick) {
        let MergedPick { stream, pick } = merged;
        let stream = stream as usize;
        if self.last_ends.len() <= stream {
            self.last_ends.resize(stream + 1, None);
        }
        let (segment, start) = (ranges::segment(pick.chunk_ref), ranges::offset(pick.chunk_ref));
        let end = start.saturating_add(u64::from(pick.len_bytes));
        if let Some(last) = self.last_ends.get_mut(stream) {
            let previous = last
                .filter(|last| last.0 == segment && last.1 <= end)
                .map(|last| last.1);
            self.fetch_bytes = self
                .fetch_bytes
                .saturating_add(cost_bytes(previous, start, end, GAP_BYTES));
            *last = Some((segment, end));
        }
        self.picks.push(merged);
    }

    /// Takes picks back that belong to no series yet; nothing may be added to the batch after that.
    fn take_back(&mut self, (picks, fetch_bytes): (usize, u64)) {
        self.picks.truncate(picks);
        self.fetch_bytes = fetch_bytes;
    }

    fn end_series(&mut self, key: &[u8]) {
        self.keys.extend_from_slice(key);
        self.ends.push((self.keys.len(), self.picks.len()));
    }
}

#[cfg(test)]
mod tests;
