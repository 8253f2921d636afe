//! A run of series entries as decoded, before labels are put together.

use std::ops::Range;

use sabre_tsdb::{
    Corruption,
    index::series::{SeriesEntry, SeriesError, decode_into},
};

use crate::{
    block::ServedBlock,
    entry::{self, Wanted},
    error::RequestError,
    label_table::{LabelTable, Learnt, Pair, Slot},
    picks::Pick,
    series_part::{RawPart, Used},
};

/// How much one run may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunLimits {
    /// Most series.
    pub(crate) series: usize,
    /// Stop after about so many bytes.
    pub(crate) bytes: usize,
}

/// What became of the labels of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// All of those that are left are known. Entries at the end may have been given up.
    Known { given_up: Used },
    /// One entry is left, whose labels take so many bytes.
    Needs { bytes: u64, given_up: Used },
}

/// Why nothing was decoded.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The next series is longer than the bytes at hand: so many bytes from its start are needed.
    NeedMore(u64),
    /// The request has failed.
    Failed(RequestError),
}

/// Entries one after the other; all memory is used again by the next run.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    entries: Vec<Entry>,
    pairs: Vec<Pair>,
    /// What is known of each pair.
    slots: Vec<Slot>,
    /// Pairs of which nothing is known yet, by their places in `pairs`.
    unknown: Vec<usize>,
    chunks: Vec<Pick>,
    /// How many entries had labels that fitted, if not all of a run had, and more with each run since.
    most: Option<usize>,
    /// Whether that was so in the last run.
    did_not_fit: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    start: u64,
    /// How long it is.
    len: u64,
    /// Where the entry after it begins.
    next: u64,
    pairs_end: usize,
    chunks_end: usize,
    /// How many labels it begins with that are those of the entry before, at the same places.
    shared: usize,
}

impl Entries {
    /// Decodes entries until a limit is reached or the part ends.
    pub(crate) fn read(
        &mut self,
        block: &ServedBlock,
        part: &mut RawPart,
        table: &LabelTable,
        (wanted, limits): (Wanted, RunLimits),
    ) -> Result<(), DecodeError> {
        self.entries.clear();
        self.pairs.clear();
        self.slots.clear();
        self.unknown.clear();
        self.chunks.clear();
        if !std::mem::take(&mut self.did_not_fit) {
            // Not twice as many: so most runs fit, though labels are long.
            let more = |most: usize| most.checked_add(most / 4 + 1);
            self.most = self.most.and_then(more);
        }
        let most = limits.series.min(self.most.unwrap_or(usize::MAX)).max(1);
        while let Some(start) = part.next_start() {
            let is_full = self.entries.len() >= most || self.size_bytes() >= limits.bytes;
            if is_full && !self.entries.is_empty() {
                break;
            }
            let before = self.entries.last().copied().unwrap_or_default();
            let len = match entry::decode(part.next_bytes(), wanted, &mut self.pairs, &mut self.chunks) {
                Ok(len) => len as u64,
                Err(SeriesError::NeedMore { .. }) if !self.entries.is_empty() => break,
                Err(SeriesError::NeedMore { needed_bytes }) => {
                    return Err(DecodeError::NeedMore(needed_bytes));
                }
                Err(SeriesError::Corrupt(corruption)) => {
                    return Err(broken(block, corruption.shifted(start)));
                }
            };
            let names = self.pairs.get(before.pairs_end..).unwrap_or_default();
            if !names.is_sorted_by(|a, b| a.name() < b.name()) {
                let what = "the names of a series' labels are not in order";
                return Err(broken(block, Corruption::at("index series", start, what)));
            }
            part.advance(len);
            let end = start.saturating_add(len);
            self.entries.push(Entry {
                start,
                len,
                next: end
                    .checked_next_multiple_of(block.series_alignment())
                    .unwrap_or(end),
                pairs_end: self.pairs.len(),
                chunks_end: self.chunks.len(),
                shared: 0,
            });
            self.look_up(table);
        }
        Ok(())
    }

    /// Finds the slots of the last entry's pairs. Neighbours share most labels, at the same places.
    fn look_up(&mut self, table: &LabelTable) {
        let number = self.entries.len().saturating_sub(1);
        let own = self.pair_range(number);
        let before = match number.checked_sub(1) {
            Some(before) => self.pair_range(before),
            None => own.start..own.start,
        };
        let shared = self.shared_pairs(&own, &before);
        if let Some(entry) = self.entries.last_mut() {
            entry.shared = shared;
        }
        for (at, slot) in (own.start..).zip(before.start..).take(shared) {
            let slot = self.slots.get(slot).copied().unwrap_or(Slot::UNKNOWN);
            if slot.is_unknown() {
                self.unknown.push(at);
            }
            self.slots.push(slot);
        }
        let same = (before.start..before.end)
            .map(Some)
            .chain(std::iter::repeat(None));
        for (at, same) in own.zip(same).skip(shared) {
            let pair = self.pairs.get(at);
            let known = same
                .filter(|same| self.pairs.get(*same) == pair)
                .and_then(|same| self.slots.get(same));
            let slot = match known {
                Some(slot) => Some(*slot),
                None => pair.and_then(|pair| table.slot(*pair)),
            };
            if slot.is_none_or(|slot| slot.is_unknown()) {
                self.unknown.push(at);
            }
            self.slots.push(slot.unwrap_or(Slot::UNKNOWN));
        }
    }

    /// How many pairs two ranges begin with that are the same.
    fn shared_pairs(&self, own: &Range<usize>, before: &Range<usize>) -> usize {
        let pairs = |range: &Range<usize>| self.pairs.get(range.clone()).unwrap_or_default().iter();
        pairs(own).zip(pairs(before)).take_while(|(a, b)| a == b).count()
    }

