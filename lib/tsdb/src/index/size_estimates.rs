//! How much of a file a reader should fetch for one series or one chunk, measured while a block is written.

use crate::meta::IndexStats;

use super::series::ChunkMeta;

/// Collects the two sizes of `index_stats` in `meta.json`, series by series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SizeEstimates {
    last_offset: Option<u64>,
    series_max_bytes: u64,
    chunk_max_bytes: u64,
}

impl SizeEstimates {
    /// Adds the next series of the index, which lies at `series_offset`.
    ///
    /// Sizes are distances to what follows. So the last series does not count; of chunks the last two of each
    /// series do not, nor does one that is the last of its segment.
    pub fn add_series(&mut self, series_offset: u64, chunks: &[ChunkMeta]) {
        if let Some(last_offset) = self.last_offset.replace(series_offset) {
            let distance = series_offset.saturating_sub(last_offset);
            self.series_max_bytes = self.series_max_bytes.max(distance);
        }
        for (chunk, next) in chunks.iter().zip(chunks.iter().skip(1)).rev().skip(1) {
            if segment(chunk) == segment(next) {
                let distance = offset(next).saturating_sub(offset(chunk));
                self.chunk_max_bytes = self.chunk_max_bytes.max(distance);
            }
        }
    }

    /// Bytes of the largest series entry with its padding; 0 where nothing is known.
    pub fn series_max_bytes(&self) -> u64 {
        self.series_max_bytes
    }

    /// Bytes of the largest chunk record; 0 where nothing is known.
    pub fn chunk_max_bytes(&self) -> u64 {
        self.chunk_max_bytes
    }

    /// The sizes as `meta.json` has them.
    pub fn to_index_stats(&self) -> IndexStats {
        IndexStats {
            series_max_size: i64::try_from(self.series_max_bytes).unwrap_or(i64::MAX),
            chunk_max_size: i64::try_from(self.chunk_max_bytes).unwrap_or(i64::MAX),
            ..IndexStats::default()
        }
    }
}

fn segment(chunk: &ChunkMeta) -> u64 {
    chunk.chunk_ref >> 32
}

fn offset(chunk: &ChunkMeta) -> u64 {
    chunk.chunk_ref & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(refs: &[u64]) -> Vec<ChunkMeta> {
        let chunk = |chunk_ref: &u64| ChunkMeta {
            chunk_ref: *chunk_ref,
            ..ChunkMeta::default()
        };
        refs.iter().map(chunk).collect()
    }

    fn chunk_max_of(refs: &[u64]) -> u64 {
        let mut estimates = SizeEstimates::default();
        estimates.add_series(16, &chunks(refs));
        estimates.chunk_max_bytes()
    }

    #[test]
    fn the_last_series_has_no_known_size() {
        let mut estimates = SizeEstimates::default();
        for (offset, expected) in [(48, 0), (64, 16), (128, 64), (144, 64)] {
            estimates.add_series(offset, &[]);
            assert_eq!(estimates.series_max_bytes(), expected);
        }
        assert_eq!(estimates.to_index_stats().series_max_size, 64);
    }

    #[test]
    fn the_last_two_chunks_of_a_series_do_not_count() {
        assert_eq!(chunk_max_of(&[]), 0);
        assert_eq!(chunk_max_of(&[8]), 0);
        assert_eq!(chunk_max_of(&[8, 100]), 0);
        assert_eq!(chunk_max_of(&[8, 100, 5000]), 92);
        assert_eq!(chunk_max_of(&[8, 100, 5000, 5001]), 4900);
    }

    #[test]
    fn a_distance_between_segments_does_not_count() {
        let next = 1 << 32;
        assert_eq!(chunk_max_of(&[8, next + 1000, next + 1010, next + 1020]), 10);
    }
}
