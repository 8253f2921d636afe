//! Writes fetched series as messages: every record is verified, and its bytes are copied once.

use std::sync::Arc;

use bytes::Bytes;
use sabre_block::Cause;
use sabre_proto::flat::{ChunkParts, MessageTooLong, SeriesFrameBuilder, SeriesParts, encode_label};
use sabre_tsdb::{
    chunk::{Encoding, aggregate::AggregateChunk},
    segment::{Record, RecordError, read_record},
};

use crate::{
    aggregates::{Wanted, of_raw},
    block::ServedBlock,
    error::RequestError,
    fetch::FetchedBatch,
    key,
    merged::MergedPick,
    ranges,
};

/// A buffer of messages goes out once it has so many bytes.
const FRAME_BYTES: usize = 512 << 10;

/// The least room for messages: some series without chunks.
const SMALL_FRAME_BYTES: usize = 16 << 10;

/// A message with several series gets no further one beyond this.
const MESSAGE_BYTES: usize = 1 << 20;

/// How messages are to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodeOptions {
    /// Aggregates of downsampled chunks.
    pub(crate) wanted: Wanted,
    /// Most series in a message; more than one only in batches.
    pub(crate) series_per_message: usize,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// The record of this pick takes so many bytes, more than were fetched.
    NeedMore { pick: usize, bytes: u64 },
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
    chunks: Vec<ChunkParts<'a>>,
    begins: Vec<Begin>,
    data_bytes: usize,
}

/// Writes all series of `batch`; what comes back are buffers of whole messages.
pub(crate) fn encode(
    blocks: &[Arc<ServedBlock>],
    batch: &FetchedBatch,
    options: EncodeOptions,
) -> Result<Vec<Bytes>, EncodeError> {
    let expected_bytes = usize::try_from(batch.merged().fetch_bytes()).unwrap_or(usize::MAX);
    let mut out = Output {
        builder: SeriesFrameBuilder::default(),
        frames: Vec::new(),
        expected_bytes,
    };
    let mut message = Message::new();
    for series in 0..batch.merged().len() {
        message.begin(batch.merged().key(series));
        let mut same_time = SameTime::default();
        for at in batch.merged().pick_range(series) {
            let Some(&pick) = batch.merged().picks().get(at) else {
                break;
            };
            let Some(block) = blocks.get(pick.stream as usize) else {
                break;
            };
            let record = record(block, pick, at, batch.record_bytes(at))?;
            if same_time.has(&pick, record.bytes) {
                continue;
            }
            message.data_bytes += record.data.len();
            message.chunks.push(chunk(block, pick, record, options.wanted)?);
        }
        if message.begins.len() >= options.series_per_message.max(1) || message.data_bytes >= MESSAGE_BYTES {
            message.write(&mut out, options)?;
        }
    }
    message.write(&mut out, options)?;
    out.flush();
    Ok(out.frames)
}

struct Output {
    builder: SeriesFrameBuilder,
    frames: Vec<Bytes>,
    /// About how much is still to be written; a short answer gets a short buffer.
    expected_bytes: usize,
}

impl Output {
    fn flush(&mut self) {
        if !self.builder.is_empty() {
            self.frames.push(self.builder.take());
        }
    }

    /// Makes room for a message, in a new buffer if this one has enough.
    fn make_room(&mut self, message_bytes: usize) {
        if self.builder.len() + message_bytes > FRAME_BYTES {
            self.flush();
        }
        if self.builder.is_empty() {
            let expected = self.expected_bytes.clamp(SMALL_FRAME_BYTES, FRAME_BYTES);
            self.builder.reserve(message_bytes.max(expected));
        }
        self.expected_bytes = self.expected_bytes.saturating_sub(message_bytes);
    }
}

impl<'a> Message<'a> {
    fn new() -> Self {
        Self {
            labels: Vec::new(),
            chunks: Vec::new(),
            begins: Vec::new(),
            data_bytes: 0,
        }
    }

    fn begin(&mut self, series_key: &[u8]) {
        self.begins.push(Begin {
            label: self.labels.len(),
            chunk: self.chunks.len(),
        });
        for (name, value) in key::labels(series_key) {
            // Symbols were checked when they were read, so nothing is ever replaced here.
            encode_label(
                &String::from_utf8_lossy(&name),
                &String::from_utf8_lossy(&value),
                &mut self.labels,
            );
        }
    }

    /// Writes what there is and starts anew.
    fn write(&mut self, out: &mut Output, options: EncodeOptions) -> Result<(), EncodeError> {
        let mut series = Vec::with_capacity(self.begins.len());
        for (at, begin) in self.begins.iter().enumerate() {
            let end = self.begins.get(at + 1);
            let (label_end, chunk_end) =
                end.map_or((self.labels.len(), self.chunks.len()), |e| (e.label, e.chunk));
            series.push(SeriesParts {
                labels: self.labels.get(begin.label..label_end).unwrap_or_default(),
                chunks: self.chunks.get(begin.chunk..chunk_end).unwrap_or_default(),
            });
        }
        out.make_room(series.iter().map(SeriesParts::encoded_len).sum::<usize>() + 16 * (series.len() + 1));
        let written = match (series.as_slice(), options.series_per_message > 1) {
            ([one], false) => out.builder.series(one),
            (all, _) => out.builder.batch(all),
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
        chunk_error(block, pick, Cause::Invalid(what))
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
