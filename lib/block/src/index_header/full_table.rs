//! A postings offset table in no order, as indexes of version 1 have it: all of it is kept in memory.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
};

use super::{
    cursor::{Fault, corrupt_at},
    format::{Layout, Section},
    room::Ledger,
    source::Source,
    table::{ENTRY_TEXTS, SECTION, Visit},
};

/// Every label name and value with its postings list.
#[derive(Debug)]
pub(super) struct FullTable {
    names: BTreeMap<Box<str>, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    value: Box<str>,
    start: u64,
    end: u64,
}

impl FullTable {
    /// Verifies the section and reads all of it.
    pub(super) fn scan(source: &Source, layout: &Layout, ledger: &mut Ledger<'_>) -> Result<Self, Fault> {
        let section = Section::verify(source, SECTION, &layout.postings_table)?;
        let mut cursor = section.scan(source, SECTION);
        let mut names: BTreeMap<Box<str>, Vec<Entry>> = BTreeMap::new();
        let mut starts = Vec::new();
        for _ in 0..section.count {
            if cursor.uvarint()? != ENTRY_TEXTS {
                return Err(cursor.corrupt("an entry that is not a name and a value"));
            }
            let name = cursor.text()?;
            let is_new = !names.contains_key(name);
            if is_new {
                ledger.grow(name.len() + size_of::<(Box<str>, Vec<Entry>)>())?;
            }
            let name: Box<str> = name.into();
            let value = cursor.text()?;
            ledger.grow(value.len() + size_of::<Entry>() + size_of::<u64>())?;
            let value = value.into();
            let start = cursor.uvarint()?;
            starts.push(start);
            names
                .entry(name)
                .or_default()
                .push(Entry { value, start, end: 0 });
        }
        if cursor.remaining() > 0 {
            return Err(cursor.corrupt(format!("bytes left behind the {} entries", section.count)));
        }
        let mut table = Self { names };
        table.sort()?;
        table.set_ends(starts, layout.last_list_end())?;
        Ok(table)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let mut bytes = 0;
        for (name, entries) in &self.names {
            let values: usize = entries.iter().map(|entry| entry.value.len()).sum();
            bytes += name.len() + values + entries.capacity() * size_of::<Entry>();
        }
        bytes + self.names.len() * size_of::<(Box<str>, Vec<Entry>)>()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    pub(super) fn value_count(&self, name: &str) -> u32 {
        u32::try_from(self.entries(name).len()).unwrap_or(u32::MAX)
    }

    pub(super) fn range(&self, name: &str, value: &str) -> Option<Range<u64>> {
        let entries = self.entries(name);
        let i = entries.binary_search_by(|entry| (*entry.value).cmp(value)).ok()?;
        entries.get(i).map(|entry| entry.start..entry.end)
    }

    pub(super) fn for_each(&self, name: &str, prefix: &str, visit: Visit<'_>) {
        let entries = self.entries(name);
        let from = entries.partition_point(|entry| *entry.value < *prefix);
        let matching = entries
            .iter()
            .skip(from)
            .take_while(|entry| entry.value.starts_with(prefix));
        for entry in matching {
            if visit(&entry.value, entry.start..entry.end) == ControlFlow::Break(()) {
                return;
            }
        }
    }

    fn entries(&self, name: &str) -> &[Entry] {
        self.names.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn sort(&mut self) -> Result<(), Fault> {
        for (name, entries) in &mut self.names {
            entries.sort_unstable_by(|a, b| a.value.cmp(&b.value));
            entries.shrink_to_fit();
            let twice = entries.windows(2).find_map(|pair| match pair {
                [a, b] if a.value == b.value => Some(a),
                _ => None,
            });
            if let Some(entry) = twice {
                let what = format!("label {name:?} has value {:?} twice", entry.value);
                return Err(corrupt_at(SECTION, entry.start, what));
            }
        }
        Ok(())
    }

    /// A list ends where the next one in the file begins.
    fn set_ends(&mut self, mut starts: Vec<u64>, last_end: u64) -> Result<(), Fault> {
        starts.sort_unstable();
        for entry in self.names.values_mut().flatten() {
            let next = starts.partition_point(|start| *start <= entry.start);
            entry.end = starts.get(next).copied().unwrap_or(last_end);
            if entry.end <= entry.start {
                let what = format!("a list at {} lies behind the end of the postings", entry.start);
                return Err(corrupt_at(SECTION, entry.start, what));
            }
        }
        Ok(())
    }
}
