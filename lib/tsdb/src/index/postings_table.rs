//! The postings offset table in memory, for lookups by label name and value.

use std::cmp::Ordering;
use std::ops::Range;

use crate::encoding::Decoder;
use crate::error::Corruption;

use super::frame;
use super::offset_table::{self, OffsetEntry, OffsetTable, SECTION};

#[cfg(test)]
mod tests;

/// Bytes before the first entry: length and number.
const BEFORE_ENTRIES_BYTES: usize = frame::LEN_BYTES + 4;

/// A verified postings offset table, with the position of each entry in the order of name and value.
///
/// It takes four bytes an entry beside the bytes of the table.
#[derive(Debug, Clone)]
pub struct PostingsTable<D = Vec<u8>> {
    /// The section, from its length on.
    section: D,
    /// Positions of the entries after the first, by name and value.
    order: Vec<u32>,
    /// For each label name, ascending, its entries in `order`.
    names: Vec<Range<usize>>,
}

impl<D: AsRef<[u8]>> PostingsTable<D> {
    /// Verifies the table that `section` starts with; it lies at `file_offset`, from where error offsets count.
    ///
    /// A table in no order, as indexes of version 1 have it, is sorted; two entries of one name and value are
    /// an error.
    pub fn parse(section: D, file_offset: u64) -> Result<Self, Corruption> {
        let mut table = Self {
            section,
            order: Vec::new(),
            names: Vec::new(),
        };
        let first = file_offset.saturating_add(BEFORE_ENTRIES_BYTES as u64);
        let mut order = Vec::new();
        let mut sorted = true;
        let mut previous = None;
        for entry in OffsetTable::open(table.section.as_ref(), file_offset)? {
            let entry = entry?;
            let key = (entry.name, entry.value);
            sorted &= previous.is_none_or(|previous| previous < key);
            previous = Some(key);
            // A section is shorter than 4 GiB, so is every position in it.
            order.push((entry.position - first) as u32);
        }
        if !sorted {
            order.sort_by(|a, b| table.key_at(*a).cmp(&table.key_at(*b)));
        }
        table.order = order;
        table.group_names(first)?;
        Ok(table)
    }

    /// Where the list of a name and value starts in the index; `None` if no series has that label.
    pub fn list_offset(&self, name: &str, value: &str) -> Option<u64> {
        let entries = self.order.get(self.find_name(name)?)?;
        let at = entries.binary_search_by(|position| match self.entry_at(*position) {
            Some(entry) => entry.value.cmp(value),
            None => Ordering::Less,
        });
        self.entry_at(*entries.get(at.ok()?)?)
            .map(|entry| entry.list_offset)
    }

    /// Label names, ascending, without the empty one that stands for all series.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().filter_map(|entries| self.name_of(entries));
        names.filter(|name| !name.is_empty())
    }

    /// Values of a label with the offsets of their lists, ascending by value.
    pub fn values(&self, name: &str) -> impl Iterator<Item = (&str, u64)> {
        let entries = self.find_name(name).and_then(|range| self.order.get(range));
        let entries = entries.unwrap_or_default().iter();
        entries.filter_map(|position| {
            let entry = self.entry_at(*position)?;
            Some((entry.value, entry.list_offset))
        })
    }

    fn group_names(&mut self, first: u64) -> Result<(), Corruption> {
        let mut names: Vec<Range<usize>> = Vec::new();
        let mut previous: Option<(&str, &str)> = None;
        for (at, position) in self.order.iter().enumerate() {
            let Some(key) = self.key_at(*position) else {
                continue;
            };
            match (previous, names.last_mut()) {
                (Some(previous), _) if previous == key => {
                    let what = format!("a second entry for {}={:?}", key.0, key.1);
                    return Err(Corruption::at(SECTION, first + u64::from(*position), what));
                }
                (Some((name, _)), Some(entries)) if name == key.0 => entries.end = at + 1,
                _ => names.push(at..at + 1),
            }
            previous = Some(key);
        }
        self.names = names;
        Ok(())
    }

    fn find_name(&self, name: &str) -> Option<Range<usize>> {
        let at = self
            .names
            .binary_search_by(|entries| self.name_of(entries).cmp(&Some(name)));
        self.names.get(at.ok()?).cloned()
    }

    fn name_of(&self, entries: &Range<usize>) -> Option<&str> {
        self.entry_at(*self.order.get(entries.start)?)
            .map(|entry| entry.name)
    }

    fn key_at(&self, position: u32) -> Option<(&str, &str)> {
        self.entry_at(position).map(|entry| (entry.name, entry.value))
    }

    fn entry_at(&self, position: u32) -> Option<OffsetEntry<'_>> {
        let start = BEFORE_ENTRIES_BYTES.checked_add(position as usize)?;
        let bytes = self.section.as_ref().get(start..)?;
        offset_table::decode_entry(&mut Decoder::new(SECTION, bytes)).ok()
    }
}
