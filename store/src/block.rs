//! A block that is served: what is known of it, and ranged reads of its objects.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use sabre_block::{BlockError, Cause, index_header::IndexHeader, layout};
use sabre_model::{BlockId, Labels};
use sabre_objstore::{Bucket, SharedBucket};
use sabre_runtime::budget::Reservation;
use sabre_tsdb::{Corruption, index::Version, meta::BlockMeta};

use crate::{block_set::BlockSpan, ranges, segments::Segments};

/// What is assumed of the largest series entry when the block does not say.
const DEFAULT_SERIES_BYTES: u64 = 4 << 10;

/// Most bytes that the statistics of a block, or the flag, may add to a read of its series: what a stream is sure to have
/// room for.
const MAX_SERIES_BYTES: u64 = 64 << 10;

/// Reads of a block: which of the store's settings they follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadEstimates {
    /// Asked for when nothing tells how long a chunk is.
    pub(crate) chunk_bytes: u32,
    /// Asked for behind the start of the last series of a read if the block does not say how long its series are, and at
    /// most; `None` if nobody has said.
    pub(crate) series_bytes: Option<u64>,
}

impl Default for ReadEstimates {
    fn default() -> Self {
        Self {
            chunk_bytes: ranges::DEFAULT_CHUNK_BYTES,
            series_bytes: None,
        }
    }
}

impl ReadEstimates {
    /// What to ask for behind the start of the last series of a read, of a block that says its longest has `longest` bytes.
    fn series_bytes_of(self, longest: Option<u64>) -> u64 {
        let most = self
            .series_bytes
            .map_or(MAX_SERIES_BYTES, |bytes| bytes.clamp(64, MAX_SERIES_BYTES));
        let unknown = self.series_bytes.unwrap_or(DEFAULT_SERIES_BYTES);
        longest.unwrap_or(unknown).min(most)
    }
}

/// What is known of a block without its index-header.
pub(crate) struct BlockFacts {
    /// Range and resolution.
    pub(crate) span: BlockSpan,
    /// External labels.
    pub(crate) external: Labels,
    /// Size of the index, if a listing told it.
    pub(crate) index_bytes: Option<u64>,
    /// What to ask for when the index does not tell how long a chunk is.
    chunk_bytes: u32,
    /// What to ask for behind the start of the last series of a read.
    series_bytes: u64,
    segments: Segments,
    /// Names of the segments that the bucket was asked for, so that it is not asked each time the block is opened.
    listed: Mutex<Option<Vec<String>>>,
    buckets: Buckets,
}

/// Where objects are read.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    /// Perhaps through a cache.
    pub(crate) bucket: SharedBucket,
    /// The same without any cache: for what was read and turned out not to be true.
    pub(crate) origin: SharedBucket,
}

/// A block whose index-header is open.
pub(crate) struct ServedBlock {
    /// Range and resolution.
    pub(crate) span: BlockSpan,
    /// External labels.
    pub(crate) external: Labels,
    /// Symbols and postings table of the index.
    pub(crate) header: IndexHeader,
    /// What to ask for when the index does not tell how long a chunk is.
    pub(crate) chunk_bytes: u32,
    /// What to ask for behind the start of the last series of a read.
    pub(crate) series_bytes: u64,
    index_key: String,
    /// Names of the segments, in the order that chunk references count them.
    segments: Vec<String>,
    facts: Arc<BlockFacts>,
    /// What the index-header takes.
    _memory: Reservation,
}

impl BlockFacts {
    /// Puts together what the sync has found.
    pub(crate) fn new(
        buckets: Buckets,
        meta: &BlockMeta,
        (segments, index_bytes): (Segments, Option<u64>),
        estimates: ReadEstimates,
    ) -> Self {
        let stats = meta.thanos.as_ref().map(|thanos| &thanos.index_stats);
        let series_max = stats
            .and_then(|stats| u64::try_from(stats.series_max_size).ok())
            .filter(|&max| max > 0);
        Self {
            span: BlockSpan {
                id: meta.ulid,
                mint_ms: meta.min_time,
                maxt_ms: meta.max_time,
                resolution_ms: meta.resolution_ms(),
            },
            external: meta.ext_labels(),
            index_bytes,
            chunk_bytes: ranges::estimated_bytes(
                stats.map_or(0, |stats| stats.chunk_max_size),
                estimates.chunk_bytes,
            ),
            series_bytes: estimates.series_bytes_of(series_max),
            segments,
            listed: Mutex::default(),
            buckets,
        }
    }

    /// Names of the segments; the bucket is asked if nothing told them yet.
    pub(crate) async fn segment_names(&self) -> Result<Vec<String>, BlockError> {
        let listed = self.listed.lock().clone();
        if let Some(listed) = listed {
            return Ok(listed);
        }
        let names = self.segments.names(&self.buckets.bucket, self.span.id).await?;
        if self.segments == Segments::Unknown {
            *self.listed.lock() = Some(names.clone());
        }
        Ok(names)
    }

