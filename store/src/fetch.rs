//! Fetches the chunks of a merged batch: as few reads as it takes, all of them at once.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sabre_runtime::budget::Reservation;

use crate::{
    block::ServedBlock,
    error::RequestError,
    limits::{Fetching, RequestLimits},
    merged::MergedBatch,
    partition::{GAP_BYTES, PART_BYTES, partition},
    picks::Pick,
    ranges,
    stats::RequestStats,
};

/// How many reads of one batch run at once.
const PARALLEL_READS: usize = 16;

/// A merged batch with the bytes of its chunks.
#[derive(Debug, Default)]
pub(crate) struct FetchedBatch {
    merged: MergedBatch,
    parts: Vec<Bytes>,
    /// By pick: which part, and where in it the record begins.
    places: Vec<Place>,
    /// Records that were read again by themselves, by pick: longer ones than the index made believe, and those that a
    /// cache had wrong.
    whole: Vec<(usize, Bytes)>,
    /// Of the request; none if no chunks are asked for.
    stats: Option<Arc<RequestStats>>,
}

/// Where the bytes of a chunk are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    part: u32,
    offset: u32,
}

/// A read to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    stream: u32,
    segment: u32,
    start: u64,
    end: u64,
}

/// Fetches all chunks of `merged`, whose streams are those of `blocks`.
pub(crate) async fn fetch(
    blocks: &[Arc<ServedBlock>],
    limits: &RequestLimits,
    stats: &Arc<RequestStats>,
    merged: MergedBatch,
) -> Result<FetchedBatch, RequestError> {
    let (reads, places) = plan(&merged);
    let bytes = reads.iter().map(|read| read.end.saturating_sub(read.start)).sum();
    limits.bytes(Fetching::Chunks, bytes)?;
    let requests = reads.len();
    let reads = stream::iter(reads)
        .map(|read| async move {
            let Some(block) = blocks.get(read.stream as usize) else {
                return Ok(Bytes::new());
            };
            block.read_segment(read.segment, read.start, read.end).await
        })
        .buffered(PARALLEL_READS)
        .try_collect();
    let parts: Vec<Bytes> = stats
        .chunks
        .timed(requests, reads)
        .await
        .map_err(RequestError::Block)?;
    let read_bytes = parts.iter().map(|part| part.len() as u64).sum();
    stats.chunks.fetch(merged.picks().len() as u64, read_bytes);
    Ok(FetchedBatch {
        merged,
        parts,
        places,
        whole: Vec::new(),
        stats: Some(Arc::clone(stats)),
    })
}

/// The reads for a batch, and where in them each chunk lies.
fn plan(merged: &MergedBatch) -> (Vec<Read>, Vec<Place>) {
    let picks = merged.picks();
    let mut by_stream: Vec<Vec<u32>> = Vec::new();
    for (at, pick) in (0u32..).zip(picks) {
        let stream = pick.stream as usize;
        if by_stream.len() <= stream {
            by_stream.resize_with(stream + 1, Vec::new);
        }
        if let Some(members) = by_stream.get_mut(stream) {
            members.push(at);
        }
    }
    let pick_of = |at: &u32| picks.get(*at as usize).map(|merged| merged.pick);
    let mut reads = Vec::new();
    let mut places = vec![Place::default(); picks.len()];
    for (stream, mut members) in (0u32..).zip(by_stream) {
        let order = |at: &u32| pick_of(at).map(|pick| pick.chunk_ref);
        if !members.is_sorted_by_key(order) {
            members.sort_by_key(order);
        }
        let segment_of = |at: &u32| pick_of(at).map(|pick| ranges::segment(pick.chunk_ref));
        for members in members.chunk_by(|a, b| segment_of(a) == segment_of(b)) {
            let Some(segment) = members.first().and_then(segment_of) else {
                continue;
            };
            let spans = members.iter().filter_map(pick_of).map(|pick| span(&pick));
            for part in partition(spans, GAP_BYTES, PART_BYTES) {
                let number = u32::try_from(reads.len()).unwrap_or(u32::MAX);
                for at in members.get(part.members.clone()).unwrap_or_default() {
                    let Some(pick) = pick_of(at) else { continue };
                    let offset = ranges::offset(pick.chunk_ref).saturating_sub(part.start);
                    if let Some(place) = places.get_mut(*at as usize) {
                        *place = Place {
                            part: number,
                            offset: u32::try_from(offset).unwrap_or(u32::MAX),
                        };
                    }
                }
                reads.push(Read {
                    stream,
                    segment,
                    start: part.start,
                    end: part.end,
                });
            }
        }
    }
    (reads, places)
}

fn span(pick: &Pick) -> (u64, u64) {
    let start = ranges::offset(pick.chunk_ref);
    (start, start.saturating_add(u64::from(pick.len_bytes)))
}

impl FetchedBatch {
    /// A batch of series without chunks.
    pub(crate) fn without_chunks(merged: MergedBatch) -> Self {
        Self {
            merged,
            parts: Vec::new(),
            places: Vec::new(),
            whole: Vec::new(),
            stats: None,
        }
    }

