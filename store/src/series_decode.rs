//! Turns bytes of the index into series in the order of the answer.
//!
//! Three steps, the second of which may read the disk: [`SeriesDecoder::read`], [`SeriesDecoder::learn`] if it is
//! needed, [`SeriesDecoder::emit`].

use std::sync::Arc;

use sabre_model::{Matcher, shard::Shard};

use crate::{
    arrange::{Arranger, Arriving},
    block::ServedBlock,
    entries::{DecodeError, Entries, Fit, RunLimits},
    entry::Wanted,
    error::RequestError,
    key,
    key_writer::KeyWriter,
    label_table::{LabelTable, Slot},
    limits::RequestLimits,
    picks::{Pick, SeriesBatch},
    ranges,
    series_part::RawPart,
};

/// Which of a block's selected series and chunks go into the answer.
#[derive(Debug)]
pub(crate) struct SeriesFilter {
    /// First instant asked for.
    pub(crate) mint_ms: i64,
    /// Last instant asked for.
    pub(crate) maxt_ms: i64,
    /// Whether only labels are asked for.
    pub(crate) skip_chunks: bool,
    /// The shard asked for.
    pub(crate) shard: Option<Shard>,
    /// Series up to this key are not in it.
    pub(crate) after: Option<Arc<[u8]>>,
    /// Counts chunks.
    pub(crate) limits: Arc<RequestLimits>,
}

/// Decodes the series of one block during one request.
#[derive(Debug)]
pub(crate) struct SeriesDecoder {
    block: Arc<ServedBlock>,
    filter: Arc<SeriesFilter>,
    table: LabelTable,
    entries: Entries,
    arranger: Arranger,
    keys: KeyWriter,
    /// How many entries of the run have been put together.
    emitted: usize,
    /// How many labels the next entry shares with the one whose key was written last.
    shared: usize,
    /// The chunks of the series that is put together.
    picks: Vec<Pick>,
    /// Matchers that postings have not been asked about.
    deferred: Arc<[Matcher]>,
    /// For the hash of a shard.
    scratch: Vec<u8>,
}

impl SeriesDecoder {
    /// A decoder that yields series in the order of the answer.
    pub(crate) fn new(block: Arc<ServedBlock>, table: LabelTable, filter: Arc<SeriesFilter>) -> Self {
        let arranger = if table.overlay().disorders(block.header.label_names()) {
            Arranger::unsorted()
        } else {
            Arranger::nearly_sorted()
        };
        Self {
            arranger,
            ..Self::in_any_order(block, table, filter)
        }
    }

    /// A decoder for callers to whom the order of series is all the same.
    pub(crate) fn in_any_order(
        block: Arc<ServedBlock>,
        table: LabelTable,
        filter: Arc<SeriesFilter>,
    ) -> Self {
        let arranger = Arranger::nearly_sorted();
        Self {
            block,
            filter,
            table,
            entries: Entries::default(),
            arranger,
            keys: KeyWriter::default(),
            emitted: 0,
            shared: 0,
            picks: Vec::new(),
            deferred: Arc::default(),
            scratch: Vec::new(),
        }
    }

    /// Tries these matchers on the labels of each series: postings have not been asked about them.
    #[must_use]
    pub(crate) fn with_deferred(self, deferred: Arc<[Matcher]>) -> Self {
        Self { deferred, ..self }
    }

    /// Whether a series passes the matchers that postings have not been asked about.
    fn passes(&self, slots: &[Slot]) -> bool {
        self.deferred.iter().all(|matcher| {
            let of_series = slots.iter().flat_map(|slot| key::labels(self.table.piece(*slot)));
            let mut of_name = of_series.filter(|(name, _)| **name == *matcher.name().as_bytes());
            match of_name.next() {
                Some((_, value)) => std::str::from_utf8(&value).is_ok_and(|value| matcher.matches(value)),
                None => matcher.matches(""),
            }
        })
    }

    /// What is left when all series are out: what was learnt of labels.
    pub(crate) fn into_table(self) -> LabelTable {
        self.table
    }

    /// Lets the label table take so much memory.
    pub(crate) fn set_table_bytes(&mut self, table_bytes: usize) {
        self.table.set_capacity(table_bytes);
    }

    /// Decodes the next entries of `part`; true if [`SeriesDecoder::learn`] has to come next.
    pub(crate) fn read(&mut self, part: &mut RawPart, limits: RunLimits) -> Result<bool, DecodeError> {
        let SeriesFilter {
            mint_ms,
            maxt_ms,
            skip_chunks,
            ..
        } = *self.filter;
        let wanted = Wanted {
            mint_ms,
            maxt_ms,
            only_one: skip_chunks,
        };
        self.emitted = 0;
        self.shared = 0;
        self.keys.clear();
        self.entries
            .read(&self.block, part, &self.table, (wanted, limits))?;
        Ok(self.entries.has_unknown())
    }

