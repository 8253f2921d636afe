//! Reads numbers and texts one after the other from a section of an index-header.

use std::{borrow::Cow, io};

use bytes::Bytes;
use sabre_tsdb::{Corruption, crc::Crc32c, encoding::MAX_UVARINT_BYTES};

use super::source::{Access, Source};

/// Why a read failed; whoever knows the block and the file makes a [`BlockError`](crate::BlockError) of it.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Corrupt(Corruption),
    /// So many bytes more are not free.
    NoMemory(u64),
}

/// A position in one section; no read leaves the section.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    source: &'a Source,
    access: Access,
    section: &'static str,
    position: u64,
    end: u64,
    window_start: u64,
    window: Bytes,
    /// What spans two windows is put together here.
    joined: Vec<u8>,
}

impl<'a> Cursor<'a> {
    /// Reads `start..end` of `source`, which must lie within it, and is called `section` in errors.
    pub(super) fn new(
        source: &'a Source,
        access: Access,
        section: &'static str,
        start: u64,
        end: u64,
    ) -> Self {
        let end = end.min(source.size_bytes());
        Self {
            source,
            access,
            section,
            position: start,
            end,
            window_start: 0,
            window: Bytes::new(),
            joined: Vec::new(),
        }
    }

    /// Offset in the file of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Number of bytes of the section not yet read.
    pub(super) fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// Goes to offset `position` of the file.
    pub(super) fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// An error of this section at the next byte.
    pub(super) fn corrupt(&self, what: impl Into<Cow<'static, str>>) -> Fault {
        corrupt_at(self.section, self.position, what)
    }

    /// Skips `n` bytes.
    pub(super) fn skip(&mut self, n: u64) -> Result<(), Fault> {
        if n > self.remaining() {
            return Err(self.short(n));
        }
        self.position = self.position.saturating_add(n);
        Ok(())
    }

    /// Takes the next `n` bytes.
    pub(super) fn take(&mut self, n: u64) -> Result<&[u8], Fault> {
        if n > self.remaining() {
            return Err(self.short(n));
        }
        let from = self.offset_in_window()?;
        let short = || Fault::Corrupt(Corruption::short(self.section, self.position, n, 0));
        let wanted = usize::try_from(n).map_err(|_| short())?;
        if self.window.len().saturating_sub(from) < wanted {
            self.join(wanted)?;
            return Ok(&self.joined);
        }
        self.position = self.position.saturating_add(n);
        Ok(self
            .window
            .get(from..from.saturating_add(wanted))
            .unwrap_or_default())
    }

    /// Reads a big-endian `u32`.
    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(u32::from_be_bytes(bytes))
    }

    /// Reads an unsigned LEB128 number of at most 64 bits.
    pub(super) fn uvarint(&mut self) -> Result<u64, Fault> {
        if self.remaining() >= MAX_UVARINT_BYTES as u64 {
            let from = self.offset_in_window()?;
            let bytes = self
                .window
                .get(from..)
                .and_then(<[u8]>::first_chunk::<MAX_UVARINT_BYTES>);
            if let Some((value, length)) = bytes.and_then(|bytes| uvarint_of(*bytes)) {
                self.position = self.position.saturating_add(length);
                return Ok(value);
            }
        }
        self.uvarint_bytewise()
    }

    /// Reads a length and takes that many bytes.
    pub(super) fn text_bytes(&mut self) -> Result<&[u8], Fault> {
        let length = self.text_length()?;
        self.take(length)
    }

    /// Reads a length and takes that many bytes, which must be UTF-8.
    pub(super) fn text(&mut self) -> Result<&str, Fault> {
        self.text_if(|_| true).map(Option::unwrap_or_default)
    }

    /// As [`Self::text`] if `admits` says so of the length; else the bytes are skipped.
    pub(super) fn text_if(&mut self, admits: impl FnOnce(u64) -> bool) -> Result<Option<&str>, Fault> {
        let (section, start) = (self.section, self.position);
        let length = self.text_length()?;
        if !admits(length) {
            self.skip(length)?;
            return Ok(None);
        }
        let bytes = self.take(length)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| corrupt_at(section, start, "text that is not utf-8"));
        text.map(Some)
    }

    /// Reads a length and skips that many bytes.
    pub(super) fn skip_text(&mut self) -> Result<(), Fault> {
        let length = self.text_length()?;
        self.skip(length)
    }

    /// Computes the CRC32C of the next `n` bytes, reading them piece by piece.
    pub(super) fn crc32c(&mut self, n: u64) -> Result<u32, Fault> {
        if n > self.remaining() {
            return Err(self.short(n));
        }
        let mut crc = Crc32c::new();
        let mut left = n;
        while left > 0 {
            let from = self.offset_in_window()?;
            let available = self.window.get(from..).unwrap_or_default();
            let piece = available
                .get(..usize::try_from(left).unwrap_or(usize::MAX))
                .unwrap_or(available);
            crc.update(piece);
            left = left.saturating_sub(piece.len() as u64);
            self.position = self.position.saturating_add(piece.len() as u64);
        }
        Ok(crc.value())
    }

    /// As [`Cursor::uvarint`], at the end of a window or of the section, and for what is broken.
    fn uvarint_bytewise(&mut self) -> Result<u64, Fault> {
        let start = self.position;
        let mut bytes = [0; MAX_UVARINT_BYTES];
        for slot in &mut bytes {
            *slot = self.byte()?;
            if *slot < 0x80 {
                break;
            }
        }
        match uvarint_of(bytes) {
            Some((value, _)) => Ok(value),
            None => Err(corrupt_at(self.section, start, "uvarint of more than 64 bits")),
        }
    }

    fn text_length(&mut self) -> Result<u64, Fault> {
        let start = self.position;
        let length = self.uvarint()?;
        let left = self.remaining();
        if length > left {
            let what = format!("length {length} is beyond the {left} bytes left");
            return Err(corrupt_at(self.section, start, what));
        }
        Ok(length)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        if self.remaining() == 0 {
            return Err(self.short(1));
        }
        let from = self.offset_in_window()?;
        let byte = self.window.get(from).copied().ok_or_else(|| self.short(1))?;
        self.position = self.position.saturating_add(1);
        Ok(byte)
    }

    /// Where the next byte is in the window, which is read if it does not hold it: at least one byte is there.
    fn offset_in_window(&mut self) -> Result<usize, Fault> {
        if let Some(offset) = self.position.checked_sub(self.window_start)
            && let Ok(offset) = usize::try_from(offset)
            && offset < self.window.len()
        {
            return Ok(offset);
        }
        if self.remaining() == 0 {
            return Ok(self.window.len());
        }
        let (start, window) = self
            .source
            .window(self.position, self.access)
            .map_err(Fault::Io)?;
        let offset = self
            .position
            .checked_sub(start)
            .and_then(|offset| usize::try_from(offset).ok());
        match offset {
            Some(offset) if offset < window.len() => {
                (self.window_start, self.window) = (start, window);
                Ok(offset)
            }
            _ => Err(self.short(1)),
        }
    }

    /// Puts the next `wanted` bytes, which the section has, together from several windows.
    fn join(&mut self, wanted: usize) -> Result<(), Fault> {
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        while joined.len() < wanted {
            let from = self.offset_in_window()?;
            let available = self.window.get(from..).unwrap_or_default();
            let piece = available
                .get(..wanted.saturating_sub(joined.len()))
                .unwrap_or(available);
            joined.extend_from_slice(piece);
            self.position = self.position.saturating_add(piece.len() as u64);
        }
        self.joined = joined;
        Ok(())
    }

    #[cold]
    fn short(&self, needed: u64) -> Fault {
        Fault::Corrupt(Corruption::short(
            self.section,
            self.position,
            needed,
            self.remaining(),
        ))
    }
}

