//! The symbols of an index, written as they come.

use crate::crc::Crc32c;
use crate::encoding::put_uvarint_bytes;
use crate::index::frame;
use crate::index::header::Version;
use crate::index::size_estimates::SizeEstimates;
use crate::index::symbols::SECTION;
use crate::index::toc::Toc;
use crate::index::writer::IndexWriteError;

use super::lookup::{SAMPLING, SymbolLookup};
use super::runs::PostingsRuns;
use super::spool::Spool;
use super::{ScratchFile, SpillingIndexWriter};

/// How much of the section is read at a time for its checksum.
const READ_BYTES: usize = 256 << 10;
/// Bytes of the number of symbols.
const COUNT_BYTES: usize = 4;

/// Writes the symbols of an index, which come in order.
#[derive(Debug)]
pub struct SpillingSymbolsWriter<F> {
    index: Spool<F>,
    /// Where the section starts.
    start: u64,
    count: u32,
    samples: Vec<u32>,
    last: Vec<u8>,
    entry: Vec<u8>,
}

impl<F: ScratchFile> SpillingSymbolsWriter<F> {
    /// Begins an index in an empty file.
    pub fn new(index: F) -> Result<Self, IndexWriteError> {
        let mut index = Spool::new(index);
        let mut header = Vec::new();
        Version::V2.encode(&mut header);
        index.write(&header)?;
        let start = index.position();
        index.write(&[0; frame::LEN_BYTES + COUNT_BYTES])?;
        Ok(Self {
            index,
            start,
            count: 0,
            samples: Vec::new(),
            last: Vec::new(),
            entry: Vec::new(),
        })
    }

    /// Writes a symbol, which must be greater than all before, and returns its number.
    pub fn push(&mut self, symbol: &str) -> Result<u32, IndexWriteError> {
        let number = self.count;
        if number > 0 && self.last.as_slice() >= symbol.as_bytes() {
            return Err(IndexWriteError::SymbolOrder(symbol.to_owned()));
        }
        let too_large = || IndexWriteError::section_too_large(SECTION);
        let position = self.index.position().saturating_sub(self.entries_start());
        let position = u32::try_from(position).map_err(|_| too_large())?;
        self.count = number.checked_add(1).ok_or_else(too_large)?;
        if (number as usize).is_multiple_of(SAMPLING) {
            self.samples.push(position);
        }
        self.entry.clear();
        put_uvarint_bytes(&mut self.entry, symbol.as_bytes());
        self.last.clear();
        self.last.extend_from_slice(symbol.as_bytes());
        self.index.write(&self.entry)?;
        Ok(number)
    }

    /// Ends the symbols. `runs` and `table` are empty files for what does not fit into memory; postings are sorted in
    /// `sort_bytes` of it.
    pub fn finish(
        mut self,
        runs: F,
        table: F,
        sort_bytes: usize,
    ) -> Result<SpillingIndexWriter<F>, IndexWriteError> {
        let end = self.index.position();
        let content_bytes = end
            .saturating_sub(self.start)
            .saturating_sub(frame::LEN_BYTES as u64);
        let content_bytes =
            u32::try_from(content_bytes).map_err(|_| IndexWriteError::section_too_large(SECTION))?;
        let mut head = Vec::with_capacity(frame::LEN_BYTES + COUNT_BYTES);
        head.extend_from_slice(&content_bytes.to_be_bytes());
        head.extend_from_slice(&self.count.to_be_bytes());
        self.index.patch(self.start, &head)?;
        // The number of symbols stands before them and is known only now.
        let mut crc = Crc32c::new();
        let mut window = Vec::new();
        let mut offset = self.start.saturating_add(frame::LEN_BYTES as u64);
        while offset < end {
            self.index.read_at(offset, READ_BYTES, &mut window)?;
            crc.update(&window);
            offset = offset.saturating_add(window.len() as u64);
        }
        self.index.write(&crc.value().to_be_bytes())?;
        let toc = Toc {
            symbols: self.start,
            series: self.index.position(),
            ..Toc::default()
        };
        let first_is_empty = self.is_first_empty(end)?;
        let symbols = SymbolLookup::new(
            self.entries_start()..end,
            self.count,
            self.samples,
            first_is_empty,
        );
        let table = Spool::new(table);
        Ok(SpillingIndexWriter {
            index: self.index,
            table,
            toc,
            symbols,
            postings: PostingsRuns::new(runs, sort_bytes),
            all_series: Vec::new(),
            last_ref: 0,
            last_labels: Vec::new(),
            estimates: SizeEstimates::default(),
            series_count: 0,
            body: Vec::new(),
            entry: Vec::new(),
        })
    }

    fn entries_start(&self) -> u64 {
        self.start.saturating_add((frame::LEN_BYTES + COUNT_BYTES) as u64)
    }

    /// Whether the first symbol is the empty text: its length is then zero.
    fn is_first_empty(&mut self, end: u64) -> Result<bool, IndexWriteError> {
        let mut first = Vec::new();
        let start = self.entries_start();
        if start >= end {
            return Ok(false);
        }
        self.index.read_at(start, 1, &mut first)?;
        Ok(first.first() == Some(&0))
    }
}
