//! Why an index cannot be written.

use std::io;

/// Why an index cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum IndexWriteError {
    /// The bytes could not be written.
    #[error("cannot write the index")]
    Write(#[from] io::Error),
    /// A label name or value that is not among the symbols.
    #[error("{0:?} is not among the symbols of the index")]
    UnknownSymbol(String),
    /// A symbol that is not greater than the one before.
    #[error("symbol {0:?} is not greater than the one before")]
    SymbolOrder(String),
    /// A series without labels, with labels that do not ascend by name, or with one that has no name.
    #[error("series {0} must have labels, all with a name, that ascend by it")]
    LabelOrder(String),
    /// Series that do not ascend by their labels.
    #[error("series {series} cannot come after {after}")]
    SeriesOrder {
        /// The series that came too late, or twice.
        series: String,
        /// The series before it.
        after: String,
    },
    /// A part of the index, or all of it, would be larger than references reach.
    #[error("{what} would pass {max_bytes} bytes, the most the format can refer to")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The most it may have.
        max_bytes: u64,
    },
}

impl IndexWriteError {
    pub(in crate::index) fn file_too_large(max_bytes: u64) -> Self {
        let what = "index";
        Self::TooLarge { what, max_bytes }
    }

    pub(in crate::index) fn section_too_large(what: &'static str) -> Self {
        let max_bytes = u64::from(u32::MAX);
        Self::TooLarge { what, max_bytes }
    }
}
