//! A source block: what is known of its files, and its streams opened.

use std::sync::Arc;

use bytes::Bytes;
use sabre_block::fetcher::BlockObjects;
use sabre_block::layout::{self, CHUNKS_DIR, INDEX_FILE};
use sabre_block::{BlockError, View};
use sabre_objstore::{BucketExt, ListEntry, SharedBucket};
use sabre_tsdb::Corruption;
use sabre_tsdb::index::TOC_BYTES;
use sabre_tsdb::meta::BlockMeta;

use super::chunks::{ChunkReader, RandomReads, SegmentFile};
use super::feed::{Feeds, Part, STREAMED_WINDOW_BYTES};
use super::health::HealthRules;
use super::index::{IndexHead, SymbolCursor};
use super::windows::{Window, corrupt};

/// An index up to this size is read by one request.
const WHOLE_INDEX_BYTES: u64 = 256 << 10;
/// The most segments of a block.
const MAX_SEGMENTS: usize = 1 << 20;

/// A block to be read.
#[derive(Debug, Clone)]
pub(crate) struct SourceBlock {
    pub(crate) meta: Arc<BlockMeta>,
    /// Bytes of its index, if known.
    pub(crate) index_bytes: Option<u64>,
    /// Its segments, if known.
    pub(crate) segments: Option<Vec<SegmentFile>>,
}

/// A block whose table of contents has been read.
#[derive(Debug)]
pub(crate) struct OpenBlock {
    pub(crate) meta: Arc<BlockMeta>,
    head: IndexHead,
    /// All of the index, where it is small.
    whole_index: Option<Bytes>,
    segments: Vec<SegmentFile>,
}

/// The reading ends of a block.
#[derive(Debug)]
pub(crate) struct SourceReaders {
    pub(crate) symbols: IndexStart,
    pub(crate) chunks: ChunkReader,
    pub(crate) rules: HealthRules,
}

/// The index of a source before the thread that reads it has begun.
#[derive(Debug)]
pub(crate) struct IndexStart {
    reader: super::windows::WindowReader,
    head: IndexHead,
}

impl IndexStart {
    /// Begins to read; waits for the first window.
    pub(crate) fn begin(self) -> Result<SymbolCursor, BlockError> {
        SymbolCursor::open(self.reader, self.head)
    }
}

impl SourceBlock {
    /// Takes the sizes of files from the listing of a view; where it does not tell, they are asked for.
    pub(crate) fn new(meta: Arc<BlockMeta>, view: &View) -> Self {
        let objects = view.listing.get(meta.ulid);
        let listed = objects.filter(|objects| objects.is_listed && !objects.has_more_segments);
        Self {
            index_bytes: listed
                .and_then(|objects| objects.index)
                .map(|index| index.size_bytes),
            segments: listed.map(|objects| listed_segments(&meta, objects)),
            meta,
        }
    }
}

/// The segments that references count: those that the meta names, a missing one in its place too, and behind them what else
/// is listed. A meta that names too few, by hand or by mistake, does not keep the block from being read.
fn listed_segments(meta: &BlockMeta, objects: &BlockObjects) -> Vec<SegmentFile> {
    let named = meta.thanos.as_ref().map(|thanos| thanos.segment_files.as_slice());
    let named = named.unwrap_or_default();
    let mut segments = Vec::new();
    for name in named {
        let file = format!("{CHUNKS_DIR}/{name}");
        // A missing one has no bytes: that is found where a chunk of it is wanted.
        let size_bytes = objects.size_of(&file).unwrap_or(0);
        segments.push(SegmentFile { file, size_bytes });
    }
    let last_named = named.iter().max();
    for segment in &objects.segments {
        if last_named.is_none_or(|last| *segment.name > **last) {
            segments.push(SegmentFile {
                file: format!("{CHUNKS_DIR}/{}", segment.name),
                size_bytes: segment.size_bytes,
            });
        }
    }
    segments
}

/// Learns what is not known of the files of a block and reads the end of its index.
pub(crate) async fn open(bucket: &SharedBucket, block: SourceBlock) -> Result<OpenBlock, BlockError> {
    let SourceBlock {
        meta,
        index_bytes,
        segments,
    } = block;
    let id = meta.ulid;
    let key = layout::key(id, INDEX_FILE);
    let fail = |error: sabre_objstore::Error| BlockError::new(id, INDEX_FILE, error);
    let size_bytes = match index_bytes {
        Some(bytes) => bytes,
        None => bucket.attributes(&key).await.map_err(fail)?.size_bytes,
    };
    let segments = match segments {
        Some(segments) => segments,
        None => list_segments(bucket, &meta).await?,
    };
    let end_bytes = match size_bytes {
        size if size <= WHOLE_INDEX_BYTES => size,
        _ => TOC_BYTES as u64,
    };
    let offset = size_bytes.saturating_sub(end_bytes);
    let end = bucket.get_range(&key, offset, end_bytes).await.map_err(fail)?;
    if end.object_size_bytes != size_bytes {
        let what = format!(
            "has {} bytes, the listing said {size_bytes}",
            end.object_size_bytes
        );
        return Err(corrupt(id, INDEX_FILE, Corruption::at("index", 0, what)));
    }
    let head = IndexHead::parse(&end.bytes, size_bytes).map_err(|error| corrupt(id, INDEX_FILE, error))?;
    Ok(OpenBlock {
        meta,
        head,
        whole_index: (end_bytes == size_bytes).then_some(end.bytes),
        segments,
    })
}