    /// Has the bucket asked for the segments again: what it said may not be so any more.
    pub(crate) fn forget_segments(&self) {
        *self.listed.lock() = None;
    }
}

impl ServedBlock {
    /// A block with its index-header and the memory that takes.
    pub(crate) fn new(
        facts: Arc<BlockFacts>,
        segments: Vec<String>,
        header: IndexHeader,
        memory: Reservation,
    ) -> Self {
        Self {
            span: facts.span,
            external: facts.external.clone(),
            chunk_bytes: facts.chunk_bytes,
            series_bytes: facts.series_bytes,
            index_key: layout::key(facts.span.id, layout::INDEX_FILE),
            header,
            segments,
            facts,
            _memory: memory,
        }
    }

    /// The block.
    pub(crate) fn id(&self) -> BlockId {
        self.span.id
    }

    /// Where in the index the series with this reference begins.
    pub(crate) fn series_offset(&self, reference: u32) -> u64 {
        self.header.index_version().series_offset(reference)
    }

    /// No series has a higher reference: it would lie behind the end of the index.
    pub(crate) fn last_ref(&self) -> u32 {
        let last = self.header.index_size_bytes() / self.series_alignment();
        u32::try_from(last).unwrap_or(u32::MAX)
    }

    /// Series begin at multiples of this.
    pub(crate) fn series_alignment(&self) -> u64 {
        match self.header.index_version() {
            Version::V1 => 1,
            Version::V2 => 16,
        }
    }

    /// The bytes `start..end` of the index, or fewer where it ends.
    pub(crate) async fn read_index(&self, start: u64, end: u64) -> Result<Bytes, BlockError> {
        let bucket = &self.facts.buckets.bucket;
        self.read(bucket, (&self.index_key, layout::INDEX_FILE), start, end)
            .await
    }

    /// As [`ServedBlock::read_index`], and from no cache.
    pub(crate) async fn reread_index(&self, start: u64, end: u64) -> Result<Bytes, BlockError> {
        let origin = &self.facts.buckets.origin;
        self.read(origin, (&self.index_key, layout::INDEX_FILE), start, end)
            .await
    }

    /// The bytes `start..end` of a segment, or fewer where it ends.
    pub(crate) async fn read_segment(&self, segment: u32, start: u64, end: u64) -> Result<Bytes, BlockError> {
        self.read_segment_of(&self.facts.buckets.bucket, segment, start, end)
            .await
    }

    /// As [`ServedBlock::read_segment`], and from no cache.
    pub(crate) async fn reread_segment(
        &self,
        segment: u32,
        start: u64,
        end: u64,
    ) -> Result<Bytes, BlockError> {
        self.read_segment_of(&self.facts.buckets.origin, segment, start, end)
            .await
    }

    async fn read_segment_of(
        &self,
        bucket: &SharedBucket,
        segment: u32,
        start: u64,
        end: u64,
    ) -> Result<Bytes, BlockError> {
        let segments = &self.segments;
        let Some(name) = usize::try_from(segment).ok().and_then(|at| segments.get(at)) else {
            let what = format!("the index refers to segment {segment} of {}", segments.len());
            return Err(BlockError::new(
                self.id(),
                layout::INDEX_FILE,
                Corruption::at("index series", 0, what),
            ));
        };
        let key = layout::segment_key(self.id(), name);
        self.read(bucket, (&key, &self.segment_file(segment)), start, end)
            .await
    }

    /// What errors call a segment.
    pub(crate) fn segment_file(&self, segment: u32) -> String {
        let name = usize::try_from(segment).ok().and_then(|at| self.segments.get(at));
        format!("{}/{}", layout::CHUNKS_DIR, name.map_or("?", String::as_str))
    }

    /// An error in a segment.
    pub(crate) fn segment_error(&self, segment: u32, cause: impl Into<Cause>) -> BlockError {
        BlockError::new(self.id(), self.segment_file(segment), cause)
    }

    /// An error in the index.
    pub(crate) fn index_error(&self, cause: impl Into<Cause>) -> BlockError {
        BlockError::new(self.id(), layout::INDEX_FILE, cause)
    }

    async fn read(
        &self,
        bucket: &SharedBucket,
        (key, file): (&str, &str),
        start: u64,
        end: u64,
    ) -> Result<Bytes, BlockError> {
        let len = end.saturating_sub(start);
        match bucket.get_range(key, start, len).await {
            Ok(body) => Ok(body.bytes),
            Err(error) => Err(BlockError::new(self.id(), file, error)),
        }
    }
}

impl fmt::Debug for BlockFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockFacts")
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedBlock")
            .field("span", &self.span)
            .field("external", &self.external)
            .finish_non_exhaustive()
    }
}
