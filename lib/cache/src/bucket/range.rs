//! Byte ranges of segments, piece by piece.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use sabre_objstore::{Bucket, Error, ErrorKind, ObjectMeta, Operation, RangeBody, Result};

use super::{CachingBucket, metrics::Origin};
use crate::remote::Hits;

/// Reads of one range that run at once.
const PARALLEL_READS: usize = 8;

/// The pieces that cover a range: each begins at a multiple of `piece_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pieces {
    start: u64,
    end: u64,
    piece_bytes: u64,
}

impl Pieces {
    /// Those that hold the bytes `start..end` of an object of `size` bytes.
    fn covering(start: u64, end: u64, size: u64, piece_bytes: u64) -> Self {
        Self {
            start: start - start % piece_bytes,
            end: end.next_multiple_of(piece_bytes).min(size),
            piece_bytes,
        }
    }

    fn iter(self) -> impl Iterator<Item = (u64, u64)> {
        let step = usize::try_from(self.piece_bytes).unwrap_or(usize::MAX);
        (self.start..self.end)
            .step_by(step)
            .map(move |start| (start, start.saturating_add(self.piece_bytes).min(self.end)))
    }
}

/// Joins neighbours, and then what is ever further apart, until there are few enough ranges; 0 is no limit.
fn merged(missing: &[(u64, u64)], most: usize, piece_bytes: u64) -> Vec<(u64, u64)> {
    let mut ranges = joined(missing, 0);
    let mut gap = piece_bytes.max(1);
    while most > 0 && ranges.len() > most {
        ranges = joined(&ranges, gap);
        gap = gap.saturating_mul(2);
    }
    ranges
}

fn joined(ranges: &[(u64, u64)], gap: u64) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    for &(start, end) in ranges {
        match out.last_mut() {
            Some(last) if start.saturating_sub(last.1) <= gap => last.1 = end,
            _ => out.push((start, end)),
        }
    }
    out
}

impl CachingBucket {
    pub(super) async fn cached_range(&self, object: &str, offset: u64, len: u64) -> Result<RangeBody> {
        self.metrics.requested(Operation::GetRange);
        self.metrics.requested_bytes(len);
        let attributes = self.cached_attributes(object).await?;
        match self.range_of(object, offset, len, attributes.size_bytes).await? {
            Ok(body) => Ok(body),
            Err(true_size) => {
                // What the cache said of the size is not true: once more with what the bucket says.
                self.keep_attributes(&ObjectMeta {
                    size_bytes: true_size,
                    ..attributes
                });
                let again = self.range_of(object, offset, len, true_size).await?;
                again.map_err(|_| self.changing(object))
            }
        }
    }

    /// The range, if the object has `size` bytes; else how many it has.
    async fn range_of(
        &self,
        object: &str,
        offset: u64,
        len: u64,
        size: u64,
    ) -> Result<std::result::Result<RangeBody, u64>> {
        if offset >= size {
            let body = self.inner.get_range(object, offset, len).await?;
            let true_size = body.object_size_bytes;
            return Ok(if true_size == size {
                Ok(body)
            } else {
                Err(true_size)
            });
        }
        let end = offset.saturating_add(len).min(size);
        let pieces = Pieces::covering(offset, end, size, self.config.chunk_subrange_bytes);
        let key_of = |(start, end): (u64, u64)| format!("subrange:{object}:{start}:{end}");
        let keys: Vec<String> = pieces.iter().map(key_of).collect();
        let mut hits = self.cache.get_multi(&keys).await;
        for (key, (start, end)) in keys.iter().zip(pieces.iter()) {
            let is_whole = |value: &Bytes| value.len() as u64 == end - start;
            if !hits.get(key).is_none_or(is_whole) {
                hits.remove(key);
            }
        }
        let cached_bytes = hits.values().map(|value| value.len() as u64).sum();
        self.metrics.fetched_bytes(Origin::Cache, cached_bytes);
        let missing: Vec<(u64, u64)> = pieces
            .iter()
            .filter(|piece| !hits.contains_key(&key_of(*piece)))
            .collect();
        if missing.is_empty() {
            self.metrics.hit(Operation::GetRange);
        }
        let most = self.config.max_chunks_get_range_requests;
        let reads = merged(&missing, most, self.config.chunk_subrange_bytes);
        let fetched: Vec<(u64, RangeBody)> = stream::iter(reads)
            .map(|(start, end)| async move {
                let body = self.inner.get_range(object, start, end - start).await?;
                Ok::<_, Error>((start, body))
            })
            .buffered(PARALLEL_READS)
            .try_collect()
            .await?;
        if let Some((_, body)) = fetched.iter().find(|(_, body)| body.object_size_bytes != size) {
            return Ok(Err(body.object_size_bytes));
        }
        self.keep_pieces(&fetched, &hits, pieces, &key_of);
        let bytes = assemble(&fetched, &hits, pieces, &key_of, (offset, end));
        let bytes = bytes.ok_or_else(|| self.changing(object))?;
        Ok(Ok(RangeBody {
            bytes,
            object_size_bytes: size,
        }))
    }

