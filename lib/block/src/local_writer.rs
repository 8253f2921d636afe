//! Writes a block into a local directory, as Prometheus lays it out.

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use sabre_model::{BlockId, Labels};
use sabre_tsdb::{
    chunk::{EncodedChunk, Encoding},
    index::{ChunkMeta, IndexWriteError, IndexWriter, SymbolsBuilder},
    meta::{BlockMeta, IndexStats, Stats},
    segment::{DEFAULT_SEGMENT_BYTES, FileSink, SegmentWriteError, SegmentWriter, segment_name},
};

use crate::layout::{CHUNKS_DIR, INDEX_FILE, META_FILE};

type Segments = FileSink<Box<dyn FnMut(u32) -> io::Result<BufWriter<File>> + Send>, BufWriter<File>>;

/// A block being written under a temporary name; [`LocalBlockWriter::finish`] makes it appear.
pub struct LocalBlockWriter {
    id: BlockId,
    parent: PathBuf,
    temporary: PathBuf,
    segments: SegmentWriter,
    sink: Segments,
    index: IndexWriter<BufWriter<File>>,
    stats: Stats,
    chunks: Vec<ChunkMeta>,
}

/// Why a block could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LocalWriteError {
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A segment.
    #[error("chunks: {0}")]
    Segment(#[from] SegmentWriteError<io::Error>),
    /// The index, or series that cannot be in one.
    #[error("index: {0}")]
    Index(#[from] IndexWriteError),
}

impl LocalBlockWriter {
    /// Begins the block `id` below `parent`. `symbols` are all names and values its series will have, and more if
    /// need be, in any order.
    ///
    /// # Errors
    /// The disk.
    pub fn create<'a>(
        parent: &Path,
        id: BlockId,
        symbols: impl IntoIterator<Item = &'a str>,
    ) -> Result<LocalBlockWriter, LocalWriteError> {
        let temporary = parent.join(format!("{id}.tmp-for-creation"));
        let chunks_dir = temporary.join(CHUNKS_DIR);
        // A killed writer may have left more segments than this one writes.
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&temporary)(error)),
            _ => {}
        }
        fs::create_dir_all(&chunks_dir).map_err(io_error(&chunks_dir))?;
        let open = move |index: u32| File::create(chunks_dir.join(segment_name(index))).map(BufWriter::new);
        let index_path = temporary.join(INDEX_FILE);
        let index_file = File::create(&index_path).map_err(io_error(&index_path))?;
        let mut sorted: Vec<&str> = symbols.into_iter().chain([""]).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut builder = SymbolsBuilder::new();
        for symbol in sorted {
            builder.push(symbol);
        }
        Ok(LocalBlockWriter {
            id,
            parent: parent.to_path_buf(),
            temporary,
            segments: SegmentWriter::new(DEFAULT_SEGMENT_BYTES),
            sink: FileSink::new(Box::new(open)),
            index: IndexWriter::new(BufWriter::new(index_file), builder)?,
            stats: Stats::default(),
            chunks: Vec::new(),
        })
    }

    /// Writes a series with its chunks, in time order. Series come sorted by labels, each once.
    ///
    /// # Errors
    /// The disk, or a series that does not fit behind the one before.
    pub fn add_series(&mut self, lset: &Labels, chunks: &[EncodedChunk]) -> Result<(), LocalWriteError> {
        self.segments.begin_series();
        self.chunks.clear();
        for chunk in chunks {
            let chunk_ref = self
                .segments
                .write_chunk(&mut self.sink, chunk.encoding.byte(), &chunk.data)?;
            self.chunks.push(ChunkMeta {
                mint: chunk.mint,
                maxt: chunk.maxt,
                chunk_ref: chunk_ref.0,
            });
            let samples = u64::from(chunk.num_samples);
            self.stats.num_samples += samples;
            match chunk.encoding {
                Encoding::Histogram | Encoding::FloatHistogram => self.stats.num_histogram_samples += samples,
                Encoding::Xor | Encoding::Aggregate => self.stats.num_float_samples += samples,
            }
        }
        self.stats.num_series += 1;
        self.stats.num_chunks += chunks.len() as u64;
        self.index.add_series(lset, &self.chunks)?;
        Ok(())
    }

    /// Completes index and segments, writes meta.json (`meta` with id and statistics filled in, and in a Thanos section
    /// the segments) and renames the directory into place.
    ///
    /// # Errors
    /// The disk.
    pub fn finish(self, mut meta: BlockMeta) -> Result<(BlockMeta, IndexStats), LocalWriteError> {
        let LocalBlockWriter {
            id,
            parent,
            temporary,
            segments,
            sink,
            index,
            stats,
            ..
        } = self;
        let sync = |file: Option<BufWriter<File>>| match file {
            Some(file) => file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all(),
            None => Ok(()),
        };
        let chunks_dir = temporary.join(CHUNKS_DIR);
        sink.finish()
            .and_then(sync)
            .and_then(|()| sync_files(&chunks_dir))
            .map_err(io_error(&chunks_dir))?;
        let (file, summary) = index.finish()?;
        sync(Some(file)).map_err(io_error(&temporary.join(INDEX_FILE)))?;
        meta.ulid = id;
        meta.stats = stats;
        if let Some(thanos) = &mut meta.thanos {
            thanos.segment_files = (0..segments.num_segments()).map(segment_name).collect();
        }
        let meta_path = temporary.join(META_FILE);
        let mut file = File::create(&meta_path).map_err(io_error(&meta_path))?;
        file.write_all(&meta.to_json())
            .and_then(|()| file.sync_all())
            .map_err(io_error(&meta_path))?;
        sync_dir(&temporary).map_err(io_error(&temporary))?;
        let place = parent.join(id.to_string());
        fs::rename(&temporary, &place).map_err(io_error(&place))?;
        sync_dir(&parent).map_err(io_error(&parent))?;
        Ok((meta, summary.estimates.to_index_stats()))
    }
}

impl fmt::Debug for LocalBlockWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBlockWriter")
            .field("id", &self.id)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// Brings all files of a directory to the disk, and the directory itself.
fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LocalWriteError {
    let path = path.to_path_buf();
    move |source| LocalWriteError::Io { path, source }
}
