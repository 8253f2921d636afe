//! A whole index: its parts found through the table of contents.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use sabre_model::{Labels, LabelsError};

use crate::error::Corruption;

use super::header::{self, HEADER_BYTES, Version};
use super::postings_list::{self, PostingsList};
use super::postings_table::PostingsTable;
use super::series::{self, SeriesEntry, SeriesError};
use super::source::ByteSource;
use super::symbols::{self, Symbols};
use super::toc::{self, TOC_BYTES, Toc};
use super::{ALL_POSTINGS_KEY, frame, offset_table};

mod cursor;
#[cfg(test)]
mod tests;

pub use cursor::SeriesCursor;

/// How much is read for a series at first.
const SERIES_READ_BYTES: u64 = 4096;

/// Why an index cannot be read. Offsets count from the start of the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The index is broken.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The bytes cannot be had.
    #[error("cannot read bytes {start} to {end} of the index")]
    Read {
        /// Offset of the first byte.
        start: u64,
        /// Offset behind the last byte.
        end: u64,
        /// What the source said.
        source: io::Error,
    },
}

/// Reads an index of version 1 or 2. Symbols and the postings offset table are kept in memory.
#[derive(Debug)]
pub struct IndexReader<S> {
    source: S,
    version: Version,
    toc: Toc,
    symbols: Symbols,
    table: PostingsTable,
    /// Where the series are.
    series: Range<u64>,
    /// Where the table of contents starts.
    sections_end: u64,
}

impl<S: ByteSource> IndexReader<S> {
    /// Opens an index: verifies header, contents, symbols and postings offset table.
    pub fn open(source: S) -> Result<Self, IndexError> {
        let file_bytes = source.len_bytes();
        let sections_end = match file_bytes.checked_sub(TOC_BYTES as u64) {
            Some(end) if end >= HEADER_BYTES as u64 => end,
            _ => {
                let needed = (HEADER_BYTES + TOC_BYTES) as u64;
                return Err(Corruption::short(header::SECTION, 0, needed, file_bytes).into());
            }
        };
        let version = Version::decode(&read(&source, 0..HEADER_BYTES as u64)?)?;
        let toc = Toc::decode(&read(&source, sections_end..file_bytes)?)
            .and_then(|toc| toc.check(file_bytes).map(|()| toc))
            .map_err(|error| error.shifted(sections_end))?;
        let section = read_frame(&source, symbols::SECTION, toc.symbols, sections_end)?.into_owned();
        let symbols = Symbols::parse(section, toc.symbols, version)?;
        if toc.postings_table == 0 {
            let what = "an index without a postings offset table";
            return Err(Corruption::at(toc::SECTION, sections_end, what).into());
        }
        let section = read_frame(&source, offset_table::SECTION, toc.postings_table, sections_end)?;
        let table = PostingsTable::parse(section.into_owned(), toc.postings_table)?;
        Ok(Self {
            version,
            toc,
            symbols,
            table,
            series: toc.series..toc.series_end(file_bytes),
            sections_end,
            source,
        })
    }

    /// Version of the layout.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where the sections are.
    pub fn toc(&self) -> &Toc {
        &self.toc
    }

    /// The symbol table.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Where each postings list is.
    pub fn postings_table(&self) -> &PostingsTable {
        &self.table
    }

