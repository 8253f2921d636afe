//! Symbols by number, read from the index that is being written.

use std::io;
use std::ops::Range;

use crate::encoding::Decoder;
use crate::index::symbols::SECTION;
use crate::index::writer::IndexWriteError;

use super::ScratchFile;
use super::spool::Spool;

/// The position of every so many symbols is kept.
pub(super) const SAMPLING: usize = 32;
/// How much is read at a time: symbols are asked for in ascending order, mostly.
const WINDOW_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct SymbolLookup {
    /// Where the symbols are in the index.
    entries: Range<u64>,
    count: u32,
    samples: Vec<u32>,
    first_is_empty: bool,
    window: Vec<u8>,
    window_start: u64,
}

impl SymbolLookup {
    pub(super) fn new(entries: Range<u64>, count: u32, samples: Vec<u32>, first_is_empty: bool) -> Self {
        Self {
            entries,
            count,
            samples,
            first_is_empty,
            window: Vec::new(),
            window_start: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Whether a symbol is the empty text, which can only be the first.
    pub(super) fn is_empty_text(&self, number: u32) -> bool {
        number == 0 && self.first_is_empty
    }

    pub(super) fn get<F: ScratchFile>(
        &mut self,
        index: &mut Spool<F>,
        number: u32,
    ) -> Result<String, IndexWriteError> {
        let unknown = || IndexWriteError::UnknownSymbol(format!("number {number}"));
        let sample = self.samples.get(number as usize / SAMPLING).ok_or_else(unknown)?;
        let start = self.entries.start.saturating_add(u64::from(*sample));
        let mut wanted = WINDOW_BYTES;
        if !(self.window_start..self.window_end()).contains(&start) {
            self.read(index, start, wanted)?;
        }
        loop {
            if let Some(text) = self.nth_from(start, number as usize % SAMPLING) {
                return Ok(text);
            }
            let reaches_end = self.window_end() >= self.entries.end && self.window_start == start;
            if reaches_end {
                let what = "the symbols of the index under construction cannot be read back";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
            }
            self.read(index, start, wanted)?;
            wanted = wanted.saturating_mul(2);
        }
    }

    fn window_end(&self) -> u64 {
        self.window_start.saturating_add(self.window.len() as u64)
    }

    fn read<F: ScratchFile>(
        &mut self,
        index: &mut Spool<F>,
        start: u64,
        wanted: usize,
    ) -> Result<(), IndexWriteError> {
        let left = usize::try_from(self.entries.end.saturating_sub(start)).unwrap_or(usize::MAX);
        index.read_at(start, left.min(wanted), &mut self.window)?;
        self.window_start = start;
        Ok(())
    }

    /// The symbol `nth` behind `start`; `None` if the window ends before it does.
    fn nth_from(&self, start: u64, nth: usize) -> Option<String> {
        let from = usize::try_from(start.checked_sub(self.window_start)?).ok()?;
        let mut decoder = Decoder::new(SECTION, self.window.get(from..)?);
        for _ in 0..nth {
            decoder.uvarint_bytes().ok()?;
        }
        decoder.uvarint_str().ok().map(str::to_owned)
    }
}