    fn keep_pieces(
        &self,
        fetched: &[(u64, RangeBody)],
        hits: &Hits,
        pieces: Pieces,
        key_of: &impl Fn((u64, u64)) -> String,
    ) {
        for piece in pieces.iter() {
            let Some(bytes) = piece_of(fetched, piece) else {
                continue;
            };
            let key = key_of(piece);
            if hits.contains_key(&key) {
                self.metrics.refetched_bytes(bytes.len() as u64);
                continue;
            }
            self.metrics.fetched_bytes(Origin::Bucket, bytes.len() as u64);
            self.cache.set_later(key, bytes, self.config.chunk_subrange_ttl);
        }
    }

    fn changing(&self, object: &str) -> Error {
        let what = "the object changes while it is read";
        Error::new(
            ErrorKind::Truncated,
            Operation::GetRange,
            &self.name,
            object,
            what,
        )
    }
}

/// A piece as far as it was read from the bucket.
fn piece_of(fetched: &[(u64, RangeBody)], (start, end): (u64, u64)) -> Option<Bytes> {
    let at = fetched
        .partition_point(|(from, _)| *from <= start)
        .checked_sub(1)?;
    let (from, body) = fetched.get(at)?;
    let first = usize::try_from(start - from).ok()?;
    let last = usize::try_from(end - from).ok()?;
    (last <= body.bytes.len()).then(|| body.bytes.slice(first..last))
}

fn assemble(
    fetched: &[(u64, RangeBody)],
    hits: &Hits,
    pieces: Pieces,
    key_of: &impl Fn((u64, u64)) -> String,
    (start, end): (u64, u64),
) -> Option<Bytes> {
    // What one read brought need not be copied.
    if let Some(whole) = piece_of(fetched, (start, end)) {
        return Some(whole);
    }
    let mut out = BytesMut::with_capacity(usize::try_from(end - start).ok()?);
    for (from, to) in pieces.iter() {
        let piece = piece_of(fetched, (from, to)).or_else(|| hits.get(&key_of((from, to))).cloned())?;
        let first = usize::try_from(start.saturating_sub(from)).ok()?;
        let last = usize::try_from(end.min(to) - from).ok()?;
        out.extend_from_slice(piece.get(first..last)?);
    }
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_begin_at_multiples_and_end_with_the_object() {
        let pieces = |start, end| Pieces::covering(start, end, 95, 10).iter().collect::<Vec<_>>();
        assert_eq!(pieces(0, 10), [(0, 10)]);
        assert_eq!(pieces(9, 11), [(0, 10), (10, 20)]);
        assert_eq!(pieces(85, 95), [(80, 90), (90, 95)]);
    }

    #[test]
    fn gaps_are_read_over_when_there_are_too_many() {
        let missing = [(0, 10), (10, 20), (40, 50), (80, 90), (200, 210)];
        assert_eq!(merged(&missing, 0, 10), [(0, 20), (40, 50), (80, 90), (200, 210)]);
        assert_eq!(
            merged(&missing, 3, 10),
            [(0, 50), (80, 90), (200, 210)][..].to_vec().as_slice()
        );
        assert_eq!(merged(&missing, 1, 10), [(0, 210)]);
        assert!(merged(&[], 1, 10).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_missing_is_always_read(
            mut starts in proptest::collection::btree_set(0u64..100, 0..20), most in 0usize..5,
        ) {
            let missing: Vec<(u64, u64)> = std::mem::take(&mut starts).into_iter().map(|n| (n * 10, n * 10 + 10)).collect();
            let reads = merged(&missing, most, 10);
            prop_assert!(most == 0 || reads.len() <= most);
            for (start, end) in missing {
                prop_assert!(reads.iter().any(|read| read.0 <= start && end <= read.1));
            }
        }
    }
}
