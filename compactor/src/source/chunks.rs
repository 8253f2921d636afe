//! The chunk segments of a source, front to back; what lies behind is fetched by itself.

use std::sync::mpsc as blocking;

use bytes::Bytes;
use sabre_block::{BlockError, Cause, layout};
use sabre_model::BlockId;
use sabre_objstore::{BucketExt, SharedBucket};
use sabre_tsdb::Corruption;
use sabre_tsdb::index::ChunkMeta;
use sabre_tsdb::segment::{ChunkRef, RecordError, SeriesChunk};
use tokio::sync::mpsc;

use super::windows::{Place, WindowReader, corrupt};

const SEGMENT: &str = "chunk segment";
/// The largest chunk that is believed.
const MAX_CHUNK_BYTES: u64 = 64 << 20;
/// What is asked for at first of a chunk that lies behind.
const FIRST_READ_BYTES: u64 = 4 << 10;

/// A segment of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    /// Its path in the block.
    pub(crate) file: String,
    /// Bytes it has.
    pub(crate) size_bytes: u64,
}

/// Reads the chunks of a source.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    reader: WindowReader,
    segments: Vec<SegmentFile>,
    random: RandomReads,
    random_bytes: u64,
}

/// Asks for ranges out of the order.
#[derive(Debug, Clone)]
pub(crate) struct RandomReads(mpsc::Sender<RandomRead>);

#[derive(Debug)]
struct RandomRead {
    file: String,
    offset: u64,
    len: u64,
    answer: blocking::SyncSender<sabre_objstore::Result<Bytes>>,
}

impl RandomReads {
    /// The asking side, and the future that answers.
    pub(crate) fn new(bucket: SharedBucket, block: BlockId) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel::<RandomRead>(1);
        let service = async move {
            while let Some(read) = receiver.recv().await {
                let key = layout::key(block, &read.file);
                let bytes = bucket.get_range_exact(&key, read.offset, read.len).await;
                // Who asked may be gone.
                drop(read.answer.send(bytes));
            }
        };
        (Self(sender), service)
    }

    /// An asking side to which nobody answers.
    pub(crate) fn unanswered() -> Self {
        Self(mpsc::channel(1).0)
    }

    fn read(&self, block: BlockId, file: &str, offset: u64, len: u64) -> Result<Bytes, BlockError> {
        let (answer, answered) = blocking::sync_channel(1);
        let read = RandomRead {
            file: file.to_owned(),
            offset,
            len,
            answer,
        };
        let gone = || BlockError::new(block, file, Cause::Cancelled);
        self.0.blocking_send(read).map_err(|_| gone())?;
        let bytes = answered.recv().map_err(|_| gone())?;
        bytes.map_err(|error| BlockError::new(block, file, error))
    }
}

impl ChunkReader {
    pub(crate) fn new(reader: WindowReader, segments: Vec<SegmentFile>, random: RandomReads) -> Self {
        Self {
            reader,
            segments,
            random,
            random_bytes: 0,
        }
    }

    /// Reads a chunk, its checksum verified. Chunks are best asked for in the order of their places.
    pub(crate) fn read(&mut self, meta: &ChunkMeta) -> Result<SeriesChunk, BlockError> {
        let place = ChunkRef::from(meta.chunk_ref);
        let (segment, offset) = (place.segment(), u64::from(place.offset()));
        let block = self.reader.block();
        let Some(file) = self.segments.get(segment as usize) else {
            let what = format!(
                "a chunk at {place}, but there are {} segments",
                self.segments.len()
            );
            return Err(corrupt(block, "index", Corruption::at("index series", 0, what)));
        };
        if offset >= file.size_bytes {
            let what = format!(
                "a chunk at {place}, but the segment has {} bytes",
                file.size_bytes
            );
            return Err(corrupt(block, &file.file, Corruption::at(SEGMENT, offset, what)));
        }
        match self.reader.seek(segment, offset)? {
            Place::Here => self.read_here(meta, segment, offset),
            Place::Behind => self.read_behind(meta, segment, offset),
            Place::Beyond => Err(self.short(segment, offset, 1)),
        }
    }

    /// Bytes that were read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.reader.read_bytes().saturating_add(self.random_bytes)
    }

    fn read_here(&mut self, meta: &ChunkMeta, segment: u32, offset: u64) -> Result<SeriesChunk, BlockError> {
        loop {
            let (window, start) = self.reader.shared(offset);
            match SeriesChunk::from_window(meta.mint, meta.maxt, window, start, offset) {
                Ok(chunk) => return Ok(chunk),
                Err(error) => {
                    let needed = self.needed(error, segment, offset)?;
                    if !self.reader.gather(offset, needed)? {
                        return Err(self.short(segment, offset, needed));
                    }
                }
            }
        }
    }

    fn read_behind(
        &mut self,
        meta: &ChunkMeta,
        segment: u32,
        offset: u64,
    ) -> Result<SeriesChunk, BlockError> {
        let mut len = FIRST_READ_BYTES;
        loop {
            let Some(file) = self.segments.get(segment as usize) else {
                return Err(self.short(segment, offset, len));
            };
            len = len.min(file.size_bytes.saturating_sub(offset));
            let bytes = self.random.read(self.reader.block(), &file.file, offset, len)?;
            self.random_bytes = self.random_bytes.saturating_add(len);
            match SeriesChunk::from_record(meta.mint, meta.maxt, &bytes, offset) {
                Ok(chunk) => return Ok(chunk),
                Err(error) => {
                    let needed = self.needed(error, segment, offset)?;
                    if needed > file_end(&self.segments, segment).saturating_sub(offset) {
                        return Err(self.short(segment, offset, needed));
                    }
                    len = needed;
                }
            }
        }
    }

    /// How many bytes the chunk takes; an error if it is broken or larger than is believed.
    fn needed(&self, error: RecordError, segment: u32, offset: u64) -> Result<u64, BlockError> {
        match error {
            RecordError::Corrupt(error) => Err(corrupt(self.reader.block(), self.file(segment), error)),
            RecordError::NeedsMore { needed, .. } if needed > MAX_CHUNK_BYTES => {
                let what = format!("a chunk of {needed} bytes, more than {MAX_CHUNK_BYTES} are not believed");
                let error = Corruption::at(SEGMENT, offset, what);
                Err(corrupt(self.reader.block(), self.file(segment), error))
            }
            RecordError::NeedsMore { needed, .. } => Ok(needed),
        }
    }

    fn short(&self, segment: u32, offset: u64, needed: u64) -> BlockError {
        let available = file_end(&self.segments, segment).saturating_sub(offset);
        let error = Corruption::short(SEGMENT, offset, needed, available);
        corrupt(self.reader.block(), self.file(segment), error)
    }

    fn file(&self, segment: u32) -> &str {
        self.segments
            .get(segment as usize)
            .map_or("chunks", |segment| segment.file.as_str())
    }
}

fn file_end(segments: &[SegmentFile], segment: u32) -> u64 {
    segments
        .get(segment as usize)
        .map_or(0, |segment| segment.size_bytes)
}
