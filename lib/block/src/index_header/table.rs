//! The postings offset table: which postings list belongs to a label name and value.

use std::ops::{ControlFlow, Range};

use sabre_tsdb::index::Version;

use super::{
    cursor::Fault, format::Layout, full_table::FullTable, room::Ledger, sampled_table::SampledTable,
    source::Source,
};

pub(super) const SECTION: &str = "index-header postings offset table";
/// The number of texts that every entry of the table says it has.
pub(super) const ENTRY_TEXTS: u64 = 2;

/// What is shown a label value and where its postings list lies in the index.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&str, Range<u64>) -> ControlFlow<()>;

/// The table: sorted as indexes of version 2 have it, samples of it do; in any other order all of it is kept.
#[derive(Debug)]
pub(super) enum Table {
    Sampled(SampledTable),
    Full(FullTable),
}

impl Table {
    /// Verifies the section and notes what lookups need.
    pub(super) fn scan(
        source: &Source,
        layout: &Layout,
        sampling: u32,
        ledger: &mut Ledger<'_>,
    ) -> Result<Self, Fault> {
        let sampled = match layout.index_version {
            Version::V1 => None,
            Version::V2 => SampledTable::scan(source, layout, sampling, ledger)?,
        };
        match sampled {
            Some(table) => Ok(Self::Sampled(table)),
            None => FullTable::scan(source, layout, ledger).map(Self::Full),
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Sampled(table) => table.memory_bytes(),
            Self::Full(table) => table.memory_bytes(),
        }
    }

    /// All label names, ascending; the empty one stands for all series.
    pub(super) fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Sampled(table) => Box::new(table.names()),
            Self::Full(table) => Box::new(table.names()),
        }
    }

    /// How many values `name` has.
    pub(super) fn value_count(&self, name: &str) -> u32 {
        match self {
            Self::Sampled(table) => table.value_count(name),
            Self::Full(table) => table.value_count(name),
        }
    }

    /// Where the lists of `name` and each of the values lie; ascending values are found in one pass.
    pub(super) fn ranges<'v>(
        &self,
        source: &Source,
        name: &str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Result<Vec<Option<Range<u64>>>, Fault> {
        match self {
            Self::Sampled(table) => table.ranges(source, name, values),
            Self::Full(table) => Ok(values.into_iter().map(|value| table.range(name, value)).collect()),
        }
    }

    /// Shows the values of `name` that begin with `prefix`, ascending.
    pub(super) fn for_each(
        &self,
        source: &Source,
        name: &str,
        prefix: &str,
        visit: Visit<'_>,
    ) -> Result<(), Fault> {
        match self {
            Self::Sampled(table) => table.for_each(source, name, prefix, visit),
            Self::Full(table) => {
                table.for_each(name, prefix, visit);
                Ok(())
            }
        }
    }
}
