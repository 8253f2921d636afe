//! Writes fetched series as messages: every record is verified, and its bytes are copied once.

use std::sync::Arc;

use bytes::Bytes;
use sabre_block::Cause;
use sabre_proto::flat::{ChunkParts, MessageTooLong, SeriesFrameBuilder, SeriesParts};
use sabre_tsdb::{
    chunk::{Encoding, aggregate::AggregateChunk},
    segment::{Record, RecordError, read_record},
};

use crate::{
    aggregates::{Wanted, of_raw},
    block::ServedBlock,
    encoded_labels::EncodedLabels,
    error::RequestError,
    fetch::FetchedBatch,
    merged::MergedPick,
    ranges,
};

/// Room behind that for the message that makes a buffer full, so that it is not moved for its sake.
const LAST_MESSAGE_BYTES: usize = 64 << 10;

/// After so many bytes other tasks get their turn: some 300 µs.
const TURN_BYTES: usize = 256 << 10;

/// A record that claims to be longer than this, and than the index made believe, is read again before it is believed: a
/// cache may have made the claim.
const BELIEVED_BYTES: u64 = 1 << 20;

/// What a chunk takes in a message besides its record: times, keys, lengths.
const CHUNK_OVERHEAD_BYTES: usize = 40;

/// How messages are to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodeOptions {
    /// Aggregates of downsampled chunks.
    pub(crate) wanted: Wanted,
    /// Most series in a message; more than one only in batches.
    pub(crate) series_per_message: usize,
    /// A buffer of messages goes out once it has so many bytes.
    pub(crate) frame_bytes: usize,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// The record of this pick takes so many bytes, more than were fetched.
    NeedMore { pick: usize, bytes: u64 },
    /// The record of this pick is not true; it is read again, from no cache, before that is believed.
    Doubtful { pick: usize },
    /// The request has failed.
    Failed(RequestError),
}

/// A series of a message that is being put together: where its parts begin.
#[derive(Clone, Copy)]
struct Begin {
    label: usize,
    chunk: usize,
}

/// The message that is being put together.
struct Message<'a> {
    labels: Vec<u8>,
    /// Those of the last series.
    of_series: EncodedLabels<'a>,
    chunks: Vec<ChunkParts<'a>>,
    begins: Vec<Begin>,
    data_bytes: usize,
}

/// Messages of a batch, written turn by turn into buffers.
#[derive(Debug)]
pub(crate) struct Encoder {
    options: EncodeOptions,
    builder: SeriesFrameBuilder,
    /// The next series of the batch.
    next: usize,
}

/// What comes after a turn of [`Encoder::turn`].
#[derive(Debug)]
pub(crate) enum Turn {
    /// Another turn.
    Again,
    /// A buffer goes out, then another turn.
    Frame(Bytes),
    /// The batch is written; the last buffer goes out, which may be empty.
    End(Bytes),
}

impl Encoder {
    /// Begins with the first batch.
    pub(crate) fn new(options: EncodeOptions) -> Self {
        Self {
            options,
            builder: SeriesFrameBuilder::default(),
            next: 0,
        }
    }

    /// How many series of the batch were written.
    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// Takes the encoder away, to be put back after a turn elsewhere.
    pub(crate) fn lend(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.options))
    }

    /// Writes series of `batch`, for a while.
    pub(crate) fn turn(
        &mut self,
        blocks: &[Arc<ServedBlock>],
        batch: &FetchedBatch,
    ) -> Result<Turn, EncodeError> {
        let merged = batch.merged();
        let frame_bytes = self.options.frame_bytes;
        if self.builder.is_empty() {
            let work_bytes = work_bytes(batch, self.next, frame_bytes);
            // Buffers of one size can take the place of each other.
            self.builder.reserve(match work_bytes < frame_bytes / 4 {
                true => work_bytes,
                false => frame_bytes + LAST_MESSAGE_BYTES,
            });
        }
        let turn_end = frame_bytes.min(self.builder.len() + TURN_BYTES);
        let mut message = Message::new();
        // Records of messages that are not written yet, and their bytes.
        let mut used = (0, 0);
        let mut next = self.next;
        while next < merged.len() && self.builder.len() < turn_end {
            message.begin(merged.key(next));
            let mut same_time = SameTime::default();
            for at in merged.pick_range(next) {
                let Some(&pick) = merged.picks().get(at) else {
                    break;
                };
                let Some(block) = blocks.get(pick.stream as usize) else {
                    break;
                };
                let is_final = batch.is_reread(at);
                let record = match record(block, pick, at, batch.record_bytes(at)) {
                    Err(EncodeError::Failed(_)) if !is_final => {
                        return Err(EncodeError::Doubtful { pick: at });
                    }
                    Err(EncodeError::NeedMore { bytes, .. }) if !is_final && bytes > BELIEVED_BYTES => {
                        return Err(EncodeError::Doubtful { pick: at });
                    }
                    record => record?,
                };
                used.0 += 1;
                used.1 += record.bytes.len() as u64;
                if same_time.has(&pick, record.bytes) {
                    continue;
                }
                message.data_bytes += record.data.len();
                message
                    .chunks
                    .push(chunk(block, pick, record, self.options.wanted)?);
            }
            next += 1;
            if message.begins.len() >= self.options.series_per_message.max(1)
                || message.data_bytes >= TURN_BYTES
            {
                message.write(&mut self.builder, self.options)?;
                self.next = next;
                let (chunks, bytes) = std::mem::take(&mut used);
                batch.touch(chunks, bytes);
            }
        }
        message.write(&mut self.builder, self.options)?;
        self.next = next;
        batch.touch(used.0, used.1);
        if next >= merged.len() {
            self.next = 0;
            return Ok(Turn::End(self.builder.take()));
        }
        match self.builder.len() < frame_bytes {
            true => Ok(Turn::Again),
            false => Ok(Turn::Frame(self.builder.take())),
        }
    }

    /// About how many bytes the next turn will write.
    pub(crate) fn turn_bytes(&self, batch: &FetchedBatch) -> usize {
        work_bytes(batch, self.next, TURN_BYTES)
    }
}

