//! Writing bits through a 64-bit accumulator.

use crate::encoding::{put_uvarint, zigzag};

/// Writes a bit stream, most significant bit first, behind bytes that are there already.
#[derive(Debug, Clone)]
pub struct BitWriter {
    out: Vec<u8>,
    /// The bits that do not fill a word yet, the first of them on top.
    pending: u64,
    /// How many they are, at most 63.
    used: u32,
}

impl BitWriter {
    /// Goes on behind `out`.
    pub fn new(out: Vec<u8>) -> Self {
        Self {
            out,
            pending: 0,
            used: 0,
        }
    }

    /// Writes the `width` low bits of `value`, 1 to 64; the bits above must be zero.
    #[inline(always)]
    pub fn write(&mut self, value: u64, width: u32) {
        debug_assert!((1..=64).contains(&width) && (width == 64 || value >> width == 0));
        let room = 64 - self.used;
        if width < room {
            self.pending |= value << (room - width);
            self.used += width;
            return;
        }
        let rest = width - room;
        let word = self.pending | value >> rest;
        self.out.extend_from_slice(&word.to_be_bytes());
        // Shifted in two steps: a shift by 64 is not defined.
        self.pending = (value << (63 - rest)) << 1;
        self.used = rest;
    }

    /// Writes one bit.
    #[inline(always)]
    pub fn bit(&mut self, set: bool) {
        self.write(u64::from(set), 1);
    }

    /// Writes `value` as LEB128, its bytes aligned or not.
    pub fn uvarint(&mut self, value: u64) {
        let mut bytes = Vec::with_capacity(10);
        put_uvarint(&mut bytes, value);
        for byte in bytes {
            self.write(u64::from(byte), 8);
        }
    }

    /// Writes `value` zig-zag mapped as LEB128, its bytes aligned or not.
    pub fn varint(&mut self, value: i64) {
        self.uvarint(zigzag(value));
    }

    /// Number of bytes the stream would have if it ended here.
    pub fn len_bytes(&self) -> usize {
        self.out.len() + self.used.div_ceil(8) as usize
    }

    /// Fills the last byte with zeros and returns all bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let last = self.used.div_ceil(8) as usize;
        self.out.extend(self.pending.to_be_bytes().into_iter().take(last));
        self.out
    }
}
