//! Symbol lookup by reference, with one offset in memory per 32 symbols.

use std::ops::Range;

use sabre_tsdb::index::Version;

use super::{
    cursor::{Cursor, Fault, corrupt_at},
    format::{HEADER_BYTES, Layout, Section},
    room::Ledger,
    source::{Access, Source},
};

const SECTION: &str = "index-header symbols";
/// Every so many symbols one offset is kept.
const SAMPLING: u32 = 32;
/// In version 1 a reference is the offset in the index, where the symbols begin at 5.
const INDEX_HEADER_BYTES: u64 = 5;

/// The symbols section of an index-header.
#[derive(Debug)]
pub(super) struct Symbols {
    index_version: Version,
    count: u32,
    entries: Range<u64>,
    /// Offsets of the symbols 0, 32, 64 …, counted from the first entry. Empty for version 1, which needs none.
    samples: Vec<u32>,
}

/// Texts of symbols, found by reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolMap {
    /// Ascending.
    refs: Vec<u32>,
    /// For each reference where its text ends.
    ends: Vec<usize>,
    text: String,
}

/// Texts that together take so many bytes, more than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// What they take.
    pub bytes: u64,
}

impl Symbols {
    /// Verifies the section and notes the offsets.
    pub(super) fn scan(source: &Source, layout: &Layout, ledger: &mut Ledger<'_>) -> Result<Self, Fault> {
        let section = Section::verify(source, SECTION, &layout.symbols)?;
        // A symbol takes a byte at least, whatever the count says.
        let count = u64::from(section.count).min(section.entries.end.saturating_sub(section.entries.start));
        ledger.take(
            count
                .div_ceil(u64::from(SAMPLING))
                .saturating_mul(2 * size_of::<u32>() as u64),
        )?;
        let mut samples = Vec::new();
        let mut cursor = section.scan(source, SECTION);
        for i in 0..section.count {
            if i % SAMPLING == 0 {
                samples.push(relative(cursor.position(), section.entries.start));
            }
            cursor.skip_text()?;
        }
        if cursor.remaining() > 0 {
            return Err(cursor.corrupt(format!("bytes left behind the {} symbols", section.count)));
        }
        if layout.index_version == Version::V1 {
            samples = Vec::new();
        }
        samples.shrink_to_fit();
        let Section { count, entries } = section;
        Ok(Self {
            index_version: layout.index_version,
            count,
            entries,
            samples,
        })
    }

    /// Bytes of memory that the offsets take.
    pub(super) fn memory_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<u32>()
    }

    /// Hands the text of each reference to `visit` if `admits` says so of its length; ascending references are read in one
    /// pass.
    pub(super) fn resolve(
        &self,
        source: &Source,
        refs: &[u32],
        mut admits: impl FnMut(u64) -> bool,
        mut visit: impl FnMut(u32, &str),
    ) -> Result<(), Fault> {
        let mut show = |reference: u32, cursor: &mut Cursor<'_>| {
            if let Some(text) = cursor.text_if(&mut admits)? {
                visit(reference, text);
            }
            Ok::<_, Fault>(())
        };
        let Range { start, end } = self.entries;
        let mut cursor = Cursor::new(source, Access::Random, SECTION, start, end);
        if self.index_version == Version::V1 {
            for &reference in refs {
                cursor.seek(self.position_v1(reference)?);
                show(reference, &mut cursor)?;
            }
            return Ok(());
        }
        let mut next = 0;
        for &reference in refs {
            next = self.approach(&mut cursor, next, reference)?;
            while next < reference {
                cursor.skip_text()?;
                next = next.saturating_add(1);
            }
            show(reference, &mut cursor)?;
            next = next.saturating_add(1);
        }
        Ok(())
    }

    /// Moves the cursor, which stands at symbol `next`, to `reference` or at most 31 symbols before it; returns
    /// which symbol it stands at then.
    fn approach(&self, cursor: &mut Cursor<'_>, next: u32, reference: u32) -> Result<u32, Fault> {
        let sample = reference / SAMPLING;
        if reference >= next && sample.saturating_mul(SAMPLING) <= next {
            return Ok(next);
        }
        let offset = usize::try_from(sample)
            .ok()
            .and_then(|sample| self.samples.get(sample));
        match offset {
            Some(&offset) if reference < self.count => {
                cursor.seek(self.entries.start.saturating_add(u64::from(offset)));
                Ok(sample.saturating_mul(SAMPLING))
            }
            _ => Err(self.unknown(reference)),
        }
    }

    fn position_v1(&self, reference: u32) -> Result<u64, Fault> {
        let position = u64::from(reference).saturating_add(HEADER_BYTES - INDEX_HEADER_BYTES);
        if self.entries.contains(&position) {
            return Ok(position);
        }
        Err(self.unknown(reference))
    }

    fn unknown(&self, reference: u32) -> Fault {
        let what = format!("there is no symbol {reference} among the {}", self.count);
        corrupt_at(SECTION, self.entries.start, what)
    }
}

impl SymbolMap {
    /// The text of `reference`; `None` if it was not asked for.
    pub fn get(&self, reference: u32) -> Option<&str> {
        let i = self.refs.binary_search(&reference).ok()?;
        let end = *self.ends.get(i)?;
        let start = match i.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// How many symbols it holds.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// Bytes of memory it takes.
    pub fn memory_bytes(&self) -> usize {
        self.text.capacity()
            + self.refs.capacity() * size_of::<u32>()
            + self.ends.capacity() * size_of::<usize>()
    }

    /// Adds a symbol whose reference is greater than all before.
    pub(super) fn push(&mut self, reference: u32, text: &str) {
        self.refs.push(reference);
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }
}

/// `position` counted from `start`; sections are at most 4 GiB long, as their length is a `u32`.
pub(super) fn relative(position: u64, start: u64) -> u32 {
    u32::try_from(position.saturating_sub(start)).unwrap_or(u32::MAX)
}
