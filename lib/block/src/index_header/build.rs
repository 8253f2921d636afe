//! Makes an index-header out of ranged reads of a block's index.
//!
//! One small read of the end tells where the sections are, and often holds one or both already; what it lacks is
//! read in parts, a few of them at a time, and written as it comes.

use std::ops::Range;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, BucketExt};
use sabre_tsdb::{
    Corruption,
    index::{HEADER_BYTES as INDEX_HEADER_LENGTH, Toc, Version},
};

use super::format::{HEADER_BYTES, INDEX_TOC_BYTES, encode_header, encode_toc};
use crate::{
    error::{BlockError, Cause, Result},
    layout::{INDEX_FILE, INDEX_HEADER_FILE, key},
};

/// How much of the end of the index is read first.
const TAIL_BYTES: u64 = 64 << 10;
/// How much one of the other reads asks for.
const PART_BYTES: u64 = 4 << 20;
/// How many of them run at once.
const PARALLEL_PARTS: usize = 3;
/// More than the two ends that a header has and the sections of an index have not.
const ENDS_BYTES: u64 = 64;
/// Magic number and version of an index; its symbols follow.
const INDEX_HEADER_BYTES: u64 = INDEX_HEADER_LENGTH as u64;

/// Takes the bytes of an index-header, in order.
pub(super) trait Sink: Send {
    /// Says how many there will be, and how many are on their way at once; makes room for them.
    fn begin(&mut self, total_bytes: u64, window_bytes: u64) -> Result<(), Cause>;

    /// Takes the next bytes.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = std::io::Result<()>> + Send;
}

/// The index of a block in a bucket, its end in memory.
struct IndexObject<'a> {
    bucket: &'a dyn Bucket,
    block: BlockId,
    key: String,
    size_bytes: u64,
    tail: Bytes,
}

/// Writes the index-header of `block` to `sink`. Its size is asked for if it is not given. Says how much of what the sink
/// made room for was on its way, and is not any more.
pub(super) async fn write_header(
    bucket: &dyn Bucket,
    block: BlockId,
    index_size_bytes: Option<u64>,
    sink: &mut impl Sink,
) -> Result<u64> {
    let index = IndexObject::read_tail(bucket, block, index_size_bytes).await?;
    let toc = index.toc()?;
    let symbols = 0..toc.series;
    let table = toc.postings_table..index.size_bytes;
    let local = |error| BlockError::new(block, INDEX_HEADER_FILE, Cause::Local(error));
    let total_bytes = [&symbols, &table].map(|range| range.end.saturating_sub(range.start));
    let total_bytes = total_bytes.into_iter().fold(ENDS_BYTES, u64::saturating_add);
    let window_bytes = total_bytes.min(PARALLEL_PARTS as u64 * PART_BYTES);
    sink.begin(total_bytes, window_bytes)
        .map_err(|cause| BlockError::new(block, INDEX_HEADER_FILE, cause))?;
    let mut pieces = index.pieces([symbols, table]);

    let mut first = pieces.try_next().await?.unwrap_or_default();
    let header = first.split_to(first.len().min(INDEX_HEADER_LENGTH));
    let version = Version::decode(&header).map_err(|corruption| index.corrupt(corruption))?;
    sink.write(encode_header(version, toc.postings_table).into())
        .await
        .map_err(local)?;
    sink.write(first).await.map_err(local)?;
    while let Some(piece) = pieces.try_next().await? {
        sink.write(piece).await.map_err(local)?;
    }
    let symbols_length = toc.series.saturating_sub(toc.symbols);
    sink.write(encode_toc(HEADER_BYTES.saturating_add(symbols_length)).into())
        .await
        .map_err(local)?;
    Ok(window_bytes)
}

