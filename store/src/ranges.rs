//! How many bytes of a segment file a chunk takes, as far as the index tells.

/// Most bytes a chunk is believed to take when only the distance to the next one speaks for it: beyond this the next
/// one is taken to lie elsewhere, behind a gap.
const MAX_DISTANCE_BYTES: u64 = 256 << 10;

/// A record is at least: one byte of length, one of encoding, four of checksum.
const MIN_RECORD_BYTES: u64 = 6;

/// What is asked for when the index does not tell.
pub(crate) const DEFAULT_CHUNK_BYTES: u32 = 16_000;

/// Which segment a chunk reference points into.
pub(crate) fn segment(chunk_ref: u64) -> u32 {
    u32::try_from(chunk_ref >> 32).unwrap_or(u32::MAX)
}

/// Where in its segment file the record begins.
pub(crate) fn offset(chunk_ref: u64) -> u64 {
    chunk_ref & u64::from(u32::MAX)
}

/// Bytes of the record at `chunk_ref` if the next record of the segment, that at `next_ref`, follows it directly.
///
/// Segments are written in the order of the index, so the distance to the next chunk of the series, or to the first
/// one of the next series, is the length. `None` when the next one lies in another segment, before this one, or too
/// far behind it.
pub(crate) fn exact_bytes(chunk_ref: u64, next_ref: Option<u64>) -> Option<u32> {
    let next_ref = next_ref.filter(|&next| segment(next) == segment(chunk_ref))?;
    let distance = offset(next_ref).checked_sub(offset(chunk_ref))?;
    if !(MIN_RECORD_BYTES..=MAX_DISTANCE_BYTES).contains(&distance) {
        return None;
    }
    u32::try_from(distance).ok()
}

/// Bytes to ask for when [`exact_bytes`] has no answer: the block's own maximum, if it is known.
pub(crate) fn estimated_bytes(chunk_max_bytes: i64, default_bytes: u32) -> u32 {
    // The statistics count what lies between two references of a series; nothing says that the last one is smaller.
    match u32::try_from(chunk_max_bytes) {
        Ok(max) if max > 0 => max.min(default_bytes.max(1)),
        _ => default_bytes.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u64, offset: u64) -> u64 {
        segment << 32 | offset
    }

    #[test]
    fn the_distance_to_the_next_chunk_is_the_length() {
        assert_eq!(exact_bytes(at(1, 8), Some(at(1, 500))), Some(492));
        assert_eq!(segment(at(1, 8)), 1);
        assert_eq!(offset(at(1, 8)), 8);
    }

    #[test]
    fn another_segment_or_an_earlier_or_far_chunk_tells_nothing() {
        assert_eq!(exact_bytes(at(0, 8), None), None);
        assert_eq!(exact_bytes(at(0, 8), Some(at(1, 500))), None);
        assert_eq!(exact_bytes(at(0, 500), Some(at(0, 8))), None);
        assert_eq!(exact_bytes(at(0, 8), Some(at(0, 8))), None);
        assert_eq!(exact_bytes(at(0, 8), Some(at(0, 13))), None);
        assert_eq!(exact_bytes(at(0, 8), Some(at(0, 9 + MAX_DISTANCE_BYTES))), None);
    }

    #[test]
    fn the_statistics_of_the_block_beat_the_default() {
        assert_eq!(estimated_bytes(0, DEFAULT_CHUNK_BYTES), DEFAULT_CHUNK_BYTES);
        assert_eq!(estimated_bytes(-1, DEFAULT_CHUNK_BYTES), DEFAULT_CHUNK_BYTES);
        assert_eq!(estimated_bytes(700, DEFAULT_CHUNK_BYTES), 700);
        assert_eq!(estimated_bytes(1 << 40, 1000), 1000);
    }
}
