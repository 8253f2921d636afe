//! Writing chunks into segments.

use std::convert::Infallible;
use std::io::{self, Write};

use super::ChunkRef;
use super::record::{HEADER, MAX_RECORD_OVERHEAD, Record};
use crate::crc::Crc32c;
use crate::encoding::put_uvarint;

/// The size at which Prometheus and Thanos cut segments.
pub const DEFAULT_SEGMENT_BYTES: u32 = 512 << 20;

/// The file name of a segment: `000001` for index 0.
pub fn segment_name(index: u32) -> String {
    format!("{:06}", u64::from(index) + 1)
}

/// Where segments go.
///
/// A segment ends where the next one begins, and the last one when the caller says so.
pub trait SegmentSink {
    /// Why bytes cannot be taken.
    type Error;

    /// Begins the segment `index`, counted from 0; its header comes as the first bytes.
    fn begin(&mut self, index: u32) -> Result<(), Self::Error>;

    /// Takes the next bytes of the segment.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Why a chunk is not written.
#[derive(Debug, thiserror::Error)]
pub enum SegmentWriteError<E> {
    /// The length field cannot express its size.
    #[error("chunk of {0} bytes is larger than a segment can hold")]
    TooLarge(usize),
    /// A block cannot have as many segments.
    #[error("block has more segments than a chunk reference can express")]
    TooManySegments,
    /// The sink did not take the bytes.
    #[error(transparent)]
    Sink(E),
}

/// Lays chunks out in segments as Prometheus does: the same chunks give the same files.
///
/// Call [`begin_series`](Self::begin_series) before the chunks of each series: where a segment may be cut
/// depends on it.
#[derive(Debug)]
pub struct SegmentWriter {
    limit: u64,
    /// Number of segments begun.
    segments: u32,
    /// Size of the current segment, or of an empty one before there is any.
    size: u64,
    series: SeriesSize,
    frame: Vec<u8>,
}

/// What the cut rule knows of the series being written.
#[derive(Debug, Clone, Copy)]
struct SeriesSize {
    /// Size of the segment in which the series began.
    start: u64,
    /// Upper bound of what its chunks take since then, or since the last cut.
    chunks: u64,
    /// Whether no cut has been made within it.
    uncut: bool,
    /// Whether no chunk of it has been written.
    empty: bool,
}

const EMPTY_SEGMENT: u64 = HEADER.len() as u64;

impl SeriesSize {
    fn starting_at(start: u64) -> Self {
        Self {
            start,
            chunks: 0,
            uncut: true,
            empty: true,
        }
    }

    /// Adds a chunk; true if a segment is to be cut in front of it.
    fn cuts_before(&mut self, need: u64, limit: u64) -> bool {
        self.chunks += need;
        let cut = if self.uncut && self.start > EMPTY_SEGMENT {
            self.chunks + self.start > limit
        } else {
            !self.empty && self.chunks + EMPTY_SEGMENT > limit
        };
        self.empty = false;
        if cut {
            self.chunks = need;
            self.uncut = false;
        }
        cut
    }
}

impl SegmentWriter {
    /// Cuts segments at `limit` bytes; only a chunk that is larger by itself makes a larger one.
    pub fn new(limit: u32) -> Self {
        let size = EMPTY_SEGMENT;
        let series = SeriesSize::starting_at(size);
        Self {
            limit: u64::from(limit),
            segments: 0,
            size,
            series,
            frame: Vec::new(),
        }
    }

    /// Begins a series.
    pub fn begin_series(&mut self) {
        self.series = SeriesSize::starting_at(self.size);
    }

