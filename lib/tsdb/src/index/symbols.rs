//! The symbol table: all texts of label names and values, sorted, each once.

use std::cmp::Ordering;
use std::ops::Range;

use crate::encoding::{Decoder, put_uvarint_bytes};
use crate::error::Corruption;

use super::frame;
use super::header::Version;

#[cfg(test)]
mod tests;

pub(super) const SECTION: &str = "index symbols";

/// The position of every so many symbols is kept.
const SAMPLING: usize = 32;
/// Bytes before the first symbol: the length and the number of symbols.
const BEFORE_ENTRIES_BYTES: usize = 8;

/// A verified symbol table, with the position of every 32nd symbol.
///
/// A symbol is named by a reference: its number (version 2) or the offset of its length in the file (version 1).
#[derive(Debug, Clone)]
pub struct Symbols<D = Vec<u8>> {
    version: Version,
    /// The section, from its length on.
    section: D,
    /// Where the section starts in the file.
    file_offset: u64,
    /// Where the symbols are in `section`.
    entries: Range<usize>,
    count: u32,
    /// Positions of the symbols 0, 32, 64 … after the start of `entries`.
    samples: Vec<u32>,
}

/// Makes a symbol table of version 2.
#[derive(Debug, Clone)]
pub struct SymbolsBuilder {
    /// Room for length and number, then the symbols.
    section: Vec<u8>,
    count: u32,
    samples: Vec<u32>,
    /// Where the text of the last symbol is in `section`.
    last: Range<usize>,
}

impl<D: AsRef<[u8]>> Symbols<D> {
    /// Verifies the symbols section that `section` starts with; it lies at `file_offset` of the index, and
    /// error offsets count from the start of the file.
    ///
    /// Fails unless checksum, number and order of the symbols are right and all of them are UTF-8.
    pub fn parse(section: D, file_offset: u64, version: Version) -> Result<Self, Corruption> {
        let (content, _) = frame::decode(SECTION, section.as_ref(), file_offset)?;
        let content_offset = file_offset.saturating_add(frame::LEN_BYTES as u64);
        let mut decoder = Decoder::at(SECTION, content_offset, content);
        let count = decoder.u32()?;
        if version == Version::V1
            && u32::try_from(content_offset.saturating_add(content.len() as u64)).is_err()
        {
            return Err(decoder.corruption("offsets beyond 4 GiB cannot be references"));
        }
        let entries_end = content.len().saturating_add(frame::LEN_BYTES);
        let mut samples = Vec::new();
        let mut last = None;
        let start = decoder.position();
        for number in 0..count {
            if (number as usize).is_multiple_of(SAMPLING) {
                // A section is shorter than 4 GiB, so is every position in it.
                samples.push((decoder.position() - start) as u32);
            }
            let before = decoder.clone();
            let symbol = decoder.uvarint_str()?;
            if last.is_some_and(|last| last >= symbol) {
                return Err(before.corruption(format!("symbol {number} is not greater than the one before")));
            }
            last = Some(symbol);
        }
        if !decoder.is_empty() {
            return Err(decoder.corruption(format!("bytes behind the last of {count} symbols")));
        }
        Ok(Self {
            version,
            section,
            file_offset,
            entries: BEFORE_ENTRIES_BYTES..entries_end,
            count,
            samples,
        })
    }

    /// Number of symbols.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are no symbols.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The symbol with this reference. A reference that names no symbol is an error.
    pub fn get(&self, reference: u32) -> Result<&str, Corruption> {
        let found = match self.version {
            Version::V1 => self.symbol_at(reference),
            Version::V2 if reference < self.count => self.nth(reference),
            Version::V2 => None,
        };
        found.ok_or_else(|| {
            let what = format!("reference {reference} to none of the {} symbols", self.count);
            Corruption::at(SECTION, self.file_offset, what)
        })
    }

    /// The reference of a symbol, if the table has it.
    pub fn find(&self, symbol: &str) -> Option<u32> {
        // The last sampled symbol that is not greater starts the run that holds it.
        let greater = self.samples.partition_point(|sample| {
            self.decoder_at(*sample)
                .and_then(|mut decoder| decoder.uvarint_str().ok())
                .is_some_and(|sampled| sampled <= symbol)
        });
        let sample = greater.checked_sub(1)?;
        let mut run = self.run(sample)?;
        loop {
            let (reference, candidate) = run.next()?;
            match candidate.cmp(symbol) {
                Ordering::Less => {}
                Ordering::Equal => return Some(reference),
                Ordering::Greater => return None,
            }
        }
    }

