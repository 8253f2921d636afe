//! The index of a source, front to back: symbols, then series.

use std::ops::Range;

use sabre_block::{BlockError, layout::INDEX_FILE};
use sabre_tsdb::Corruption;
use sabre_tsdb::crc::Crc32c;
use sabre_tsdb::encoding::{Decoder, MAX_UVARINT_BYTES};
use sabre_tsdb::index::{HEADER_BYTES, SeriesEntry, SeriesError, TOC_BYTES, Toc, Version, series};

use super::windows::{Place, WindowReader, corrupt};

const SYMBOLS: &str = "index symbols";
const SERIES: &str = "index series";
/// The longest symbol that is believed.
const MAX_SYMBOL_BYTES: u64 = 64 << 20;

/// Where the parts of an index are.
#[derive(Debug, Clone)]
pub(crate) struct IndexHead {
    pub(crate) toc: Toc,
    pub(crate) size_bytes: u64,
}

/// Reads the symbols of an index one after the other.
#[derive(Debug)]
pub(crate) struct SymbolCursor {
    reader: WindowReader,
    head: IndexHead,
    version: Version,
    /// Where the next symbol is.
    offset: u64,
    /// Up to where the checksum has been computed.
    hashed_to: u64,
    crc: Crc32c,
    left: u32,
    /// Where the symbols must end.
    end: u64,
    symbol: String,
    symbol_offset: u64,
    number: u32,
}

/// Reads the series of an index one after the other.
#[derive(Debug)]
pub(crate) struct SeriesReader {
    reader: WindowReader,
    alignment: u64,
    offset: u64,
    end: u64,
}

impl IndexHead {
    /// Reads the table of contents, the last bytes of the index.
    pub(crate) fn parse(end: &[u8], size_bytes: u64) -> Result<Self, Corruption> {
        let toc_offset = size_bytes.saturating_sub(TOC_BYTES as u64);
        let toc_start = end.len().saturating_sub(TOC_BYTES);
        let toc = Toc::decode(end.get(toc_start..).unwrap_or_default())
            .and_then(|toc| toc.check(size_bytes).map(|()| toc))
            .map_err(|error| error.shifted(toc_offset))?;
        Ok(Self { toc, size_bytes })
    }

    /// What a merge reads of the index.
    pub(crate) fn needed(&self) -> Range<u64> {
        0..self.toc.series_end(self.size_bytes)
    }
}

fn alignment(version: Version) -> u64 {
    match version {
        Version::V1 => 1,
        Version::V2 => 16,
    }
}

/// Opens an index whose bytes are at hand in windows; `None` if it is too short to be one.
pub(crate) fn read_index(reader: WindowReader, index: &[u8]) -> Result<Option<SymbolCursor>, BlockError> {
    let block = reader.block();
    if index.len() < HEADER_BYTES + TOC_BYTES {
        return Ok(None);
    }
    let head = IndexHead::parse(index, index.len() as u64);
    let head = head.map_err(|error| corrupt(block, INDEX_FILE, error))?;
    SymbolCursor::open(reader, head).map(Some)
}

impl SymbolCursor {
    /// Reads the header of the index and the head of the section.
    pub(crate) fn open(mut reader: WindowReader, head: IndexHead) -> Result<Self, BlockError> {
        const HEAD_BYTES: u64 = 8;
        let block = reader.block();
        let start = head.toc.symbols;
        let fail = |corruption| corrupt(block, INDEX_FILE, corruption);
        if !reach(&mut reader, 0, HEADER_BYTES as u64)? {
            return Err(fail(Corruption::short("index header", 0, HEADER_BYTES as u64, 0)));
        }
        let header = reader.rest(0);
        let version = Version::decode(header.get(..HEADER_BYTES).unwrap_or(header)).map_err(fail)?;
        if !reach(&mut reader, start, HEAD_BYTES)? {
            return Err(fail(Corruption::short(SYMBOLS, start, HEAD_BYTES, 0)));
        }
        let bytes = reader.rest(start);
        let mut decoder = Decoder::at(SYMBOLS, start, bytes);
        let content_bytes = decoder.u32().map_err(fail)?;
        let left = decoder.u32().map_err(fail)?;
        let content_start = start.saturating_add(4);
        let end = content_start.saturating_add(u64::from(content_bytes));
        let section_end = end.saturating_add(4);
        if content_bytes < 4 || section_end > head.toc.series_end(head.size_bytes).max(head.toc.series) {
            let what = format!(
                "{content_bytes} bytes, and the series start at {}",
                head.toc.series
            );
            return Err(fail(Corruption::at(SYMBOLS, start, what)));
        }
        Ok(Self {
            reader,
            head,
            version,
            offset: content_start.saturating_add(4),
            hashed_to: content_start,
            crc: Crc32c::new(),
            left,
            end,
            symbol: String::new(),
            symbol_offset: 0,
            number: 0,
        })
    }