    /// Writes the next chunk of the series and returns where it is.
    pub fn write_chunk<S: SegmentSink>(
        &mut self,
        sink: &mut S,
        encoding: u8,
        data: &[u8],
    ) -> Result<ChunkRef, SegmentWriteError<S::Error>> {
        let length = u32::try_from(data.len()).map_err(|_| SegmentWriteError::TooLarge(data.len()))?;
        let mut crc = Crc32c::new();
        crc.update(&[encoding]);
        crc.update(data);
        self.frame.clear();
        put_uvarint(&mut self.frame, u64::from(length));
        self.frame.push(encoding);
        let total = self.frame.len() + data.len() + size_of::<u32>();
        let chunk_ref = self.place(sink, data.len(), total)?;
        sink.write(&self.frame).map_err(SegmentWriteError::Sink)?;
        sink.write(data).map_err(SegmentWriteError::Sink)?;
        sink.write(&crc.value().to_be_bytes())
            .map_err(SegmentWriteError::Sink)?;
        Ok(chunk_ref)
    }

    /// Writes the next chunk of the series as it lay in another segment, and returns where it is.
    pub fn write_record<S: SegmentSink>(
        &mut self,
        sink: &mut S,
        record: &Record<'_>,
    ) -> Result<ChunkRef, SegmentWriteError<S::Error>> {
        let chunk_ref = self.place(sink, record.data.len(), record.bytes.len())?;
        sink.write(record.bytes).map_err(SegmentWriteError::Sink)?;
        Ok(chunk_ref)
    }

    /// Number of segments begun so far.
    pub fn num_segments(&self) -> u32 {
        self.segments
    }

    /// Makes room for a chunk of `data_bytes` that takes `total` bytes in the file.
    fn place<S: SegmentSink>(
        &mut self,
        sink: &mut S,
        data_bytes: usize,
        total: usize,
    ) -> Result<ChunkRef, SegmentWriteError<S::Error>> {
        let need = data_bytes as u64 + MAX_RECORD_OVERHEAD as u64;
        let cut = self.series.cuts_before(need, self.limit);
        if cut || self.segments == 0 {
            self.begin_segment(sink)?;
        }
        let index = self.segments - 1;
        let offset = u32::try_from(self.size).map_err(|_| SegmentWriteError::TooLarge(data_bytes))?;
        self.size += total as u64;
        Ok(ChunkRef::new(index, offset))
    }

    fn begin_segment<S: SegmentSink>(&mut self, sink: &mut S) -> Result<(), SegmentWriteError<S::Error>> {
        let index = self.segments;
        self.segments = index.checked_add(1).ok_or(SegmentWriteError::TooManySegments)?;
        self.size = EMPTY_SEGMENT;
        sink.begin(index).map_err(SegmentWriteError::Sink)?;
        sink.write(&HEADER).map_err(SegmentWriteError::Sink)
    }
}

/// Segments in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemorySink {
    /// The segments, in order.
    pub segments: Vec<Vec<u8>>,
}

impl SegmentSink for MemorySink {
    type Error = Infallible;

    fn begin(&mut self, _index: u32) -> Result<(), Infallible> {
        self.segments.push(Vec::new());
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        if let Some(segment) = self.segments.last_mut() {
            segment.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// Segments in whatever `open` makes of their index: files, as a rule.
#[derive(Debug)]
pub struct FileSink<F, W> {
    open: F,
    current: Option<W>,
}

impl<F: FnMut(u32) -> io::Result<W>, W: Write> FileSink<F, W> {
    /// Calls `open` for each segment; the one before has been flushed then.
    pub fn new(open: F) -> Self {
        Self { open, current: None }
    }

    /// Flushes the last segment and returns it.
    pub fn finish(mut self) -> io::Result<Option<W>> {
        self.flush()?;
        Ok(self.current)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl<F: FnMut(u32) -> io::Result<W>, W: Write> SegmentSink for FileSink<F, W> {
    type Error = io::Error;

    fn begin(&mut self, index: u32) -> io::Result<()> {
        self.flush()?;
        self.current = Some((self.open)(index)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Some(segment) => segment.write_all(bytes),
            None => Err(io::Error::other("bytes before the first segment")),
        }
    }
}