/// About how many bytes the series from `first` on take, up to the one that makes it more than `enough_bytes`.
fn work_bytes(batch: &FetchedBatch, first: usize, enough_bytes: usize) -> usize {
    let merged = batch.merged();
    let mut bytes = 0usize;
    for series in first..merged.len() {
        let picks = merged.picks().get(merged.pick_range(series)).unwrap_or_default();
        let record_bytes: usize = picks.iter().map(|pick| pick.pick.len_bytes as usize).sum();
        // Each label takes some bytes more than in the key.
        let labels_bytes = merged.key(series).len() * 3 / 2 + 16;
        bytes = bytes.saturating_add(record_bytes + labels_bytes + picks.len() * CHUNK_OVERHEAD_BYTES);
        if bytes >= enough_bytes {
            break;
        }
    }
    bytes
}

impl<'a> Message<'a> {
    fn new() -> Self {
        Self {
            labels: Vec::new(),
            of_series: EncodedLabels::default(),
            chunks: Vec::new(),
            begins: Vec::new(),
            data_bytes: 0,
        }
    }

    fn begin(&mut self, series_key: &'a [u8]) {
        self.begins.push(Begin {
            label: self.labels.len(),
            chunk: self.chunks.len(),
        });
        self.labels.extend_from_slice(self.of_series.of(series_key));
    }

    /// Writes what there is and starts anew.
    fn write(&mut self, out: &mut SeriesFrameBuilder, options: EncodeOptions) -> Result<(), EncodeError> {
        let parts = |at: usize, begin: &Begin| {
            let end = self.begins.get(at + 1);
            let (label, chunk) = end.map_or((self.labels.len(), self.chunks.len()), |end| {
                (end.label, end.chunk)
            });
            SeriesParts {
                labels: self.labels.get(begin.label..label).unwrap_or_default(),
                chunks: self.chunks.get(begin.chunk..chunk).unwrap_or_default(),
            }
        };
        let written = match (self.begins.as_slice(), options.series_per_message > 1) {
            ([], _) => Ok(()),
            ([one], false) => out.series(&parts(0, one)),
            (many, _) => {
                let all: Vec<_> = many
                    .iter()
                    .enumerate()
                    .map(|(at, begin)| parts(at, begin))
                    .collect();
                out.batch(&all)
            }
        };
        written.map_err(failed)?;
        self.labels.clear();
        self.chunks.clear();
        self.begins.clear();
        self.data_bytes = 0;
        Ok(())
    }
}

fn failed(error: MessageTooLong) -> EncodeError {
    EncodeError::Failed(RequestError::TooLong(error))
}

/// Verifies the record of a pick.
fn record<'a>(
    block: &ServedBlock,
    pick: MergedPick,
    at: usize,
    bytes: &'a [u8],
) -> Result<Record<'a>, EncodeError> {
    match read_record(bytes, ranges::offset(pick.pick.chunk_ref)) {
        Ok(record) => Ok(record),
        Err(RecordError::NeedsMore { needed, .. }) => Err(EncodeError::NeedMore {
            pick: at,
            bytes: needed,
        }),
        Err(RecordError::Corrupt(corruption)) => Err(chunk_error(block, pick, corruption)),
    }
}

/// The parts of a chunk that are sent.
fn chunk<'a>(
    block: &ServedBlock,
    pick: MergedPick,
    record: Record<'a>,
    wanted: Wanted,
) -> Result<ChunkParts<'a>, EncodeError> {
    let (mint, maxt) = (pick.pick.mint_ms, pick.pick.maxt_ms);
    let offset = ranges::offset(pick.pick.chunk_ref);
    let encoding = Encoding::try_from(record.encoding).map_err(|unsupported| {
        let what = format!("chunk at offset {offset}: {unsupported}");
        chunk_error(block, pick, Cause::Invalid(what))
    })?;
    if encoding != Encoding::Aggregate {
        return Ok(of_raw(mint, maxt, encoding, record.data));
    }
    let aggregates = AggregateChunk::parse(record.data)
        .map_err(|corruption| chunk_error(block, pick, corruption.shifted(offset)))?;
    wanted.of_aggregates(mint, maxt, &aggregates).map_err(|missing| {
        let what = format!("chunk at offset {offset}: {missing}");
        let error = block.segment_error(ranges::segment(pick.pick.chunk_ref), Cause::Invalid(what));
        EncodeError::Failed(RequestError::NoAggregate(error))
    })
}

fn chunk_error(block: &ServedBlock, pick: MergedPick, cause: impl Into<Cause>) -> EncodeError {
    let segment = ranges::segment(pick.pick.chunk_ref);
    EncodeError::Failed(RequestError::Block(block.segment_error(segment, cause)))
}

/// The chunks of a series that have the same times: where several blocks have one, it is sent once.
#[derive(Default)]
struct SameTime<'a> {
    times: Option<(i64, i64)>,
    records: Vec<&'a [u8]>,
}

impl<'a> SameTime<'a> {
    /// Whether the record was there before; now it was.
    fn has(&mut self, pick: &MergedPick, record: &'a [u8]) -> bool {
        let times = Some((pick.pick.mint_ms, pick.pick.maxt_ms));
        if self.times != times {
            self.times = times;
            self.records.clear();
        }
        if self.records.contains(&record) {
            return true;
        }
        self.records.push(record);
        false
    }
}
