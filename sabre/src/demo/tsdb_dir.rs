//! Reads the blocks of a data directory: what the stand-in for Prometheus answers from.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use sabre_model::{BlockId, Labels, Matcher};
use sabre_tsdb::{
    index::{ByteSource, ChunkMeta, IndexReader, SeriesEntry},
    meta::BlockMeta,
    segment::{ChunkRef, Record, read_record, segment_name},
};

/// Chunks are some hundred bytes; a record is read with this much at first.
const RECORD_GUESS_BYTES: usize = 4096;

/// The blocks below some directories, and what is in them.
#[derive(Debug)]
pub(crate) struct TsdbDir {
    dirs: Vec<PathBuf>,
}

/// A block, open for reading.
pub(crate) struct OpenBlock {
    pub(crate) meta: BlockMeta,
    index: IndexReader<IndexFile>,
    segments: Vec<File>,
}

/// A file read by `pread`.
#[derive(Debug)]
struct IndexFile {
    file: File,
    len_bytes: u64,
}

/// Where the chunks of a series are: the number of the block among the open ones, and its chunks.
pub(crate) type Places = Vec<(usize, Vec<ChunkMeta>)>;

/// An encoded chunk.
#[derive(Clone, Debug)]
pub(crate) struct StoredChunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) encoding: u8,
    pub(crate) data: Vec<u8>,
}

impl TsdbDir {
    /// Blocks are looked for in each of `dirs` whenever something is asked: Prometheus' directory changes.
    pub(crate) fn new(dirs: Vec<PathBuf>) -> TsdbDir {
        TsdbDir { dirs }
    }

    /// Opens the blocks that have something in `[mint, maxt]`. One that cannot be opened is left out with a warning:
    /// it may be going away.
    pub(crate) fn open(&self, mint: i64, maxt: i64) -> Result<Vec<OpenBlock>> {
        let mut blocks = Vec::new();
        for dir in &self.dirs {
            for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
                let path = entry?.path();
                let is_block = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| BlockId::parse(name).is_ok());
                if !is_block {
                    continue;
                }
                match OpenBlock::open_if_in_range(&path, mint, maxt) {
                    Ok(block) => blocks.extend(block),
                    Err(error) => {
                        tracing::warn!(block = %path.display(), error = format!("{error:#}"), "block cannot be read");
                    }
                }
            }
        }
        blocks.sort_by_key(|block| (block.meta.min_time, block.meta.ulid));
        Ok(blocks)
    }

    /// The oldest timestamp, if there is any block.
    pub(crate) fn lowest_ms(&self) -> Result<Option<i64>> {
        Ok(self
            .open(i64::MIN, i64::MAX)?
            .iter()
            .map(|block| block.meta.min_time)
            .min())
    }
}

impl OpenBlock {
    fn open_if_in_range(dir: &Path, mint: i64, maxt: i64) -> Result<Option<OpenBlock>> {
        let meta = BlockMeta::parse(&fs::read(dir.join("meta.json"))?)?;
        if meta.max_time <= mint || meta.min_time > maxt {
            return Ok(None);
        }
        let file = File::open(dir.join("index"))?;
        let len_bytes = file.metadata()?.len();
        let index = IndexReader::open(IndexFile { file, len_bytes })?;
        let mut segments = Vec::new();
        for number in 0.. {
            match File::open(dir.join("chunks").join(segment_name(number))) {
                Ok(segment) => segments.push(segment),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(OpenBlock {
            meta,
            index,
            segments,
        }))
    }

    fn series(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<Vec<(Labels, Vec<ChunkMeta>)>> {
        let mut found = Vec::new();
        let mut entry = SeriesEntry::default();
        for series_ref in self.candidates(matchers)? {
            self.index.series(series_ref, &mut entry)?;
            let labels = self.index.labels(series_ref, &entry)?;
            let chunks: Vec<ChunkMeta> = entry
                .chunks
                .iter()
                .filter(|chunk| chunk.overlaps(mint, maxt))
                .copied()
                .collect();
            let matched = matchers
                .iter()
                .all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default()));
            if matched && !chunks.is_empty() {
                found.push((labels, chunks));
            }
        }
        Ok(found)
    }

    /// The series with the value of one equality matcher, or all: the rest is filtered by labels.
    fn candidates(&self, matchers: &[Matcher]) -> Result<Vec<u32>> {
        let equality = matchers
            .iter()
            .find(|m| m.kind() == sabre_model::MatchKind::Eq && !m.value().is_empty());
        Ok(match equality {
            Some(matcher) => self
                .index
                .postings(matcher.name(), matcher.value())?
                .unwrap_or_default(),
            None => self.index.all_postings()?,
        })
    }

    /// Reads a chunk.
    pub(crate) fn chunk(&self, chunk: &ChunkMeta) -> Result<StoredChunk> {
        let number = usize::try_from(ChunkRef(chunk.chunk_ref).segment())?;
        let segment = self
            .segments
            .get(number)
            .ok_or_else(|| anyhow!("block {}: segment {number} is missing", self.meta.ulid))?;
        let offset = u64::from(ChunkRef(chunk.chunk_ref).offset());
        let rest = segment.metadata()?.len().saturating_sub(offset);
        let mut want = RECORD_GUESS_BYTES;
        loop {
            let available = want.min(usize::try_from(rest)?);
            let mut bytes = vec![0; available];
            segment.read_exact_at(&mut bytes, offset)?;
            match read_record(&bytes, offset) {
                Ok(Record { encoding, data, .. }) => {
                    return Ok(StoredChunk {
                        mint: chunk.mint,
                        maxt: chunk.maxt,
                        encoding,
                        data: data.to_vec(),
                    });
                }
                Err(error) if (available as u64) < rest => {
                    want = want.saturating_mul(4);
                    tracing::debug!(%error, want, "chunk is longer than was read");
                }
                Err(error) => return Err(anyhow!("block {}: segment {number}: {error}", self.meta.ulid)),
            }
        }
    }
}

/// All series that match in any of `blocks`, sorted, with the places of their chunks in time order.
pub(crate) fn select(
    blocks: &[OpenBlock],
    matchers: &[Matcher],
    mint: i64,
    maxt: i64,
) -> Result<BTreeMap<Labels, Places>> {
    let mut all: BTreeMap<Labels, Places> = BTreeMap::new();
    for (number, block) in blocks.iter().enumerate() {
        for (labels, chunks) in block.series(matchers, mint, maxt)? {
            all.entry(labels).or_default().push((number, chunks));
        }
    }
    Ok(all)
}

/// Label names of `blocks`.
pub(crate) fn label_names(blocks: &[OpenBlock]) -> BTreeSet<String> {
    blocks
        .iter()
        .flat_map(|block| block.index.label_names())
        .map(str::to_string)
        .collect()
}

/// Values of a label in `blocks`.
pub(crate) fn label_values(blocks: &[OpenBlock], name: &str) -> BTreeSet<String> {
    blocks
        .iter()
        .flat_map(|block| block.index.label_values(name))
        .map(str::to_string)
        .collect()
}

impl ByteSource for IndexFile {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        if range.end > self.len_bytes || range.start > range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(Cow::Owned(bytes))
    }
}
