//! The `thanos` section of `meta.json`.

use sabre_model::Labels;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rewrite::Rewrite;
use super::upload_time::UploadTime;
use super::wire::{UnknownKeys, is_zero, null_as_default};

/// [`ThanosMeta::source`] of a block that a sidecar uploaded.
pub const SOURCE_SIDECAR: &str = "sidecar";
/// [`ThanosMeta::source`] of a block that a compactor made.
pub const SOURCE_COMPACTOR: &str = "compactor";

/// What Thanos adds to the meta of a block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThanosMeta {
    /// Version of this section; 0 (absent) means 1. Thanos does not set it.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub version: i64,
    /// External labels; `None` is written as `null`.
    pub labels: Option<Labels>,
    /// How far apart the samples are.
    #[serde(deserialize_with = "null_as_default")]
    pub downsample: Downsample,
    /// Which component made the block, such as `sidecar` or `compactor`.
    #[serde(deserialize_with = "null_as_default")]
    pub source: String,
    /// Names of the files in `chunks/`, in the order that chunk references count them.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub segment_files: Vec<String>,
    /// All files of the block, sorted by path.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// What `tools bucket rewrite` did.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<Rewrite>,
    /// Sizes that tell a reader how much to fetch.
    #[serde(deserialize_with = "null_as_default")]
    pub index_stats: IndexStats,
    /// Whatever others keep here; compaction preserves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Value>,
    /// When the upload ended; the zero value where no one said.
    #[serde(deserialize_with = "null_as_default")]
    pub upload_time: UploadTime,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// How a block was downsampled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downsample {
    /// Milliseconds between samples: 0 (raw), 300,000 or 3,600,000.
    #[serde(deserialize_with = "null_as_default")]
    pub resolution: i64,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// A file of the block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    /// Path in the folder of the block, such as `chunks/000001`.
    #[serde(deserialize_with = "null_as_default")]
    pub rel_path: String,
    /// Size in bytes; 0 for `meta.json` itself.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    /// Hash of the content, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<FileHash>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// Hash of a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileHash {
    /// Name of the function: `SHA256`.
    #[serde(rename = "hashFunc", deserialize_with = "null_as_default")]
    pub func: String,
    /// The hash in hexadecimal.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// Upper bounds that were measured when the block was written; 0 means unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexStats {
    /// Bytes of the largest series entry of the index, with its padding.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub series_max_size: i64,
    /// Bytes of the largest chunk record.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub chunk_max_size: i64,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}