    /// The series.
    pub(crate) fn merged(&self) -> &MergedBatch {
        &self.merged
    }

    /// The bytes from the start of a chunk's record on.
    pub(crate) fn record_bytes(&self, pick: usize) -> &[u8] {
        if let Some((_, whole)) = self.whole.iter().find(|(other, _)| *other == pick) {
            return whole;
        }
        let place = self.places.get(pick).copied().unwrap_or_default();
        let part = self.parts.get(place.part as usize);
        part.and_then(|part| part.get(place.offset as usize..))
            .unwrap_or_default()
    }

    /// Notes that so many records of these bytes together were used.
    pub(crate) fn touch(&self, chunks: u64, bytes: u64) {
        if let Some(stats) = &self.stats {
            stats.chunks.touch(chunks, bytes);
        }
    }

    /// Whether a record was read again, from no cache.
    pub(crate) fn is_reread(&self, pick: usize) -> bool {
        self.whole.iter().any(|(other, _)| *other == pick)
    }

    /// Reads a record again, from no cache: so many bytes, or what was asked for the first time if it is not known how
    /// many there are.
    pub(crate) async fn reread(
        &mut self,
        blocks: &[Arc<ServedBlock>],
        limits: &RequestLimits,
        pick: usize,
        bytes: Option<(u64, Reservation)>,
    ) -> Result<(), RequestError> {
        let Some(merged) = self.merged.picks().get(pick).copied() else {
            return Ok(());
        };
        let Some(block) = blocks.get(merged.stream as usize) else {
            return Ok(());
        };
        let needed = bytes.as_ref().map(|(bytes, _)| *bytes);
        let asked = needed.unwrap_or(u64::from(merged.pick.len_bytes));
        limits.bytes(Fetching::Chunks, asked)?;
        let start = ranges::offset(merged.pick.chunk_ref);
        let segment = ranges::segment(merged.pick.chunk_ref);
        let read = block.reread_segment(segment, start, start.saturating_add(asked));
        let read = match &self.stats {
            Some(stats) => stats.chunks.timed(1, read).await,
            None => read.await,
        };
        let whole = read.map_err(RequestError::Block)?;
        if let Some(stats) = &self.stats {
            stats.chunks.fetch(1, whole.len() as u64);
        }
        // The length may have been the word of a cache: what came now says itself whether it is whole, unless it did
        // already.
        if self.is_reread(pick) && needed.is_some_and(|needed| (whole.len() as u64) < needed) {
            let short = sabre_tsdb::Corruption::short("chunk segment", start, asked, whole.len() as u64);
            return Err(RequestError::Block(block.segment_error(segment, short)));
        }
        let whole = match bytes {
            Some((_, room)) => room.attach(whole),
            None => whole,
        };
        self.whole.retain(|(other, _)| *other != pick);
        self.whole.push((pick, whole));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        merged::{MergeLimits, Merger},
        picks::SeriesBatch,
    };

    fn merged(streams: &[&[u64]]) -> MergedBatch {
        let mut merger = Merger::new(streams.len(), 0);
        for (stream, refs) in streams.iter().enumerate() {
            let picks: Vec<Pick> = refs
                .iter()
                .map(|&chunk_ref| Pick {
                    mint_ms: 0,
                    maxt_ms: 0,
                    chunk_ref,
                    len_bytes: 100,
                })
                .collect();
            let mut batch = SeriesBatch::default();
            batch.push(b"a", &picks);
            merger.supply(stream, Some(batch));
        }
        let mut out = MergedBatch::default();
        let all = MergeLimits {
            series: 10,
            fetch_bytes: u64::MAX,
            memory_bytes: usize::MAX,
            steps: usize::MAX,
        };
        while let crate::merged::Stop::Need(stream) = merger.fill(&mut out, all) {
            merger.supply(stream, None);
        }
        out
    }

    #[test]
    fn chunks_of_a_segment_are_read_together_whatever_their_order() {
        let batch = merged(&[&[8, 108, 1 << 32 | 8], &[500, 8]]);
        let (reads, places) = plan(&batch);
        let read = |stream, segment, start, end| Read {
            stream,
            segment,
            start,
            end,
        };
        assert_eq!(
            reads,
            [read(0, 0, 8, 208), read(0, 1, 8, 108), read(1, 0, 8, 600)]
        );
        for (pick, place) in batch.picks().iter().zip(places) {
            let read = reads[place.part as usize];
            assert_eq!(read.stream, pick.stream);
            assert_eq!(
                read.start + u64::from(place.offset),
                ranges::offset(pick.pick.chunk_ref)
            );
        }
    }

    #[test]
    fn far_chunks_are_read_apart() {
        let (reads, _) = plan(&merged(&[&[8, 8 + GAP_BYTES * 2]]));
        assert_eq!(reads.len(), 2);
    }
}
