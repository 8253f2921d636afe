//! Why a tool could not do what it was told.

use std::io;

use sabre_block::BlockError;
use sabre_block::fetcher::SyncError;
use sabre_model::relabel::RelabelError;
use sabre_objstore::config::ConfigError;
use sabre_runtime::flags::{ContentError, FlagError};
use sabre_runtime::yaml::YamlError;

/// Why a tool could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// A flag.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A document that a flag names.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A document that cannot be understood.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// Rules that cannot select blocks.
    #[error("--selector.relabel-config: {0}")]
    Relabel(#[from] RelabelError),
    /// The bucket cannot be opened.
    #[error("--objstore.config: {0}")]
    Objstore(#[from] ConfigError),
    /// The bucket cannot be listed.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// A block.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A request.
    #[error(transparent)]
    Bucket(#[from] sabre_objstore::Error),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
    /// It took longer than it may.
    #[error("not done within {0} s, ask for more by --timeout")]
    Timeout(u64),
    /// Something was found that an operator has to look at.
    #[error("{0}")]
    Found(String),
    /// A flag asks for something that cannot be.
    #[error("--{flag}: {what}")]
    Unusable {
        /// The flag.
        flag: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
}