async fn list_segments(bucket: &SharedBucket, meta: &BlockMeta) -> Result<Vec<SegmentFile>, BlockError> {
    let dir = layout::key(meta.ulid, CHUNKS_DIR);
    let entries = bucket.list_all(&dir, false, MAX_SEGMENTS).await;
    let entries = entries.map_err(|error| BlockError::new(meta.ulid, CHUNKS_DIR, error))?;
    let mut segments = Vec::new();
    for entry in entries.into_iter().filter_map(ListEntry::into_object) {
        let Some((_, file)) = layout::split_key(&entry.key) else {
            continue;
        };
        segments.push(SegmentFile {
            file: file.to_owned(),
            size_bytes: entry.size_bytes,
        });
    }
    Ok(segments)
}

impl OpenBlock {
    /// Bytes of the symbols section, which bounds how many symbols there are.
    pub(crate) fn symbols_bytes(&self) -> u64 {
        self.head.toc.series.saturating_sub(self.head.toc.symbols)
    }

    /// Begins to fetch.
    pub(crate) fn start(
        self,
        bucket: &SharedBucket,
        feeds: &mut Feeds,
        windows: Windows,
        accepts_label_order: bool,
    ) -> SourceReaders {
        let id = self.meta.ulid;
        let index = match self.whole_index {
            Some(bytes) => feeds.add_ready(
                id,
                Window {
                    object: 0,
                    offset: 0,
                    bytes,
                },
            ),
            None => {
                let part = Part {
                    file: INDEX_FILE.to_owned(),
                    object: 0,
                    range: self.head.needed(),
                    is_whole: false,
                };
                feeds.add(bucket, id, vec![part], windows.index_bytes)
            }
        };
        let parts = self.segments.iter().zip(0..).map(|(segment, object)| Part {
            file: segment.file.clone(),
            object,
            range: 0..segment.size_bytes,
            is_whole: true,
        });
        let chunks = feeds.add(bucket, id, parts.collect(), windows.chunks_bytes);
        let (random, service) = RandomReads::new(SharedBucket::clone(bucket), id);
        feeds.add_service(service);
        SourceReaders {
            symbols: IndexStart {
                reader: index,
                head: self.head,
            },
            chunks: ChunkReader::new(chunks, self.segments, random),
            rules: HealthRules {
                min_time: self.meta.min_time,
                max_time: self.meta.max_time,
                accepts_label_order,
            },
        }
    }
}

/// How much is fetched at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Of an index.
    pub(crate) index_bytes: u64,
    /// Of chunk segments.
    pub(crate) chunks_bytes: u64,
}

/// The least and the most that is fetched at a time.
const LEAST_WINDOW_BYTES: u64 = 64 << 10;
const MOST_INDEX_WINDOW_BYTES: u64 = 512 << 10;
const MOST_CHUNKS_WINDOW_BYTES: u64 = 4 << 20;
/// What is left for the index at least where segments are fetched by one request each.
const LEAST_INDEX_SHARE_BYTES: u64 = 128 << 10;
/// Windows of a source in memory at once: of the index and of the chunks.
const WINDOWS_EACH: u64 = super::feed::WINDOWS_PER_STREAM;

impl Windows {
    /// Shares `budget_bytes` among so many sources. A segment is one request if its windows are large enough, and then
    /// nothing is saved by larger ones: the index gets the rest. Else chunks, which are most of what is read, get most.
    pub(crate) fn share(budget_bytes: u64, sources: usize) -> Self {
        let each = budget_bytes / (sources.max(1) as u64).saturating_mul(WINDOWS_EACH);
        let rest = each.saturating_sub(STREAMED_WINDOW_BYTES);
        if rest >= LEAST_INDEX_SHARE_BYTES {
            return Self {
                index_bytes: rest.min(MOST_INDEX_WINDOW_BYTES),
                chunks_bytes: STREAMED_WINDOW_BYTES,
            };
        }
        Self {
            index_bytes: (each / 8).clamp(LEAST_WINDOW_BYTES, MOST_INDEX_WINDOW_BYTES),
            chunks_bytes: (each / 8 * 7).clamp(LEAST_WINDOW_BYTES, MOST_CHUNKS_WINDOW_BYTES),
        }
    }

    /// Bytes that so many sources hold at most.
    pub(crate) fn total_bytes(self, sources: usize) -> u64 {
        let each = self.index_bytes.saturating_add(self.chunks_bytes);
        each.saturating_mul(WINDOWS_EACH).saturating_mul(sources as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_within_the_budget_unless_it_is_too_small_for_the_smallest() {
        for budget_mib in [1, 2, 4, 8, 16, 24, 100] {
            for sources in 1..100 {
                let windows = Windows::share(budget_mib << 20, sources);
                let least = Windows {
                    index_bytes: LEAST_WINDOW_BYTES,
                    chunks_bytes: LEAST_WINDOW_BYTES,
                };
                let most = (budget_mib << 20).max(least.total_bytes(sources));
                // A window of the index may be at its least while that of chunks is not.
                let slack = LEAST_WINDOW_BYTES * WINDOWS_EACH * sources as u64;
                assert!(
                    windows.total_bytes(sources) <= most + slack,
                    "{budget_mib} {sources}"
                );
            }
        }
    }

    #[test]
    fn up_to_eight_sources_have_segments_read_by_one_request_each() {
        for sources in 1..20 {
            let windows = Windows::share(20 << 20, sources);
            assert_eq!(
                windows.chunks_bytes >= STREAMED_WINDOW_BYTES,
                sources <= 8,
                "{sources}"
            );
        }
    }
}
