//! Turns bytes of the index into series in the order of the answer.

use std::sync::Arc;

use sabre_block::BlockError;
use sabre_model::{
    series_order::{PrefixStack, overtakes},
    shard::Shard,
};
use sabre_tsdb::index::series::{SeriesEntry, SeriesError, decode_into};

use crate::{
    block::ServedBlock,
    error::RequestError,
    key,
    label_table::{LabelTable, Pair},
    limits::RequestLimits,
    overlay::Overlay,
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
    /// Counts chunks.
    pub(crate) limits: Arc<RequestLimits>,
}

/// How much one call of [`SeriesDecoder::decode`] may produce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Most series.
    pub(crate) series: usize,
    /// Stop after about so many bytes.
    pub(crate) bytes: usize,
}

/// Why nothing was decoded.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The next series is longer than the bytes at hand: so many bytes from its start are needed.
    NeedMore(u64),
    /// The request has failed.
    Failed(RequestError),
}

/// Decodes the series of one block during one request.
#[derive(Debug)]
pub(crate) struct SeriesDecoder {
    block: Arc<ServedBlock>,
    filter: Arc<SeriesFilter>,
    table: LabelTable,
    order: Order,
    spare: Vec<Held>,
    scratch: Scratch,
}

/// How series come into their final order.
#[derive(Debug)]
enum Order {
    /// They nearly have it.
    Stack(PrefixStack<Held>),
    /// All must be known first.
    Sort { all: Vec<Held>, bytes: usize },
}

/// A series that waits for its turn.
#[derive(Debug, Default)]
struct Held {
    pairs: Vec<Pair>,
    key: Vec<u8>,
    picks: Vec<Pick>,
}

/// Entries as decoded, before their labels are looked up.
#[derive(Debug, Default)]
struct Scratch {
    entry: SeriesEntry,
    entries: Vec<Entry>,
    pairs: Vec<Pair>,
    chunks: Vec<Pick>,
    shard: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    /// Where the entry after it begins.
    next: u64,
    pairs_end: usize,
    chunks_end: usize,
}