    /// Reads the next symbol; false behind the last, whose checksum has been verified then.
    pub(crate) fn advance(&mut self) -> Result<bool, BlockError> {
        if self.left == 0 {
            self.verify()?;
            return Ok(false);
        }
        let length_bytes = (self.end.saturating_sub(self.offset)).min(MAX_UVARINT_BYTES as u64);
        self.gather(length_bytes)?;
        let mut decoder = Decoder::at(SYMBOLS, self.offset, self.reader.rest(self.offset));
        let length = decoder.uvarint().map_err(|error| self.fail(error))?;
        let head_bytes = decoder.position() as u64;
        let total = head_bytes.saturating_add(length);
        if length > MAX_SYMBOL_BYTES || self.offset.saturating_add(total) > self.end {
            let what = format!("a symbol of {length} bytes, the section ends at {}", self.end);
            return Err(self.fail(Corruption::at(SYMBOLS, self.offset, what)));
        }
        self.gather(total)?;
        let bytes = self.reader.rest(self.offset);
        let text = bytes.get(head_bytes as usize..total as usize).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(self.fail(Corruption::at(SYMBOLS, self.offset, "text that is not utf-8")));
        };
        if self.number > 0 && text <= self.symbol.as_str() {
            let what = format!("symbol {} is not greater than the one before", self.number);
            return Err(self.fail(Corruption::at(SYMBOLS, self.offset, what)));
        }
        self.symbol.clear();
        self.symbol.push_str(text);
        self.symbol_offset = self.offset;
        self.offset = self.offset.saturating_add(total);
        self.left -= 1;
        self.number = self.number.saturating_add(1);
        Ok(true)
    }

    /// The symbol that was read last.
    pub(crate) fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Where it is in the index.
    pub(crate) fn symbol_offset(&self) -> u64 {
        self.symbol_offset
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Goes on to the series.
    pub(crate) fn into_series(self) -> SeriesReader {
        SeriesReader {
            alignment: alignment(self.version),
            reader: self.reader,
            offset: self.head.toc.series,
            end: self.head.toc.series_end(self.head.size_bytes),
        }
    }

    /// Makes sure that the window has so many bytes from the next symbol on, or all there are.
    fn gather(&mut self, needed: u64) -> Result<(), BlockError> {
        if self.reader.rest(self.offset).len() as u64 >= needed {
            return Ok(());
        }
        self.hash();
        if !reach(&mut self.reader, self.offset, needed)? {
            let error = Corruption::short(SYMBOLS, self.offset, needed, 0);
            return Err(self.fail(error));
        }
        Ok(())
    }

    /// Adds to the checksum what will be out of the window.
    fn hash(&mut self) {
        let length = usize::try_from(self.offset.saturating_sub(self.hashed_to)).unwrap_or(usize::MAX);
        let passed = self.reader.rest(self.hashed_to);
        self.crc.update(passed.get(..length).unwrap_or(passed));
        self.hashed_to = self.offset;
    }

    fn verify(&mut self) -> Result<(), BlockError> {
        if self.offset != self.end {
            let what = "bytes behind the last symbol";
            return Err(self.fail(Corruption::at(SYMBOLS, self.offset, what)));
        }
        self.gather(4)?;
        self.hash();
        let stored = Decoder::at(SYMBOLS, self.end, self.reader.rest(self.end)).u32();
        let stored = stored.map_err(|error| self.fail(error))?;
        let computed = self.crc.value();
        match stored == computed {
            true => Ok(()),
            false => Err(self.fail(Corruption::crc(SYMBOLS, self.end, stored, computed))),
        }
    }

    fn fail(&self, corruption: Corruption) -> BlockError {
        corrupt(self.reader.block(), INDEX_FILE, corruption)
    }
}

impl SeriesReader {
    /// Decodes the next series and returns where it is in the index; `None` behind the last.
    pub(crate) fn next_into(&mut self, entry: &mut SeriesEntry) -> Result<Option<u64>, BlockError> {
        let offset = match self.offset.checked_next_multiple_of(self.alignment) {
            Some(offset) if offset < self.end => offset,
            _ => return Ok(None),
        };
        let block = self.reader.block();
        let fail = |corruption: Corruption| corrupt(block, INDEX_FILE, corruption);
        let mut needed = 1;
        loop {
            if !reach(&mut self.reader, offset, needed)? || offset.saturating_add(needed) > self.end {
                let available = self.end.saturating_sub(offset);
                return Err(fail(Corruption::short(SERIES, offset, needed, available)));
            }
            match series::decode_into(self.reader.rest(offset), entry) {
                Ok(entry_bytes) => {
                    self.offset = offset.saturating_add(entry_bytes as u64);
                    return Ok(Some(offset));
                }
                Err(SeriesError::Corrupt(error)) => return Err(fail(error.shifted(offset))),
                Err(SeriesError::NeedMore { needed_bytes }) => needed = needed_bytes,
            }
        }
    }

    /// Bytes of the index that were read.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.reader.read_bytes()
    }
}

/// Goes forward to `offset` and gathers so many bytes from there; false if the index ends before.
fn reach(reader: &mut WindowReader, offset: u64, needed: u64) -> Result<bool, BlockError> {
    Ok(reader.seek(0, offset)? == Place::Here && reader.gather(offset, needed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alignment_is_that_of_the_version() {
        assert_eq!(alignment(Version::V1), Version::V1.series_offset(1));
        assert_eq!(alignment(Version::V2), Version::V2.series_offset(1));
    }
}
