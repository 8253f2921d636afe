//! The error of every decoder of this crate: what is broken, and where.

use std::borrow::Cow;

/// Bytes that are not what the format says.
///
/// The place is the part of the file and the byte offset in it; whoever knows the block and the file
/// (or the object key) adds them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corrupt {section} at offset {offset}: {what}")]
pub struct Corruption {
    /// The part of the format that was being read, such as `xor chunk` or `index series`.
    pub section: &'static str,
    /// Byte offset, counted from the start of what the caller handed to the decoder (the whole file, where
    /// the decoder was told the position of its slice in the file).
    pub offset: u64,
    /// What is wrong there.
    pub what: Cow<'static, str>,
}

impl Corruption {
    /// Says that `section` is broken at byte `offset`.
    pub fn at(section: &'static str, offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            section,
            offset,
            what: what.into(),
        }
    }

    /// Says that `needed` bytes were expected at `offset` of `section`, and only `available` are there.
    pub fn short(section: &'static str, offset: u64, needed: u64, available: u64) -> Self {
        Self::at(section, offset, format!("needs {needed} bytes, has {available}"))
    }

    /// Says that a stored CRC32C differs from that of the bytes it covers.
    pub fn crc(section: &'static str, offset: u64, stored: u32, computed: u32) -> Self {
        Self::at(
            section,
            offset,
            format!("crc32c mismatch: stored {stored:08x}, computed {computed:08x}"),
        )
    }

    /// Moves the offset by `base` bytes: for a decoder that saw a slice of a larger file.
    #[must_use]
    pub fn shifted(mut self, base: u64) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_section_offset_and_reason() {
        let error = Corruption::short("xor chunk", 2, 8, 3).shifted(100);
        assert_eq!(
            error.to_string(),
            "corrupt xor chunk at offset 102: needs 8 bytes, has 3"
        );
    }

    #[test]
    fn a_crc_error_shows_both_sums() {
        let error = Corruption::crc("index toc", 7, 0xab, 1);
        assert_eq!(
            error.to_string(),
            "corrupt index toc at offset 7: crc32c mismatch: stored 000000ab, computed 00000001"
        );
    }
}