impl<'a> IndexObject<'a> {
    async fn read_tail(bucket: &'a dyn Bucket, block: BlockId, size_bytes: Option<u64>) -> Result<Self> {
        let key = key(block, INDEX_FILE);
        let fail = |error: sabre_objstore::Error| BlockError::new(block, INDEX_FILE, error);
        let size_bytes = match size_bytes {
            Some(size) => size,
            None => bucket.attributes(&key).await.map_err(fail)?.size_bytes,
        };
        let least = INDEX_HEADER_BYTES + INDEX_TOC_BYTES;
        if size_bytes < least {
            return Err(BlockError::new(
                block,
                INDEX_FILE,
                Corruption::short("index", 0, least, size_bytes),
            ));
        }
        let length = TAIL_BYTES.min(size_bytes);
        let tail = bucket
            .get_range(&key, size_bytes - length, length)
            .await
            .map_err(fail)?;
        if tail.object_size_bytes != size_bytes || tail.bytes.len() as u64 != length {
            let what = format!(
                "has {} bytes, but the listing said {size_bytes}",
                tail.object_size_bytes
            );
            return Err(BlockError::new(
                block,
                INDEX_FILE,
                Corruption::at("index", 0, what),
            ));
        }
        Ok(Self {
            bucket,
            block,
            key,
            size_bytes,
            tail: tail.bytes,
        })
    }

    fn toc(&self) -> Result<Toc> {
        let toc_offset = self.size_bytes.saturating_sub(INDEX_TOC_BYTES);
        let from = self.tail.len().saturating_sub(INDEX_TOC_BYTES as usize);
        let toc = Toc::decode(self.tail.get(from..).unwrap_or_default())
            .map_err(|corruption| self.corrupt(corruption.shifted(toc_offset)))?;
        let ordered = toc.symbols == INDEX_HEADER_BYTES
            && toc.symbols <= toc.series
            && toc.series <= toc.postings_table
            && toc.postings_table <= toc_offset;
        if ordered {
            return Ok(toc);
        }
        let what = format!(
            "symbols at {}, series at {} and postings offset table at {} do not fit",
            toc.symbols, toc.series, toc.postings_table
        );
        Err(self.corrupt(Corruption::at("index toc", toc_offset, what)))
    }

    /// The bytes of the two ranges one after the other, in pieces. What the tail holds is not read again.
    fn pieces(&self, ranges: [Range<u64>; 2]) -> impl Stream<Item = Result<Bytes>> + Unpin + '_ {
        let tail_start = self.size_bytes.saturating_sub(self.tail.len() as u64);
        let parts: Vec<_> = ranges
            .into_iter()
            .flat_map(|range| parts(range, tail_start))
            .collect();
        let read = move |part: Range<u64>| async move {
            if part.start >= tail_start {
                return Ok(self.tail_slice(part.start - tail_start..part.end.saturating_sub(tail_start)));
            }
            let length = part.end.saturating_sub(part.start);
            let bytes = self.bucket.get_range_exact(&self.key, part.start, length).await;
            bytes.map_err(|error| BlockError::new(self.block, INDEX_FILE, error))
        };
        Box::pin(stream::iter(parts).map(read).buffered(PARALLEL_PARTS))
    }

    fn tail_slice(&self, range: Range<u64>) -> Bytes {
        let bound = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.tail.len());
        self.tail.slice(bound(range.start)..bound(range.end))
    }

    fn corrupt(&self, corruption: Corruption) -> BlockError {
        BlockError::new(self.block, INDEX_FILE, corruption)
    }
}

/// Cuts a range into reads: none crosses `tail_start`, and none before it is longer than a part.
fn parts(range: Range<u64>, tail_start: u64) -> Vec<Range<u64>> {
    let read_end = range.end.min(tail_start);
    let mut parts = Vec::new();
    let mut start = range.start;
    while start < read_end {
        let end = start.saturating_add(PART_BYTES).min(read_end);
        parts.push(start..end);
        start = end;
    }
    if start < range.end {
        parts.push(start..range.end);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_range_and_stop_at_the_tail() {
        let part = PART_BYTES;
        assert_eq!(parts(0..10, 100), vec![Range { start: 0, end: 10 }]);
        assert_eq!(parts(0..100, 50), [0..50, 50..100]);
        assert_eq!(parts(60..100, 50), vec![Range { start: 60, end: 100 }]);
        assert_eq!(parts(7..7, 50), Vec::<Range<u64>>::new());
        assert_eq!(
            parts(0..2 * part + 1, u64::MAX),
            [0..part, part..2 * part, 2 * part..2 * part + 1]
        );
    }
}
