//! A result while it is written: segments leave piece by piece, the index goes to local files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use sabre_tsdb::chunk::Encoding;
use sabre_tsdb::index::{ChunkMeta, IndexSummary, SpillingIndexWriter, SpillingSymbolsWriter};
use sabre_tsdb::meta::Stats;
use sabre_tsdb::segment::{SegmentSink, SegmentWriteError, SegmentWriter, SeriesChunk};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::error::JobError;
use super::series::LabelRefs;

/// How much of a segment is sent at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Postings are sorted in so much memory.
const SORT_BYTES: usize = 4 << 20;

/// A part of a segment on its way to the bucket.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The segment with this number begins.
    Begin(u32),
    /// Its next bytes.
    Data(Bytes),
    /// The last segment is complete.
    Done,
}

/// The local files of a result, in a folder of its own that goes away with this.
#[derive(Debug)]
pub(crate) struct ScratchFiles {
    dir: PathBuf,
    open: OpenScratch,
}

/// Makes an empty file that is written and read.
pub(crate) type OpenScratch = fn(&Path) -> io::Result<File>;

/// Makes it on the disk.
pub(crate) fn open_scratch(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}

/// SHA-256 of a segment in hexadecimal.
pub(crate) type SegmentHash = String;

/// How a result is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SinkOptions {
    /// The size at which segments are cut.
    pub(crate) segment_bytes: u32,
    /// Whether segments are hashed.
    pub(crate) hashes: bool,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct SinkSummary {
    pub(crate) stats: Stats,
    pub(crate) index: IndexSummary,
    pub(crate) hashes: Vec<SegmentHash>,
}

/// Writes the series of a result.
#[derive(Debug)]
pub(crate) struct BlockSink {
    segments: SegmentWriter,
    sender: SegmentSender,
    index: SpillingIndexWriter<File>,
    stats: Stats,
    metas: Vec<ChunkMeta>,
}

/// Gathers the bytes of segments into pieces.
#[derive(Debug)]
struct SegmentSender {
    sender: mpsc::Sender<Piece>,
    buffer: BytesMut,
    hasher: Option<Sha256>,
    is_begun: bool,
    hashes: Vec<SegmentHash>,
}

/// The uploading side is gone.
#[derive(Debug)]
struct Gone;

impl ScratchFiles {
    /// Makes the folder, which must not hold anything of use.
    pub(crate) fn create(dir: PathBuf, open: OpenScratch) -> Result<Self, JobError> {
        let made = remove_if_there(&dir).and_then(|()| fs::create_dir_all(&dir));
        made.map_err(|source| JobError::Local {
            path: dir.clone(),
            source,
        })?;
        Ok(Self { dir, open })
    }

    /// Where the index is.
    pub(crate) fn index_path(&self) -> PathBuf {
        self.dir.join("index")
    }

    /// Makes an empty file.
    pub(crate) fn make(&self, name: &str) -> Result<File, JobError> {
        let path = self.dir.join(name);
        (self.open)(&path).map_err(|source| JobError::Local { path, source })
    }
}

impl Drop for ScratchFiles {
    fn drop(&mut self) {
        // What stays is removed at the next start.
        let _ = remove_if_there(&self.dir);
    }
}

fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl BlockSink {
    /// Begins with the series: the symbols are written.
    pub(crate) fn new(
        symbols: SpillingSymbolsWriter<File>,
        scratch: &ScratchFiles,
        sender: mpsc::Sender<Piece>,
        options: SinkOptions,
    ) -> Result<Self, JobError> {
        let index = symbols.finish(scratch.make("postings")?, scratch.make("table")?, SORT_BYTES)?;
        Ok(Self {
            segments: SegmentWriter::new(options.segment_bytes),
            sender: SegmentSender {
                sender,
                buffer: BytesMut::new(),
                hasher: options.hashes.then(Sha256::new),
                is_begun: false,
                hashes: Vec::new(),
            },
            index,
            stats: Stats::default(),
            metas: Vec::new(),
        })
    }

    /// Begins a series.
    pub(crate) fn begin_series(&mut self) {
        self.segments.begin_series();
        self.metas.clear();
    }

    /// Writes the next chunk of the series.
    pub(crate) fn add_chunk(&mut self, chunk: &SeriesChunk) -> Result<(), JobError> {
        let record = chunk.record();
        let written = self.segments.write_record(&mut self.sender, &record);
        let chunk_ref = written.map_err(|error| match error {
            SegmentWriteError::Sink(Gone) => JobError::Closed,
            SegmentWriteError::TooLarge(bytes) => JobError::Unwritable(format!(
                "a chunk of {bytes} bytes is larger than a segment can hold"
            )),
            SegmentWriteError::TooManySegments => {
                JobError::Unwritable("more segments than a chunk reference can express".to_owned())
            }
        })?;
        self.metas.push(ChunkMeta {
            mint: chunk.mint,
            maxt: chunk.maxt,
            chunk_ref: chunk_ref.0,
        });
        self.count(chunk);
        Ok(())
    }

    /// Ends the series; one without chunks is left out.
    pub(crate) fn end_series(&mut self, labels: &LabelRefs) -> Result<(), JobError> {
        if self.metas.is_empty() {
            return Ok(());
        }
        self.stats.num_series = self.stats.num_series.saturating_add(1);
        self.stats.num_chunks = self.stats.num_chunks.saturating_add(self.metas.len() as u64);
        self.index.add_series_refs(labels, &self.metas)?;
        Ok(())
    }

    /// Counts of what was written so far.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Completes segments and index.
    pub(crate) fn finish(mut self) -> Result<SinkSummary, JobError> {
        let (_file, index) = self.index.finish()?;
        let closed = |_: Gone| JobError::Closed;
        self.sender.end_segment().map_err(closed)?;
        self.sender.send(Piece::Done).map_err(closed)?;
        Ok(SinkSummary {
            stats: self.stats,
            index,
            hashes: self.sender.hashes,
        })
    }

    /// An encoding that is not known here is carried along, and counted as nothing.
    fn count(&mut self, chunk: &SeriesChunk) {
        let samples = u64::from(chunk.num_samples().unwrap_or(0));
        let stats = &mut self.stats;
        stats.num_samples = stats.num_samples.saturating_add(samples);
        match chunk.encoding() {
            Ok(Encoding::Xor) => stats.num_float_samples = stats.num_float_samples.saturating_add(samples),
            Ok(Encoding::Histogram | Encoding::FloatHistogram) => {
                stats.num_histogram_samples = stats.num_histogram_samples.saturating_add(samples);
            }
            Ok(Encoding::Aggregate) | Err(_) => {}
        }
    }
}

impl SegmentSender {
    fn send(&mut self, piece: Piece) -> Result<(), Gone> {
        self.sender.blocking_send(piece).map_err(|_| Gone)
    }

    fn flush(&mut self) -> Result<(), Gone> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        self.send(Piece::Data(piece))
    }

    fn end_segment(&mut self) -> Result<(), Gone> {
        self.flush()?;
        if !self.is_begun {
            return Ok(());
        }
        if let Some(hasher) = &mut self.hasher {
            let digest = hasher.finalize_reset();
            self.hashes
                .push(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        Ok(())
    }
}

impl SegmentSink for SegmentSender {
    type Error = Gone;

    fn begin(&mut self, index: u32) -> Result<(), Gone> {
        self.end_segment()?;
        self.is_begun = true;
        self.send(Piece::Begin(index))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if self.buffer.len().saturating_add(bytes.len()) > PIECE_BYTES {
            self.flush()?;
        }
        if self.buffer.capacity() < PIECE_BYTES {
            self.buffer.reserve(PIECE_BYTES);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}