    /// Looks up labels that were not met before, of no more than so many bytes; may read the disk.
    pub(crate) fn learn(&mut self, most_bytes: u64) -> Result<Fit, RequestError> {
        self.entries.learn(&self.block, &mut self.table, most_bytes)
    }

    /// What the longest of the series that were read takes in a batch.
    pub(crate) fn longest_bytes(&self) -> usize {
        let bytes = (0..self.entries.len()).map(|number| self.entries.batch_bytes(number));
        let longest = bytes.max().unwrap_or(0);
        longest.saturating_add(self.table.overlay().pieces_bytes())
    }

    /// The labels of an entry, and those that are added.
    fn key_bytes(&self, number: usize) -> usize {
        self.entries
            .key_bytes(number)
            .saturating_add(self.table.overlay().pieces_bytes())
    }

    /// Whether all that was read is put together.
    pub(crate) fn is_emitted(&self) -> bool {
        self.emitted >= self.entries.len()
    }

    /// Puts together what was read from `part`, or the next of it whose labels take about so many bytes. There may be
    /// nothing although something was read.
    pub(crate) fn emit(&mut self, part: &RawPart, most_bytes: usize) -> Result<SeriesBatch, RequestError> {
        let first = self.emitted;
        let (mut end, mut key_bytes, mut picks) = (first, 0usize, 0usize);
        while end < self.entries.len() && (end == first || key_bytes < most_bytes) {
            key_bytes = key_bytes.saturating_add(self.key_bytes(end));
            picks = picks.saturating_add(self.entries.chunks(end).len());
            end += 1;
        }
        if self.filter.skip_chunks {
            picks = 0;
        }
        let mut out = SeriesBatch::with_capacity(end.saturating_sub(first), key_bytes, picks);
        for number in first..end {
            let shared = self.entries.shared(number).min(self.shared);
            self.shared = shared;
            match self.fill(shared, number, part)? {
                Filled::No => continue,
                Filled::KeyOnly => {}
                Filled::Whole => self.arrange(number, &mut out),
            }
            self.shared = usize::MAX;
        }
        self.emitted = end;
        Ok(out)
    }

    /// Sends a series on its way.
    fn arrange(&mut self, number: usize, out: &mut SeriesBatch) {
        let (pairs, slots) = self.entries.labels(number);
        let overlay = self.table.overlay();
        let adds_behind = |label: usize| {
            slots
                .get(label)
                .is_some_and(|slot| overlay.adds_behind(slot.place))
        };
        let series = Arriving {
            pairs,
            key: self.keys.key(),
            picks: &self.picks,
            may_go_on: self.entries.may_go_on(number),
        };
        self.arranger.put(series, adds_behind, out);
    }

    /// Hands out what waited, after the last series of the block.
    pub(crate) fn finish(&mut self) -> Vec<SeriesBatch> {
        self.arranger.finish()
    }

    /// Memory of series that wait for others.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.arranger.waiting_bytes()
    }

    /// Whether all series wait to be sorted, which takes its time.
    pub(crate) fn sorts(&self) -> bool {
        self.arranger.sorts()
    }

    /// Puts an entry together, which shares so many labels with the one before of which that was done.
    fn fill(&mut self, shared: usize, number: usize, part: &RawPart) -> Result<Filled, RequestError> {
        let SeriesFilter {
            mint_ms,
            maxt_ms,
            skip_chunks,
            ..
        } = *self.filter;
        let overlaps = |chunk: &Pick| chunk.mint_ms <= maxt_ms && chunk.maxt_ms >= mint_ms;
        let chunks = self.entries.chunks(number);
        if !chunks.iter().any(overlaps) {
            return Ok(Filled::No);
        }
        let (_, slots) = self.entries.labels(number);
        if !self.deferred.is_empty() {
            if !self.passes(slots) {
                return Ok(Filled::No);
            }
            self.filter.limits.series(1)?;
        }
        let key = self.keys.write(shared, &self.table, slots);
        if self.filter.after.as_deref().is_some_and(|after| key <= after) {
            return Ok(Filled::KeyOnly);
        }
        if let Some(shard) = &self.filter.shard
            && !shard.holds(key::labels(key), &mut self.scratch)
        {
            return Ok(Filled::KeyOnly);
        }
        self.picks.clear();
        if skip_chunks {
            return Ok(Filled::Whole);
        }
        for (n, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| overlaps(chunk)) {
            let next = match chunks.get(n + 1) {
                Some(next) => Some(next.chunk_ref),
                None => self.entries.first_ref_behind(number, part),
            };
            let exact = ranges::exact_bytes(chunk.chunk_ref, next);
            self.picks.push(Pick {
                len_bytes: exact.unwrap_or(self.block.chunk_bytes),
                ..*chunk
            });
        }
        self.filter.limits.chunks(self.picks.len() as u64)?;
        Ok(Filled::Whole)
    }
}

/// What was put together of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// Nothing: it does not belong to the answer.
    No,
    /// Its key, and it does not belong to the answer.
    KeyOnly,
    /// All of it.
    Whole,
}
