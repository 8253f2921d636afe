//! The postings offset table: which postings list belongs to a label name and value.

use std::iter::FusedIterator;

use crate::encoding::{Decoder, put_uvarint, put_uvarint_bytes};
use crate::error::Corruption;

use super::frame;

#[cfg(test)]
mod tests;

pub(super) const SECTION: &str = "index postings offset table";

/// Every entry starts with the number of its texts.
const TEXTS: u64 = 2;
/// The least an entry takes: number of texts, two empty texts, one byte of offset.
const MIN_ENTRY_BYTES: usize = 4;

/// Reads the entries of the table one after the other; after an error it ends.
///
/// In version 2 they are sorted by name and value, the list of all series (`""`, `""`) first; in version 1 they
/// are in no order.
#[derive(Debug, Clone)]
pub struct OffsetTable<'a> {
    decoder: Decoder<'a>,
    left: u32,
}

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry<'a> {
    /// Label name.
    pub name: &'a str,
    /// Label value.
    pub value: &'a str,
    /// Where the length of the postings list is in the index.
    pub list_offset: u64,
    /// Where the entry itself is: offset in the file, as given to [`OffsetTable::open`].
    pub position: u64,
}

impl<'a> OffsetTable<'a> {
    /// Verifies the checksum of the table that `bytes` start with; it lies at `file_offset`, from where the
    /// offsets of entries and errors count.
    pub fn open(bytes: &'a [u8], file_offset: u64) -> Result<Self, Corruption> {
        let (content, _) = frame::decode(SECTION, bytes, file_offset)?;
        let content_offset = file_offset.saturating_add(frame::LEN_BYTES as u64);
        let mut decoder = Decoder::at(SECTION, content_offset, content);
        let before = decoder.clone();
        let left = decoder.u32()?;
        if left as usize > decoder.remaining() / MIN_ENTRY_BYTES {
            let what = format!("{left} entries in {} bytes", decoder.remaining());
            return Err(before.corruption(what));
        }
        Ok(Self { decoder, left })
    }

    /// Number of entries not yet read.
    pub fn left(&self) -> u32 {
        self.left
    }

    fn read(&mut self) -> Result<Option<OffsetEntry<'a>>, Corruption> {
        if self.left > 0 {
            self.left -= 1;
            return decode_entry(&mut self.decoder).map(Some);
        }
        match self.decoder.is_empty() {
            true => Ok(None),
            false => Err(self.decoder.corruption("bytes behind the last entry")),
        }
    }
}

impl<'a> Iterator for OffsetTable<'a> {
    type Item = Result<OffsetEntry<'a>, Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.read().transpose();
        if let Some(Err(_)) = result {
            self.left = 0;
            self.decoder = Decoder::new(SECTION, &[]);
        }
        result
    }
}

impl FusedIterator for OffsetTable<'_> {}

/// Reads the entry at the position of `decoder`.
pub(super) fn decode_entry<'a>(decoder: &mut Decoder<'a>) -> Result<OffsetEntry<'a>, Corruption> {
    let start = decoder.clone();
    let texts = decoder.uvarint()?;
    if texts != TEXTS {
        return Err(start.corruption(format!("an entry of {texts} texts instead of {TEXTS}")));
    }
    Ok(OffsetEntry {
        name: decoder.uvarint_str()?,
        value: decoder.uvarint_str()?,
        list_offset: decoder.uvarint()?,
        position: start.offset(),
    })
}

/// Writes an entry.
pub(super) fn encode_entry(name: &str, value: &str, list_offset: u64, out: &mut Vec<u8>) {
    put_uvarint(out, TEXTS);
    put_uvarint_bytes(out, name.as_bytes());
    put_uvarint_bytes(out, value.as_bytes());
    put_uvarint(out, list_offset);
}