    /// Whether some pairs are not in the table yet.
    pub(crate) fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Looks up in the index-header, which may read the disk, what the table does not know. The texts may take so many
    /// bytes: entries at the end are given up for that.
    pub(crate) fn learn(
        &mut self,
        block: &ServedBlock,
        table: &mut LabelTable,
        most_bytes: u64,
    ) -> Result<Fit, RequestError> {
        if table.is_full() {
            table.clear();
            self.unknown.clear();
            for (at, (pair, slot)) in self.pairs.iter().zip(&mut self.slots).enumerate() {
                if table.slot(*pair).is_none() {
                    *slot = Slot::UNKNOWN;
                    self.unknown.push(at);
                }
            }
        }
        let mut given_up = Used::default();
        loop {
            let missing = self.unknown.iter().filter_map(|at| self.pairs.get(*at));
            let learnt = table.learn(&block.header, missing.copied().collect(), most_bytes);
            match learnt.map_err(RequestError::Block)? {
                Learnt::All => break,
                Learnt::TooLong { bytes } if self.entries.len() <= 1 => {
                    // The next ones may be as long.
                    (self.most, self.did_not_fit) = (Some(1), true);
                    return Ok(Fit::Needs { bytes, given_up });
                }
                Learnt::TooLong { .. } => self.give_up_half(&mut given_up),
            }
        }
        if given_up.series > 0 {
            (self.most, self.did_not_fit) = (Some(self.entries.len()), true);
        }
        for &at in &self.unknown {
            let slot = self.pairs.get(at).and_then(|pair| table.slot(*pair));
            if let (Some(place), Some(slot)) = (self.slots.get_mut(at), slot) {
                *place = slot;
            }
        }
        self.unknown.clear();
        Ok(Fit::Known { given_up })
    }

    /// Forgets the later half of the entries.
    fn give_up_half(&mut self, given_up: &mut Used) {
        let keep = self.entries.len().div_ceil(2);
        for entry in self.entries.drain(keep..) {
            given_up.series += 1;
            given_up.bytes = given_up.bytes.saturating_add(entry.len);
        }
        let last = self.entries.last().copied().unwrap_or_default();
        self.pairs.truncate(last.pairs_end);
        self.slots.truncate(last.pairs_end);
        self.chunks.truncate(last.chunks_end);
        self.unknown.retain(|at| *at < last.pairs_end);
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the lists of an entry take in a batch: its labels, as pieces of its key, and its chunks.
    pub(crate) fn batch_bytes(&self, number: usize) -> usize {
        self.key_bytes(number)
            .saturating_add(size_of_val(self.chunks(number)))
    }

    /// How many bytes the key pieces of an entry's labels have together.
    pub(crate) fn key_bytes(&self, number: usize) -> usize {
        let (_, slots) = self.labels(number);
        slots.iter().map(|slot| slot.len()).sum()
    }

    /// The labels of an entry, and what is known of them.
    pub(crate) fn labels(&self, number: usize) -> (&[Pair], &[Slot]) {
        let range = self.pair_range(number);
        let slots = self.slots.get(range.clone()).unwrap_or_default();
        (self.pairs.get(range).unwrap_or_default(), slots)
    }

    /// How many labels an entry begins with that are those of the entry before.
    pub(crate) fn shared(&self, number: usize) -> usize {
        self.entries.get(number).map_or(0, |entry| entry.shared)
    }

    /// Whether the entry behind this one may begin with all of its labels; so it is if that is not decoded yet.
    pub(crate) fn may_go_on(&self, number: usize) -> bool {
        let next = number.checked_add(1).and_then(|next| self.entries.get(next));
        next.is_none_or(|next| next.shared >= self.pair_range(number).len())
    }

    /// The chunks of an entry.
    pub(crate) fn chunks(&self, number: usize) -> &[Pick] {
        self.chunks.get(self.chunk_range(number)).unwrap_or_default()
    }

    /// The first chunk of the series that follows an entry in the file, selected or not, if its bytes are in `part`.
    pub(crate) fn first_ref_behind(&self, number: usize, part: &RawPart) -> Option<u64> {
        let entry = self.entries.get(number)?;
        let next = number.checked_add(1)?;
        if self
            .entries
            .get(next)
            .is_some_and(|next| next.start == entry.next)
        {
            return Some(self.chunks(next).first()?.chunk_ref);
        }
        let mut behind = SeriesEntry::default();
        decode_into(part.bytes_at(entry.next), &mut behind).ok()?;
        Some(behind.chunks.first()?.chunk_ref)
    }

    fn pair_range(&self, number: usize) -> Range<usize> {
        let (before, entry) = self.around(number);
        before.pairs_end..entry.pairs_end
    }

    fn chunk_range(&self, number: usize) -> Range<usize> {
        let (before, entry) = self.around(number);
        before.chunks_end..entry.chunks_end
    }

    fn around(&self, number: usize) -> (Entry, Entry) {
        let before = number.checked_sub(1).and_then(|before| self.entries.get(before));
        let before = before.copied().unwrap_or_default();
        (before, self.entries.get(number).copied().unwrap_or(before))
    }

    fn size_bytes(&self) -> usize {
        self.pairs.len() * (size_of::<Pair>() + size_of::<Slot>()) + self.chunks.len() * size_of::<Pick>()
    }
}

fn broken(block: &ServedBlock, corruption: Corruption) -> DecodeError {
    DecodeError::Failed(RequestError::Block(block.index_error(corruption)))
}
