//! The index-header: what a store must know of a block's index to find the rest of it by ranged reads.
//!
//! It holds the symbols and the postings offset table of the index, in Thanos' binary format, so that a data
//! directory can be taken over either way. In memory are only samples of both; the rest is read by `pread` through
//! a [`PageCache`] that all headers share. Nothing here maps files.
//!
//! Lookups are synchronous and may read the disk: call them from a thread that may block.

mod build;
mod cursor;
mod format;
mod full_table;
mod loader;
mod page_cache;
mod room;
mod sampled_table;
mod source;
mod symbols;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    ops::{ControlFlow, Range},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use sabre_model::BlockId;
use sabre_tsdb::index::Version;

use self::{cursor::Fault, format::Layout, room::Ledger, source::Source, symbols::Symbols, table::Table};
pub use self::{
    loader::{HeaderLoader, Loaded, SharedRoom},
    page_cache::PageCache,
    room::{AnyRoom, Room},
    symbols::{SymbolMap, TooLong},
};
use crate::error::{BlockError, Result};

/// An open index-header.
#[derive(Debug)]
pub struct IndexHeader {
    block: BlockId,
    /// What errors call the file.
    name: String,
    source: Source,
    layout: Layout,
    symbols: Symbols,
    table: Table,
}

/// How an index-header is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderOptions {
    /// Every so many values of a label one position is kept in memory.
    pub value_sampling: u32,
}

impl Default for HeaderOptions {
    fn default() -> Self {
        Self { value_sampling: 32 }
    }
}

impl IndexHeader {
    /// Opens the file of `block` at `path` and verifies all of it: lengths, checksums, order.
    ///
    /// An error of class [`Corrupt`](crate::ErrorClass::Corrupt) or [`Gone`](crate::ErrorClass::Gone) says that it
    /// should be built again.
    pub fn open(block: BlockId, path: &Path, pages: &Arc<PageCache>, options: HeaderOptions) -> Result<Self> {
        Self::open_within(block, path, pages, options, &AnyRoom)
    }

    /// As [`IndexHeader::open`], and takes the memory of what it keeps from `room` before it keeps it.
    pub fn open_within(
        block: BlockId,
        path: &Path,
        pages: &Arc<PageCache>,
        options: HeaderOptions,
        room: &dyn Room,
    ) -> Result<Self> {
        let name = path.display().to_string();
        let fail = |error| BlockError::new(block, name.clone(), crate::Cause::Local(error));
        let file = File::open(path).map_err(fail)?;
        let size_bytes = file.metadata().map_err(fail)?.len();
        let source = Source::File {
            file,
            size_bytes,
            pages: pages.file(),
        };
        Self::scan(block, name, source, options, room)
    }

    /// Opens an index-header that is held in memory, with the same checks.
    pub fn from_bytes(block: BlockId, bytes: Bytes, options: HeaderOptions) -> Result<Self> {
        Self::from_bytes_within(block, bytes, options, &AnyRoom)
    }

    /// As [`IndexHeader::from_bytes`], and takes the memory of what it keeps besides `bytes` from `room` before it
    /// keeps it.
    pub fn from_bytes_within(
        block: BlockId,
        bytes: Bytes,
        options: HeaderOptions,
        room: &dyn Room,
    ) -> Result<Self> {
        let name = format!("{} in memory", crate::layout::INDEX_HEADER_FILE);
        Self::scan(block, name, Source::Memory(bytes), options, room)
    }

    /// The block.
    pub fn block(&self) -> BlockId {
        self.block
    }

    /// The format version of the index. It says what series and symbol references mean.
    pub fn index_version(&self) -> Version {
        self.layout.index_version
    }

    /// Size of the index that the header was made from.
    pub fn index_size_bytes(&self) -> u64 {
        self.layout.index_size_bytes()
    }

    /// Size of the header itself.
    pub fn size_bytes(&self) -> u64 {
        self.source.size_bytes()
    }

    /// Bytes of memory it takes, the shared page cache apart.
    pub fn memory_bytes(&self) -> usize {
        let held = match &self.source {
            Source::File { .. } => 0,
            Source::Memory(bytes) => bytes.len(),
        };
        size_of::<Self>() + held + self.symbols.memory_bytes() + self.table.memory_bytes()
    }

