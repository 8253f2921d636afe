//! What can be wrong with a `meta.json` or a marker file.

use super::json_path;

/// Why a `meta.json` is *corrupted* in the sense of Thanos.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The text is not JSON, or a value has the wrong type.
    #[error("meta.json cannot be read: {0}")]
    Json(JsonError),
    /// The version of the file is not 1.
    #[error("meta.json of version {found}: only version 1 is known")]
    Version {
        /// What the file says; 0 where it says nothing.
        found: i64,
    },
    /// The version of the `thanos` section is neither absent, 0 nor 1.
    #[error("meta.json with a thanos section of version {found}: only version 1 is known")]
    ThanosVersion {
        /// What the file says.
        found: i64,
    },
}

/// Why a marker file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// The text is not JSON, or a value has the wrong type. Thanos takes such a mark for absent.
    #[error("{file} cannot be read: {error}")]
    Json {
        /// Name of the marker file.
        file: &'static str,
        /// What is wrong, and where.
        error: JsonError,
    },
    /// The version is not 1. Thanos fails the whole sync.
    #[error("{file} of version {found}: only version 1 is known")]
    Version {
        /// Name of the marker file.
        file: &'static str,
        /// What the file says; 0 where it says nothing.
        found: i64,
    },
}

/// A JSON text that does not hold what it should, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (key {key:?}, line {line}, column {column})")]
pub struct JsonError {
    /// Path of the value, such as `thanos.files[2].size_bytes`; empty at the top level.
    pub key: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in bytes, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

impl JsonError {
    pub(super) fn new(text: &[u8], error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let what = message
            .strip_suffix(&format!(" at line {line} column {column}"))
            .unwrap_or(&message);
        Self {
            key: json_path::at(text, line, column),
            line,
            column,
            what: what.to_owned(),
        }
    }
}