/// The number that `bytes` begin with, and its length; `None` if it has more than 64 bits.
fn uvarint_of(bytes: [u8; MAX_UVARINT_BYTES]) -> Option<(u64, u64)> {
    let mut value = 0u64;
    let mut length = 0;
    for byte in bytes {
        if length == MAX_UVARINT_BYTES as u64 - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * length);
        length += 1;
        if byte < 0x80 {
            return Some((value, length));
        }
    }
    None
}

/// An error of `section` at offset `position` of the file.
pub(super) fn corrupt_at(section: &'static str, position: u64, what: impl Into<Cow<'static, str>>) -> Fault {
    Fault::Corrupt(Corruption::at(section, position, what))
}

impl From<Corruption> for Fault {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use sabre_tsdb::encoding::{put_uvarint, put_uvarint_bytes};

    use super::*;
    use crate::index_header::page_cache::{PAGE_BYTES, PageCache};

    fn sources(bytes: &[u8]) -> [Source; 2] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let pages = PageCache::new(1 << 20).file();
        [
            Source::Memory(Bytes::copy_from_slice(bytes)),
            Source::File {
                file,
                size_bytes: bytes.len() as u64,
                pages,
            },
        ]
    }

    #[test]
    fn what_spans_pages_is_put_together() {
        let text = vec![b'x'; PAGE_BYTES as usize * 2];
        let mut bytes = vec![0; PAGE_BYTES as usize - 2];
        put_uvarint_bytes(&mut bytes, &text);
        put_uvarint(&mut bytes, u64::MAX);
        for source in sources(&bytes) {
            for access in [Access::Random, Access::Scan] {
                let mut cursor = Cursor::new(&source, access, "test", PAGE_BYTES - 2, bytes.len() as u64);
                assert_eq!(cursor.text().unwrap().len(), text.len());
                assert_eq!(cursor.uvarint().unwrap(), u64::MAX);
                assert_eq!(cursor.remaining(), 0);
                cursor.seek(PAGE_BYTES - 2);
                cursor.skip_text().unwrap();
                assert_eq!(cursor.uvarint().unwrap(), u64::MAX);
                cursor.seek(0);
                let crc = cursor.crc32c(bytes.len() as u64).unwrap();
                assert_eq!(crc, sabre_tsdb::crc32c(&bytes));
            }
        }
    }

    #[test]
    fn no_read_leaves_the_section() {
        for source in sources(&[5, b'a', b'b', b'c', b'd', b'e']) {
            let mut cursor = Cursor::new(&source, Access::Random, "test", 0, 5);
            let Err(Fault::Corrupt(error)) = cursor.text() else {
                panic!("must fail")
            };
            assert_eq!(
                error,
                Corruption::at("test", 0, "length 5 is beyond the 4 bytes left")
            );
            cursor.seek(3);
            assert!(cursor.u32().is_err());
            assert!(cursor.skip(3).is_err());
            assert!(cursor.crc32c(3).is_err());
            assert!(cursor.skip(2).is_ok());
            assert!(cursor.uvarint().is_err());
            assert!(cursor.take(0).unwrap().is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let source = Source::Memory(Bytes::from(bytes.clone()));
            let mut cursor = Cursor::new(&source, Access::Random, "test", 0, bytes.len() as u64);
            while cursor.remaining() > 0 {
                let before = cursor.position();
                if cursor.text_bytes().is_err() {
                    break;
                }
                prop_assert!(cursor.position() > before);
            }
        }
    }
}