impl SeriesDecoder {
    /// A decoder whose label table takes about `table_bytes`.
    pub(crate) fn new(
        block: Arc<ServedBlock>,
        overlay: Arc<Overlay>,
        filter: Arc<SeriesFilter>,
        table_bytes: usize,
    ) -> Self {
        let order = if overlay.disorders(block.header.label_names()) {
            Order::Sort {
                all: Vec::new(),
                bytes: 0,
            }
        } else {
            Order::Stack(PrefixStack::new())
        };
        let table = LabelTable::new(overlay, table_bytes);
        Self {
            block,
            filter,
            table,
            order,
            spare: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// A decoder for callers to whom the order of series is all the same.
    pub(crate) fn unsorted(
        block: Arc<ServedBlock>,
        overlay: Arc<Overlay>,
        filter: Arc<SeriesFilter>,
    ) -> Self {
        Self {
            order: Order::Stack(PrefixStack::new()),
            ..Self::new(block, overlay, filter, 0)
        }
    }

    /// Lets the label table take more memory.
    pub(crate) fn set_table_bytes(&mut self, table_bytes: usize) {
        self.table.set_capacity(table_bytes);
    }

    /// Decodes the next series of `part`. What comes out may be empty although something went in.
    pub(crate) fn decode(
        &mut self,
        part: &mut RawPart,
        limits: BatchLimits,
    ) -> Result<SeriesBatch, DecodeError> {
        self.read_entries(part, limits)?;
        let learnt = self.table.learn(&self.block.header, &self.scratch.pairs);
        learnt.map_err(|error| DecodeError::Failed(RequestError::Block(error)))?;
        let mut out = SeriesBatch::default();
        let (mut pairs_start, mut chunks_start) = (0, 0);
        for at in 0..self.scratch.entries.len() {
            let Some(entry) = self.scratch.entries.get(at).copied() else {
                break;
            };
            let mut held = self.spare.pop().unwrap_or_default();
            let kept = self.fill(
                &mut held,
                at,
                pairs_start..entry.pairs_end,
                chunks_start..entry.chunks_end,
                part,
            );
            if kept.map_err(DecodeError::Failed)? {
                self.put(held, &mut out);
            } else {
                self.spare.push(held);
            }
            (pairs_start, chunks_start) = (entry.pairs_end, entry.chunks_end);
        }
        Ok(out)
    }

    /// Hands out what waited, after the last series of the block.
    pub(crate) fn finish(&mut self) -> Vec<SeriesBatch> {
        let mut out = vec![SeriesBatch::default()];
        let mut push = |held: Held| {
            if out
                .last()
                .is_none_or(|batch| batch.size_bytes() > SORTED_BATCH_BYTES)
            {
                out.push(SeriesBatch::default());
            }
            if let Some(batch) = out.last_mut() {
                batch.push(&held.key, &held.picks);
            }
        };
        match &mut self.order {
            Order::Stack(stack) => stack.finish(&mut push),
            Order::Sort { all, bytes } => {
                *bytes = 0;
                let mut all = std::mem::take(all);
                all.sort_by(|a, b| a.key.cmp(&b.key));
                all.into_iter().for_each(push);
            }
        }
        out
    }

    /// Decodes entries until a limit is reached or the part ends.
    fn read_entries(&mut self, part: &mut RawPart, limits: BatchLimits) -> Result<(), DecodeError> {
        let Scratch {
            entry,
            entries,
            pairs,
            chunks,
            ..
        } = &mut self.scratch;
        entries.clear();
        pairs.clear();
        chunks.clear();
        while let Some(start) = part.next_start() {
            let size_bytes = std::mem::size_of_val(&**pairs) + std::mem::size_of_val(&**chunks);
            if entries.len() >= limits.series.max(1) || (size_bytes >= limits.bytes && !entries.is_empty()) {
                break;
            }
            let len = match decode_into(part.next_bytes(), entry) {
                Ok(len) => len as u64,
                Err(SeriesError::NeedMore { .. }) if !entries.is_empty() => break,
                Err(SeriesError::NeedMore { needed_bytes }) => {
                    return Err(DecodeError::NeedMore(needed_bytes));
                }
                Err(SeriesError::Corrupt(corruption)) => {
                    return Err(failed(self.block.index_error(corruption.shifted(start))));
                }
            };
            if !entry.labels.is_sorted_by(|a, b| a.0 < b.0) {
                let what = "the names of a series' labels are not in order";
                return Err(failed(self.block.index_error(sabre_tsdb::Corruption::at(
                    "index series",
                    start,
                    what,
                ))));
            }
            part.advance();
            pairs.extend(entry.labels.iter().map(|&pair| Pair::new(pair)));
            chunks.extend(entry.chunks.iter().map(|chunk| Pick {
                mint_ms: chunk.mint,
                maxt_ms: chunk.maxt,
                chunk_ref: chunk.chunk_ref,
                len_bytes: 0,
            }));
            let end = start.saturating_add(len);
            entries.push(Entry {
                start,
                next: end
                    .checked_next_multiple_of(self.block.series_alignment())
                    .unwrap_or(end),
                pairs_end: pairs.len(),
                chunks_end: chunks.len(),
            });
        }
        Ok(())
    }

    /// Fills in key and chunks of entry `at`; false if it does not belong to the answer.
    fn fill(
        &mut self,
        held: &mut Held,
        at: usize,
        pairs: std::ops::Range<usize>,
        chunks: std::ops::Range<usize>,
        part: &RawPart,
    ) -> Result<bool, RequestError> {
        let SeriesFilter {
            mint_ms,
            maxt_ms,
            skip_chunks,
            ..
        } = *self.filter;
        let chunks = self.scratch.chunks.get(chunks).unwrap_or_default();
        let overlap = |chunk: &Pick| chunk.mint_ms <= maxt_ms && chunk.maxt_ms >= mint_ms;
        if !chunks.iter().any(overlap) {
            return Ok(false);
        }
        held.pairs.clear();
        held.pairs
            .extend_from_slice(self.scratch.pairs.get(pairs).unwrap_or_default());
        held.key.clear();
        write_key(&self.table, &held.pairs, &mut held.key);
        if let Some(shard) = &self.filter.shard
            && !shard.holds(key::labels(&held.key), &mut self.scratch.shard)
        {
            return Ok(false);
        }
        held.picks.clear();
        if skip_chunks {
            return Ok(true);
        }
        for (n, chunk) in chunks.iter().enumerate() {
            if !overlap(chunk) {
                continue;
            }
            let next = match chunks.get(n + 1) {
                Some(next) => Some(next.chunk_ref),
                None => self.first_ref_behind(at, part),
            };
            let exact = ranges::exact_bytes(chunk.chunk_ref, next);
            held.picks.push(Pick {
                len_bytes: exact.unwrap_or(self.block.chunk_bytes),
                ..*chunk
            });
        }
        self.filter.limits.chunks(held.picks.len() as u64)?;
        Ok(true)
    }

    /// The first chunk of the series that follows entry `at` in the file, selected or not, if its bytes are here.
    fn first_ref_behind(&self, at: usize, part: &RawPart) -> Option<u64> {
        let entry = self.scratch.entries.get(at)?;
        match self.scratch.entries.get(at + 1) {
            Some(next) if next.start == entry.next => {
                // The chunks of the next entry begin where those of this one end.
                Some(
                    self.scratch
                        .chunks
                        .get(entry.chunks_end..next.chunks_end)?
                        .first()?
                        .chunk_ref,
                )
            }
            _ => {
                let mut next = SeriesEntry::default();
                decode_into(part.bytes_at(entry.next), &mut next).ok()?;
                Some(next.chunks.first()?.chunk_ref)
            }
        }
    }

    fn put(&mut self, held: Held, out: &mut SeriesBatch) {
        let Self {
            table, order, spare, ..
        } = self;
        match order {
            Order::Sort { all, bytes } => {
                *bytes += held.size_bytes();
                all.push(held);
            }
            Order::Stack(stack) => {
                let adds_behind = |pair: &Pair| {
                    table
                        .slot(*pair)
                        .is_some_and(|slot| table.overlay().adds_behind(slot.place))
                };
                stack.push(
                    held,
                    |next, top| overtakes(&next.pairs, &top.pairs, adds_behind),
                    |held| {
                        out.push(&held.key, &held.picks);
                        spare.push(held);
                    },
                );
            }
        }
    }

    /// Memory of the series that wait to be sorted.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.order {
            Order::Stack(_) => 0,
            Order::Sort { bytes, .. } => *bytes,
        }
    }
}

impl Held {
    fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + self.key.capacity()
            + self.picks.capacity() * size_of::<Pick>()
            + self.pairs.capacity() * size_of::<Pair>()
    }
}

/// How large the pieces are in which sorted series come out.
const SORTED_BATCH_BYTES: usize = 64 << 10;

fn failed(error: BlockError) -> DecodeError {
    DecodeError::Failed(RequestError::Block(error))
}

/// Puts the labels of a series and those that are added in order.
fn write_key(table: &LabelTable, pairs: &[Pair], key: &mut Vec<u8>) {
    let added = table.overlay().pieces();
    let mut done = 0;
    let mut add_until = |key: &mut Vec<u8>, until: usize| {
        while let Some((_, piece)) = added.get(done).filter(|_| done < until) {
            key.extend_from_slice(piece);
            done += 1;
        }
    };
    for &pair in pairs {
        // Every pair of the batch was learnt.
        let Some(slot) = table.slot(pair) else { continue };
        add_until(key, usize::from(slot.place.added_before));
        if !slot.place.is_dropped {
            key.extend_from_slice(table.piece(slot));
        }
    }
    add_until(key, added.len());
}