    /// The text of one symbol. For more than a few use [`IndexHeader::symbols`].
    pub fn symbol(&self, reference: u32) -> Result<String> {
        let mut text = String::new();
        self.symbols
            .resolve(
                &self.source,
                &[reference],
                |_| true,
                |_, symbol| text.push_str(symbol),
            )
            .map_err(|fault| self.error(fault))?;
        Ok(text)
    }

    /// The texts of many symbols, in any order and repeated as they may be, in one pass over the table. If they take more
    /// than `most_bytes` together it is told what they take, and no more than `most_bytes` were held.
    pub fn symbols(
        &self,
        mut refs: Vec<u32>,
        most_bytes: u64,
    ) -> Result<std::result::Result<SymbolMap, TooLong>> {
        refs.sort_unstable();
        refs.dedup();
        let (mut map, mut bytes) = (SymbolMap::default(), 0u64);
        let admits = |length| {
            bytes = bytes.saturating_add(length);
            bytes <= most_bytes
        };
        self.symbols
            .resolve(&self.source, &refs, admits, |reference, text| {
                map.push(reference, text);
            })
            .map_err(|fault| self.error(fault))?;
        Ok(if bytes <= most_bytes {
            Ok(map)
        } else {
            Err(TooLong { bytes })
        })
    }

    /// Hands the text of each reference to `visit`, in the order given; ascending references are read in one pass.
    pub fn for_each_symbol(&self, refs: &[u32], visit: impl FnMut(u32, &str)) -> Result<()> {
        self.symbols
            .resolve(&self.source, refs, |_| true, visit)
            .map_err(|fault| self.error(fault))
    }

    /// Where the index has the postings list of `name` and `value`; `None` if it has none.
    ///
    /// The range begins at the list's length word and ends where the next list begins: it holds length, count,
    /// references and CRC, and at most a few bytes of padding. The number of series is therefore at most
    /// `(len - 12) / 4`.
    pub fn postings_range(&self, name: &str, value: &str) -> Result<Option<Range<u64>>> {
        let mut ranges = self.postings_ranges(name, [value])?;
        Ok(ranges.pop().flatten())
    }

    /// As [`IndexHeader::postings_range`] for many values of one label, one answer for each in the same order.
    /// Ascending values are found in one pass.
    pub fn postings_ranges<'v>(
        &self,
        name: &str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Result<Vec<Option<Range<u64>>>> {
        self.table
            .ranges(&self.source, name, values)
            .map_err(|fault| self.error(fault))
    }

    /// Where the index has the list of all its series; `None` if it has no series.
    pub fn all_postings_range(&self) -> Result<Option<Range<u64>>> {
        self.postings_range("", "")
    }

    /// The label names, ascending.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.table.names().filter(|name| !name.is_empty())
    }

    /// How many values `name` has; 0 if there is no such label.
    pub fn label_value_count(&self, name: &str) -> u32 {
        self.table.value_count(name)
    }

    /// Shows the values of `name` that begin with `prefix`, ascending, each with its postings range (see
    /// [`IndexHeader::postings_range`]), until `visit` breaks off.
    ///
    /// The empty name has one value, the empty one, unless the index has no series.
    pub fn for_each_value(
        &self,
        name: &str,
        prefix: &str,
        mut visit: impl FnMut(&str, Range<u64>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.table
            .for_each(&self.source, name, prefix, &mut visit)
            .map_err(|fault| self.error(fault))
    }

    fn scan(
        block: BlockId,
        name: String,
        source: Source,
        options: HeaderOptions,
        room: &dyn Room,
    ) -> Result<Self> {
        let mut ledger = Ledger::new(room);
        let parts = Layout::read(&source).and_then(|layout| {
            let symbols = Symbols::scan(&source, &layout, &mut ledger)?;
            let table = Table::scan(&source, &layout, options.value_sampling, &mut ledger)?;
            Ok((layout, symbols, table))
        });
        match parts {
            Ok((layout, symbols, table)) => Ok(Self {
                block,
                name,
                source,
                layout,
                symbols,
                table,
            }),
            Err(fault) => Err(BlockError::new(block, name, fault)),
        }
    }

    /// The same file under its final name.
    fn renamed(self, path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            ..self
        }
    }

    fn error(&self, fault: Fault) -> BlockError {
        BlockError::new(self.block, self.name.clone(), fault)
    }
}

impl From<Fault> for crate::Cause {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => Self::Local(error),
            Fault::Corrupt(corruption) => Self::Corrupt(corruption),
            Fault::NoMemory(bytes) => Self::NoMemory { bytes },
        }
    }
}