    /// All symbols in order, with their references.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.run(0).into_iter().flatten()
    }

    fn nth(&self, number: u32) -> Option<&str> {
        let number = number as usize;
        let mut decoder = self.decoder_at(*self.samples.get(number / SAMPLING)?)?;
        for _ in 0..number % SAMPLING {
            decoder.uvarint_bytes().ok()?;
        }
        decoder.uvarint_str().ok()
    }

    /// The symbol whose length lies at this offset of the file; an offset between two lengths is refused.
    fn symbol_at(&self, offset: u32) -> Option<&str> {
        let entries_offset = self.file_offset.checked_add(self.entries.start as u64)?;
        let position = u32::try_from(u64::from(offset).checked_sub(entries_offset)?).ok()?;
        let after = self.samples.partition_point(|sample| *sample <= position);
        let (_, symbol) = self
            .run(after.checked_sub(1)?)?
            .take_while(|(reference, _)| *reference <= offset)
            .find(|(reference, _)| *reference == offset)?;
        Some(symbol)
    }

    /// The symbols from a sample on.
    fn run(&self, sample: usize) -> Option<Run<'_>> {
        Some(Run {
            decoder: self.decoder_at(*self.samples.get(sample)?)?,
            version: self.version,
            number: u32::try_from(sample.checked_mul(SAMPLING)?).ok()?,
            count: self.count,
        })
    }

    fn decoder_at(&self, position: u32) -> Option<Decoder<'_>> {
        let start = self.entries.start.checked_add(position as usize)?;
        let bytes = self.section.as_ref().get(start..self.entries.end)?;
        let file_offset = self.file_offset.checked_add(start as u64)?;
        Some(Decoder::at(SECTION, file_offset, bytes))
    }

    pub(crate) fn section(&self) -> &[u8] {
        self.section.as_ref()
    }
}

/// Symbols one after the other.
struct Run<'a> {
    decoder: Decoder<'a>,
    version: Version,
    number: u32,
    count: u32,
}

impl<'a> Iterator for Run<'a> {
    type Item = (u32, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.number >= self.count {
            return None;
        }
        let reference = match self.version {
            Version::V1 => u32::try_from(self.decoder.offset()).ok()?,
            Version::V2 => self.number,
        };
        self.number += 1;
        Some((reference, self.decoder.uvarint_str().ok()?))
    }
}

impl SymbolsBuilder {
    /// Starts with no symbols.
    pub fn new() -> Self {
        Self {
            section: vec![0; BEFORE_ENTRIES_BYTES],
            count: 0,
            samples: Vec::new(),
            last: 0..0,
        }
    }

    /// Adds a symbol, which must be greater than all before, and returns its number. `None` if it is not, or
    /// if the table would pass 4 GiB.
    pub fn push(&mut self, symbol: &str) -> Option<u32> {
        let number = self.count;
        if number > 0 && self.last_symbol() >= symbol.as_bytes() {
            return None;
        }
        let position = u32::try_from(self.section.len().checked_sub(BEFORE_ENTRIES_BYTES)?).ok()?;
        let longest = symbol.len().checked_add(crate::encoding::MAX_UVARINT_BYTES)?;
        u32::try_from(self.section.len().checked_add(longest)?).ok()?;
        self.count = number.checked_add(1)?;
        if (number as usize).is_multiple_of(SAMPLING) {
            self.samples.push(position);
        }
        put_uvarint_bytes(&mut self.section, symbol.as_bytes());
        self.last = self.section.len().checked_sub(symbol.len())?..self.section.len();
        Some(number)
    }

    /// The symbol that was added last; empty before the first.
    pub(super) fn last_symbol(&self) -> &[u8] {
        self.section.get(self.last.clone()).unwrap_or_default()
    }

    /// Finishes the table of an index that has it at `file_offset`.
    pub(crate) fn build(mut self, file_offset: u64) -> Option<Symbols> {
        let entries = BEFORE_ENTRIES_BYTES..self.section.len();
        self.section
            .get_mut(frame::LEN_BYTES..BEFORE_ENTRIES_BYTES)?
            .copy_from_slice(&self.count.to_be_bytes());
        frame::seal(&mut self.section)?;
        Some(Symbols {
            version: Version::V2,
            section: self.section,
            file_offset,
            entries,
            count: self.count,
            samples: self.samples,
        })
    }
}

impl Default for SymbolsBuilder {
    fn default() -> Self {
        Self::new()
    }
}
