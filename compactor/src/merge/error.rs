//! Why a job failed, as exactly as is known.

use std::io;
use std::path::PathBuf;

use sabre_block::BlockError;
use sabre_model::BlockId;
use sabre_runtime::budget::BudgetError;
use sabre_runtime::cpu::WorkPanicked;
use sabre_tsdb::index::IndexWriteError;

use crate::source::{Defect, SymbolsError};

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// A source could not be read, or is broken.
    #[error(transparent)]
    Source(BlockError),
    /// The index of a source breaks a rule.
    #[error("block {block}: index: {}: {what}", defect.as_str())]
    Unhealthy {
        block: BlockId,
        defect: Defect,
        /// Where, and what exactly.
        what: String,
    },
    /// The chunks of a series cannot be worked on: one of these blocks is broken inside.
    #[error("chunks of a series: {what}; they come from {}", list(blocks))]
    Chunks { blocks: Vec<BlockId>, what: String },
    /// The index of the result cannot be written.
    #[error("index of the result: {}", explained(.0))]
    Index(#[from] IndexWriteError),
    /// A local file cannot be written.
    #[error("{path}: {source}; the folder is set by --data-dir", path = path.display())]
    Local { path: PathBuf, source: io::Error },
    /// A result cannot be uploaded.
    #[error("upload: {0}")]
    Upload(BlockError),
    /// There is not enough memory for the least a job needs.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// The work panicked, which is a bug.
    #[error(transparent)]
    Panicked(#[from] WorkPanicked),
    /// The other side ended first; its error says why.
    #[error("the job was given up")]
    Closed,
    /// A chunk or a series that no file can hold.
    #[error("a result that cannot be written: {0}")]
    Unwritable(String),
}

impl From<BlockError> for JobError {
    fn from(error: BlockError) -> Self {
        Self::Source(error)
    }
}

impl From<SymbolsError> for JobError {
    fn from(error: SymbolsError) -> Self {
        match error {
            SymbolsError::Source(error) => Self::Source(error),
            SymbolsError::Write(error) => Self::Index(error),
        }
    }
}

/// The disk's own words, and where it is: the error of the index alone does not have them.
fn explained(error: &IndexWriteError) -> String {
    match error {
        IndexWriteError::Write(source) => {
            format!("{source}; it is written to a local file first, below --data-dir")
        }
        other => other.to_string(),
    }
}

fn list(blocks: &[BlockId]) -> String {
    let names: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    names.join(", ")
}
