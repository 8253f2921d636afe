//! Postings lists and their offset table.

use crate::crc::Crc32c;
use crate::encoding::Decoder;
use crate::index::writer::{IndexWriteError, LIST_ALIGNMENT};
use crate::index::{ALL_POSTINGS_KEY, offset_table, postings_list};

use super::ScratchFile;
use super::lookup::SymbolLookup;
use super::runs::SortedPostings;
use super::spool::Spool;

/// How much of the table is copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// Writes lists to the index, and an entry for each to the table.
#[derive(Debug)]
pub(super) struct ListWriter<'a, F> {
    pub(super) index: &'a mut Spool<F>,
    pub(super) table: &'a mut Spool<F>,
    pub(super) symbols: &'a mut SymbolLookup,
    count: u32,
    list: Vec<u8>,
    entry: Vec<u8>,
}

impl<'a, F: ScratchFile> ListWriter<'a, F> {
    pub(super) fn new(
        index: &'a mut Spool<F>,
        table: &'a mut Spool<F>,
        symbols: &'a mut SymbolLookup,
    ) -> Self {
        Self {
            index,
            table,
            symbols,
            count: 0,
            list: Vec::new(),
            entry: Vec::new(),
        }
    }

    /// Writes the list of all series, whose references come as differences.
    pub(super) fn write_all(&mut self, differences: &[u8], count: u64) -> Result<(), IndexWriteError> {
        let mut refs = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let mut decoder = Decoder::new("references of all series", differences);
        let mut last = 0_u32;
        while !decoder.is_empty() {
            let difference = decoder
                .uvarint32()
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
            last = last.wrapping_add(difference);
            refs.push(last);
        }
        let (name, value) = ALL_POSTINGS_KEY;
        self.write(name, value, &refs)
    }

    /// Writes a list for each name and value.
    pub(super) fn write_labels(&mut self, mut postings: SortedPostings<F>) -> Result<(), IndexWriteError> {
        let mut refs: Vec<u32> = Vec::new();
        let mut current = None;
        let mut name: (Option<u32>, String) = (None, String::new());
        loop {
            let posting = postings.next()?;
            let label = posting.map(super::runs::Posting::label);
            if let Some((name_ref, value_ref)) = current.filter(|current| Some(*current) != label) {
                if name.0 != Some(name_ref) {
                    name = (Some(name_ref), self.symbols.get(self.index, name_ref)?);
                }
                let value = self.symbols.get(self.index, value_ref)?;
                self.write(&name.1, &value, &refs)?;
                refs.clear();
            }
            let Some(posting) = posting else { return Ok(()) };
            refs.push(posting.series_ref());
            current = label;
        }
    }

    /// Number of lists written.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    fn write(&mut self, name: &str, value: &str, refs: &[u32]) -> Result<(), IndexWriteError> {
        self.index.pad_to(LIST_ALIGNMENT)?;
        let list_offset = self.index.position();
        postings_list::encode(refs.iter().copied(), &mut self.list)
            .ok_or(IndexWriteError::section_too_large(postings_list::SECTION))?;
        self.index.write(&self.list)?;
        self.count = self
            .count
            .checked_add(1)
            .ok_or(IndexWriteError::section_too_large(offset_table::SECTION))?;
        self.entry.clear();
        offset_table::encode_entry(name, value, list_offset, &mut self.entry);
        self.table.write(&self.entry)
    }
}

/// Copies the entries in `table` to the index, with length, number and checksum around them.
pub(super) fn copy_table<F: ScratchFile>(
    table: &mut Spool<F>,
    count: u32,
    index: &mut Spool<F>,
) -> Result<(), IndexWriteError> {
    let entries_bytes = table.position();
    let content_bytes = u32::try_from(entries_bytes.saturating_add(size_of::<u32>() as u64))
        .map_err(|_| IndexWriteError::section_too_large(offset_table::SECTION))?;
    index.write(&content_bytes.to_be_bytes())?;
    let mut crc = Crc32c::new();
    crc.update(&count.to_be_bytes());
    index.write(&count.to_be_bytes())?;
    let mut window = Vec::new();
    let mut offset = 0;
    while offset < entries_bytes {
        table.read_at(offset, COPY_BYTES, &mut window)?;
        crc.update(&window);
        index.write(&window)?;
        offset = offset.saturating_add(window.len() as u64);
    }
    index.write(&crc.value().to_be_bytes())
}
