//! The index file of a block: symbols, series, postings, and how to find them.
//!
//! Versions 1 and 2 are read (3 as 2, whose layout it has); version 2 is written. The decoders of single parts
//! work on the bytes of that part, wherever they come from; [`IndexReader`] and [`IndexWriter`] put them together.
//!
//! | part | here |
//! |---|---|
//! | header, 5 bytes | [`Version`] |
//! | symbols | [`Symbols`], [`SymbolsBuilder`] |
//! | series | [`series`] |
//! | postings lists | [`PostingsList`] |
//! | postings offset table | [`OffsetTable`], [`PostingsTable`] |
//! | contents, the last 52 bytes | [`Toc`] |

mod frame;
#[doc(hidden)]
pub mod fuzz;
mod header;
mod offset_table;
mod postings_list;
mod postings_table;
mod reader;
pub mod series;
mod size_estimates;
mod source;
mod spilling;
mod symbols;
mod toc;
mod writer;

#[cfg(test)]
mod fixture;

pub use header::{HEADER_BYTES, MAGIC, Version};
pub use offset_table::{OffsetEntry, OffsetTable};
pub use postings_list::PostingsList;
pub use postings_table::PostingsTable;
pub use reader::{IndexError, IndexReader, SeriesCursor};
pub use series::{ChunkMeta, SeriesEntry, SeriesError};
pub use size_estimates::SizeEstimates;
pub use source::ByteSource;
pub use spilling::{ScratchFile, SpillingIndexWriter, SpillingSymbolsWriter};
pub use symbols::{Symbols, SymbolsBuilder};
pub use toc::{TOC_BYTES, Toc};
pub use writer::{IndexSummary, IndexWriteError, IndexWriter};

/// Name of the file in the folder of the block.
pub const INDEX_FILE_NAME: &str = "index";

/// The label name and value under which the postings list of all series is kept.
pub const ALL_POSTINGS_KEY: (&str, &str) = ("", "");
