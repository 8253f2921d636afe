//! Reading bits: no state but a position.

use std::borrow::Cow;

use crate::encoding::{MAX_UVARINT_BYTES, unzigzag};
use crate::error::Corruption;

/// Number of bits [`BitReader::peek`] yields at any position.
pub(super) const PEEK_BITS: u32 = 57;

/// Reads a bit stream, most significant bit first.
///
/// Behind the end there are zeros for ever, so that the loops over samples need not ask before every bit:
/// whoever reads calls [`BitReader::check`] once per sample.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    section: &'static str,
    data: &'a [u8],
    /// In bits.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Reads `data`, beginning at byte `start`.
    pub fn new(section: &'static str, data: &'a [u8], start: usize) -> Self {
        Self {
            section,
            data,
            position: start.saturating_mul(8),
        }
    }

    /// Goes on where another reader of the same data was.
    pub fn resume(section: &'static str, data: &'a [u8], position: usize) -> Self {
        Self {
            section,
            data,
            position,
        }
    }

    /// Number of bits read, from the start of the data.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next 57 bits at least, the first of them on top.
    #[inline(always)]
    pub fn peek(&self) -> u64 {
        let byte = self.position >> 3;
        let word = match self.data.get(byte..byte + 8).map(<[u8; 8]>::try_from) {
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            _ => tail_word(self.data, byte),
        };
        word << (self.position & 7)
    }

    /// Moves on by `bits`.
    #[inline(always)]
    pub fn skip(&mut self, bits: u32) {
        self.position += bits as usize;
    }

    /// Reads `width` bits, 1 to 64.
    #[inline(always)]
    pub fn read(&mut self, width: u32) -> u64 {
        if width <= PEEK_BITS {
            return self.read_short(width);
        }
        let high = self.read_short(width - 32);
        high << 32 | self.read_short(32)
    }

    /// Reads one bit.
    #[inline(always)]
    pub fn bit(&mut self) -> bool {
        self.read_short(1) == 1
    }

    #[inline(always)]
    fn read_short(&mut self, width: u32) -> u64 {
        let bits = self.peek() >> (64 - width);
        self.skip(width);
        bits
    }

    /// Reads an unsigned LEB128 number, whose bytes need not be aligned.
    pub fn uvarint(&mut self) -> Result<u64, Corruption> {
        let mut value = 0;
        for i in 0..MAX_UVARINT_BYTES {
            let byte = self.read_short(8);
            if i == MAX_UVARINT_BYTES - 1 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.check()?;
                return Ok(value);
            }
        }
        Err(self.corruption("uvarint of more than 64 bits"))
    }

    /// Reads a zig-zag mapped LEB128 number, whose bytes need not be aligned.
    pub fn varint(&mut self) -> Result<i64, Corruption> {
        self.uvarint().map(unzigzag)
    }

    /// Number of bits not yet read.
    pub fn remaining(&self) -> usize {
        self.end().saturating_sub(self.position)
    }

    /// Fails if more was read than there is.
    #[inline(always)]
    pub fn check(&self) -> Result<(), Corruption> {
        if self.position > self.end() {
            Err(overrun(self.section, self.data.len()))
        } else {
            Ok(())
        }
    }

    /// An error at the present position.
    #[inline(always)]
    pub fn corruption(&self, what: impl Into<Cow<'static, str>>) -> Corruption {
        Corruption::at(self.section, (self.position >> 3) as u64, what)
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data.len().saturating_mul(8)
    }
}

#[cold]
#[inline(never)]
fn overrun(section: &'static str, length: usize) -> Corruption {
    Corruption::at(section, length as u64, "the data ends within a sample")
}

/// The up to seven bytes from `byte` on, zeros behind them.
#[inline(never)]
fn tail_word(data: &[u8], byte: usize) -> u64 {
    let missing = byte.saturating_add(8).saturating_sub(data.len());
    if missing >= 8 {
        return 0;
    }
    let last = match data.last_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => data.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    last << (8 * missing)
}
