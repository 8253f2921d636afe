//! Fixed and variable width integers: a reader with a position, and writers into a `Vec<u8>`.
//!
//! `uvarint` is unsigned LEB128 of at most ten bytes, `varint` the same of the zig-zag mapped value; fixed
//! widths are big-endian.

use crate::error::Corruption;

/// The most bytes a `uvarint` of 64 bits takes.
pub const MAX_UVARINT_BYTES: usize = 10;

/// Reads values one after the other from a slice; every error names the section and the offset.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    section: &'static str,
    /// Offset of `data` in the file that errors speak of.
    base: u64,
    data: &'a [u8],
    position: usize,
}

impl<'a> Decoder<'a> {
    /// Reads `data`, which is the whole `section`; error offsets count from its start.
    pub fn new(section: &'static str, data: &'a [u8]) -> Self {
        Self::at(section, 0, data)
    }

    /// Reads `data`, which lies at offset `base` of the file; error offsets count from the start of the file.
    pub fn at(section: &'static str, base: u64, data: &'a [u8]) -> Self {
        Self {
            section,
            base,
            data,
            position: 0,
        }
    }

    /// Number of bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Offset in the file of the next byte.
    pub fn offset(&self) -> u64 {
        self.base.saturating_add(self.position as u64)
    }

    /// Number of bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.position)
    }

    /// Whether all bytes have been read.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes not yet read; the position stays.
    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.position..).unwrap_or_default()
    }

    /// An error of this section at the next byte.
    pub fn corruption(&self, what: impl Into<std::borrow::Cow<'static, str>>) -> Corruption {
        Corruption::at(self.section, self.offset(), what)
    }

    /// Takes the next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Corruption> {
        match self.rest().get(..n) {
            Some(bytes) => {
                self.position = self.position.saturating_add(n);
                Ok(bytes)
            }
            None => Err(self.short(n)),
        }
    }

    /// Skips the next `n` bytes.
    pub fn skip(&mut self, n: usize) -> Result<(), Corruption> {
        self.take(n).map(|_| ())
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> Result<u8, Corruption> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a big-endian `u16`.
    pub fn u16(&mut self) -> Result<u16, Corruption> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a big-endian `u32`.
    pub fn u32(&mut self) -> Result<u32, Corruption> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a big-endian `u64`.
    pub fn u64(&mut self) -> Result<u64, Corruption> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads an unsigned LEB128 number; more than 64 bits of it are an error.
    pub fn uvarint(&mut self) -> Result<u64, Corruption> {
        let rest = self.rest();
        let mut value = 0u64;
        for (i, &byte) in rest.iter().take(MAX_UVARINT_BYTES).enumerate() {
            if i == MAX_UVARINT_BYTES - 1 && byte > 1 {
                return Err(self.corruption("uvarint of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.position = self.position.saturating_add(i + 1);
                return Ok(value);
            }
        }
        Err(self.corruption(format!("uvarint without an end in the {} bytes left", rest.len())))
    }

    /// Reads a zig-zag mapped LEB128 number.
    pub fn varint(&mut self) -> Result<i64, Corruption> {
        self.uvarint().map(unzigzag)
    }

    /// Reads a `uvarint` that must fit 32 bits.
    pub fn uvarint32(&mut self) -> Result<u32, Corruption> {
        let start = self.clone();
        let value = self.uvarint()?;
        u32::try_from(value).map_err(|_| start.corruption(format!("{value} does not fit 32 bits")))
    }

    /// Reads a `uvarint` length and takes that many bytes.
    pub fn uvarint_bytes(&mut self) -> Result<&'a [u8], Corruption> {
        let start = self.clone();
        let length = self.uvarint()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.remaining() => self.take(length),
            _ => Err(start.corruption(format!(
                "length {length} is beyond the {} bytes left",
                self.remaining()
            ))),
        }
    }

    /// Reads a `uvarint` length and takes that many bytes, which must be UTF-8.
    pub fn uvarint_str(&mut self) -> Result<&'a str, Corruption> {
        let start = self.clone();
        let bytes = self.uvarint_bytes()?;
        std::str::from_utf8(bytes).map_err(|_| start.corruption("text that is not utf-8"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        match self.rest().first_chunk::<N>() {
            Some(bytes) => {
                self.position = self.position.saturating_add(N);
                Ok(*bytes)
            }
            None => Err(self.short(N)),
        }
    }

    #[cold]
    fn short(&self, needed: usize) -> Corruption {
        Corruption::short(
            self.section,
            self.offset(),
            needed as u64,
            self.remaining() as u64,
        )
    }
}

/// Writes `value` as LEB128.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes `value` zig-zag mapped as LEB128.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

/// Writes a big-endian `u16`.
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes a big-endian `u32`.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes a big-endian `u64`.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes `bytes` after their length as `uvarint`.
pub fn put_uvarint_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Number of bytes [`put_uvarint`] writes for `value`.
pub fn uvarint_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Maps a signed number to an unsigned one, small to small.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fixed_widths_are_big_endian() {
        let mut out = vec![9];
        put_u16(&mut out, 0x0102);
        put_u32(&mut out, 0x0304_0506);
        put_u64(&mut out, 7);
        let mut decoder = Decoder::new("test", &out);
        assert_eq!(decoder.u8(), Ok(9));
        assert_eq!(decoder.u16(), Ok(0x0102));
        assert_eq!(decoder.u32(), Ok(0x0304_0506));
        assert_eq!(decoder.u64(), Ok(7));
        assert!(decoder.is_empty());
    }

    #[test]
    fn known_varints() {
        let mut out = Vec::new();
        put_varint(&mut out, 1000);
        put_uvarint(&mut out, 15000);
        assert_eq!(out, [0xd0, 0x0f, 0x98, 0x75]);
    }

    #[test]
    fn errors_count_from_the_start_of_the_file() {
        let mut decoder = Decoder::at("index toc", 52, &[1, 2, 3]);
        decoder.u8().unwrap();
        let error = decoder.u32().unwrap_err();
        assert_eq!(error, Corruption::short("index toc", 53, 4, 2));
        assert_eq!(decoder.remaining(), 2, "a failed read consumes nothing");
    }

    #[test]
    fn a_uvarint_of_65_bits_is_refused() {
        let mut ten = [0xff; 10];
        ten[9] = 1;
        assert_eq!(Decoder::new("test", &ten).uvarint(), Ok(u64::MAX));
        ten[9] = 2;
        assert!(Decoder::new("test", &ten).uvarint().is_err());
        assert!(
            Decoder::new("test", &[0x80; 12]).uvarint().is_err(),
            "eleven bytes"
        );
        assert!(Decoder::new("test", &[0x80; 3]).uvarint().is_err(), "no end");
        assert!(Decoder::new("test", &[]).uvarint().is_err());
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_at_the_length() {
        let mut out = Vec::new();
        put_uvarint(&mut out, u64::MAX);
        let error = Decoder::at("test", 5, &out).uvarint_bytes().unwrap_err();
        assert_eq!(error.offset, 5);
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(Decoder::new("test", &[2, 0xc3, 0xa9]).uvarint_str(), Ok("é"));
        assert!(Decoder::new("test", &[1, 0xc3]).uvarint_str().is_err());
    }

    proptest! {
        #[test]
        fn varints_round_trip(unsigned: u64, shift in 0u32..64, signed: i64) {
            let unsigned = unsigned >> shift;
            let signed = signed >> shift;
            let mut out = Vec::new();
            put_uvarint(&mut out, unsigned);
            prop_assert_eq!(out.len(), uvarint_len(unsigned));
            put_varint(&mut out, signed);
            put_uvarint_bytes(&mut out, b"abc");
            let mut decoder = Decoder::new("test", &out);
            prop_assert_eq!(decoder.uvarint(), Ok(unsigned));
            prop_assert_eq!(decoder.varint(), Ok(signed));
            prop_assert_eq!(decoder.uvarint_bytes(), Ok(&b"abc"[..]));
            prop_assert!(decoder.is_empty());
        }
    }
}