    /// Label names, ascending.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.table.names()
    }

    /// Values of a label, ascending; none for a name that no series has.
    pub fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.table.values(name).map(|(value, _)| value)
    }

    /// References of all series with a label, ascending; `None` if there are none.
    pub fn postings(&self, name: &str, value: &str) -> Result<Option<Vec<u32>>, IndexError> {
        let Some(offset) = self.table.list_offset(name, value) else {
            return Ok(None);
        };
        let list = read_frame(&self.source, postings_list::SECTION, offset, self.sections_end)?;
        let list = PostingsList::decode(&list).map_err(|error| error.shifted(offset))?;
        Ok(Some(list.to_vec()))
    }

    /// References of all series, ascending.
    pub fn all_postings(&self) -> Result<Vec<u32>, IndexError> {
        let (name, value) = ALL_POSTINGS_KEY;
        Ok(self.postings(name, value)?.unwrap_or_default())
    }

    /// Decodes the series with this reference.
    pub fn series(&self, series_ref: u32, entry: &mut SeriesEntry) -> Result<(), IndexError> {
        let offset = self.version.series_offset(series_ref);
        if !self.series.contains(&offset) {
            let what = format!("no series at reference {series_ref}");
            return Err(Corruption::at(series::SECTION, offset, what).into());
        }
        let first_end = self.series.end.min(offset.saturating_add(SERIES_READ_BYTES));
        let bytes = read(&self.source, offset..first_end)?;
        match series::decode_into(&bytes, entry) {
            Ok(_) => Ok(()),
            Err(SeriesError::Corrupt(error)) => Err(error.shifted(offset).into()),
            Err(SeriesError::NeedMore { needed_bytes }) => {
                let bytes = self.read_series(offset, needed_bytes)?;
                series::decode_into(&bytes, entry)
                    .map(|_| ())
                    .map_err(|error| self.series_error(offset, error))
            }
        }
    }

    /// The labels of an entry, which came from `series_ref`. Labels in the wrong order are sorted; a name that
    /// comes twice is an error.
    pub fn labels(&self, series_ref: u32, entry: &SeriesEntry) -> Result<Labels, IndexError> {
        let mut pairs = Vec::with_capacity(entry.labels.len());
        for (name, value) in &entry.labels {
            pairs.push((self.symbols.get(*name)?, self.symbols.get(*value)?));
        }
        let labels = match Labels::from_sorted(pairs.iter().copied()) {
            Err(LabelsError::Unsorted { .. }) => Labels::from_pairs(pairs),
            sorted_or_broken => sorted_or_broken,
        };
        labels.map_err(|error| {
            let offset = self.version.series_offset(series_ref);
            Corruption::at(series::SECTION, offset, error.to_string()).into()
        })
    }

    /// Reads all series in the order of the file.
    pub fn all_series(&self) -> SeriesCursor<'_, S> {
        SeriesCursor::new(self)
    }

    /// Reads `needed_bytes` for the series at `offset`, which must not pass the end of the series.
    fn read_series(&self, offset: u64, needed_bytes: u64) -> Result<Cow<'_, [u8]>, IndexError> {
        match offset.checked_add(needed_bytes) {
            Some(end) if end <= self.series.end => read(&self.source, offset..end),
            _ => {
                let available = self.series.end.saturating_sub(offset);
                Err(Corruption::short(series::SECTION, offset, needed_bytes, available).into())
            }
        }
    }

    /// The error for an entry that had all the bytes it asked for, or all there are.
    fn series_error(&self, offset: u64, error: SeriesError) -> IndexError {
        match error {
            SeriesError::Corrupt(error) => error.shifted(offset).into(),
            SeriesError::NeedMore { needed_bytes } => {
                let available = self.series.end.saturating_sub(offset);
                Corruption::short(series::SECTION, offset, needed_bytes, available).into()
            }
        }
    }
}

/// Reads a range, and checks that the source kept its word.
fn read<S: ByteSource>(source: &S, range: Range<u64>) -> Result<Cow<'_, [u8]>, IndexError> {
    let Range { start, end } = range;
    let result = match source.read_at(range) {
        Ok(bytes) if bytes.len() as u64 != end.saturating_sub(start) => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{} bytes came", bytes.len()),
        )),
        result => result,
    };
    result.map_err(|source| IndexError::Read { start, end, source })
}

/// Reads the length at `offset` and then all of the frame, which must end at `limit` or before.
fn read_frame<'s, S: ByteSource>(
    source: &'s S,
    section: &'static str,
    offset: u64,
    limit: u64,
) -> Result<Cow<'s, [u8]>, IndexError> {
    let available = limit.saturating_sub(offset);
    let short = |needed| IndexError::from(Corruption::short(section, offset, needed, available));
    if available < frame::AROUND_BYTES as u64 {
        return Err(short(frame::AROUND_BYTES as u64));
    }
    let length = read(source, offset..offset + frame::LEN_BYTES as u64)?;
    let frame_bytes = frame::frame_bytes(section, &length, offset)?;
    match frame_bytes <= available {
        true => read(source, offset..offset + frame_bytes),
        false => Err(short(frame_bytes)),
    }
}
