//! Where a chunk is.

use std::fmt;

/// The place of a chunk in a block: the segment, counted from 0 in the order of the file names, in the upper
/// half, and the offset of its length field in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkRef(pub u64);

impl ChunkRef {
    /// The place `offset` in `segment`; segment 0 is the file `000001`.
    pub fn new(segment: u32, offset: u32) -> Self {
        Self(u64::from(segment) << 32 | u64::from(offset))
    }

    /// Index of the segment.
    pub fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Offset of the chunk's length field in the segment file.
    pub fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl From<u64> for ChunkRef {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<ChunkRef> for u64 {
    fn from(chunk_ref: ChunkRef) -> Self {
        chunk_ref.0
    }
}

impl fmt::Display for ChunkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} offset {}", self.segment(), self.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_half_is_the_segment() {
        let chunk_ref = ChunkRef::new(2, 8);
        assert_eq!(u64::from(chunk_ref), 0x2_0000_0008);
        assert_eq!((chunk_ref.segment(), chunk_ref.offset()), (2, 8));
        assert_eq!(ChunkRef::from(u64::MAX), ChunkRef::new(u32::MAX, u32::MAX));
        assert_eq!(chunk_ref.to_string(), "segment 2 offset 8");
    }
}
