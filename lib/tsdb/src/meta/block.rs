//! The top level of `meta.json`: what Prometheus writes.

use std::io;

use sabre_model::{BlockId, Labels};
use serde::{Deserialize, Serialize};

use super::error::{JsonError, MetaError};
use super::go_json;
use super::thanos::ThanosMeta;
use super::wire::{UnknownKeys, block_id, block_ids, empty_as_null, is_zero, null_as_default};

/// Name of the file in the folder of the block.
pub const META_FILE_NAME: &str = "meta.json";

/// The only version of `meta.json` there is.
const VERSION: i64 = 1;

/// What is known of a block without reading its data.
///
/// `Default` has version 1 and everything else zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// Name of the block. All zeros where the file does not say it; the name of the folder is the authority.
    #[serde(default, deserialize_with = "block_id")]
    pub ulid: BlockId,
    /// First millisecond of the block's time range.
    #[serde(default, deserialize_with = "null_as_default")]
    pub min_time: i64,
    /// First millisecond after the block's time range.
    #[serde(default, deserialize_with = "null_as_default")]
    pub max_time: i64,
    /// How much the block holds.
    #[serde(default, deserialize_with = "null_as_default")]
    pub stats: Stats,
    /// Where the block comes from.
    #[serde(default, deserialize_with = "null_as_default")]
    pub compaction: Compaction,
    /// Version of the file; 1 after parsing.
    #[serde(default, deserialize_with = "null_as_default")]
    pub version: i64,
    /// What Thanos adds; absent in blocks that were never uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thanos: Option<ThanosMeta>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// Counts of what a block holds.
///
/// Downsampling recomputes samples, series and chunks only; the other counts of such a block are those of its source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Samples of all kinds.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Samples that are floats.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Samples that are native histograms.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted ranges.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// The history of a block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    /// How often the data was compacted; 1 for a block cut from the head.
    #[serde(deserialize_with = "null_as_default")]
    pub level: i64,
    /// Blocks of level 1 that the data came from; a block of level 1 names itself.
    #[serde(deserialize_with = "block_ids", serialize_with = "empty_as_null")]
    pub sources: Vec<BlockId>,
    /// Whether compaction found nothing in it.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub deletable: bool,
    /// Blocks this one was directly made from.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<BlockDesc>,
    /// Whether a compaction of it failed.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub failed: bool,
    /// How the block came to be, such as `from-out-of-order`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// Name and time range of another block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockDesc {
    /// Name of the block.
    #[serde(deserialize_with = "block_id")]
    pub ulid: BlockId,
    /// First millisecond of its time range.
    #[serde(deserialize_with = "null_as_default")]
    pub min_time: i64,
    /// First millisecond after its time range.
    #[serde(deserialize_with = "null_as_default")]
    pub max_time: i64,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

impl Default for BlockMeta {
    fn default() -> Self {
        Self {
            ulid: BlockId::default(),
            min_time: 0,
            max_time: 0,
            stats: Stats::default(),
            compaction: Compaction::default(),
            version: VERSION,
            thanos: None,
            unknown: UnknownKeys::new(),
        }
    }
}

impl BlockMeta {
    /// Reads a `meta.json`.
    ///
    /// Fails for text that is not JSON, values of a wrong type, and versions other than 1 (of the `thanos`
    /// section: other than 0 and 1).
    pub fn parse(text: &[u8]) -> Result<Self, MetaError> {
        let meta: Self = match serde_json::from_slice(text) {
            Ok(meta) => meta,
            Err(error) => return Err(probe_version(text, &error)),
        };
        if meta.version != VERSION {
            return Err(MetaError::Version { found: meta.version });
        }
        match meta.thanos.as_ref().map_or(0, |thanos| thanos.version) {
            0 | VERSION => Ok(meta),
            found => Err(MetaError::ThanosVersion { found }),
        }
    }

    /// Writes the file as Go does: keys in their order, tabs, a newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        go_json::to_indented(self)
    }

    /// Writes the same on one line, without white space, as Thanos shows blocks over HTTP: there the `thanos` section
    /// is never absent.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json_line(&self, out: impl io::Write) -> io::Result<()> {
        if self.thanos.is_some() {
            return go_json::write_compact(self, out);
        }
        let whole = Self {
            thanos: Some(ThanosMeta::default()),
            ..self.clone()
        };
        go_json::write_compact(&whole, out)
    }

    /// The external labels; none for a block without a `thanos` section.
    pub fn ext_labels(&self) -> Labels {
        let thanos = self.thanos.as_ref();
        thanos
            .and_then(|thanos| thanos.labels.clone())
            .unwrap_or_default()
    }

    /// Milliseconds between downsampled samples; 0 for raw data.
    pub fn resolution_ms(&self) -> i64 {
        self.thanos
            .as_ref()
            .map_or(0, |thanos| thanos.downsample.resolution)
    }

    /// Names the group of blocks that may be compacted together: `<resolution>@<hash of the external labels>`.
    pub fn group_key(&self) -> String {
        sabre_model::group_key(self.resolution_ms(), &self.ext_labels())
    }

    /// When the upload ended, in milliseconds since the epoch, where the file says so.
    pub fn upload_time_ms(&self) -> Option<i64> {
        let time = self.thanos.as_ref()?.upload_time;
        (!time.is_zero()).then(|| time.unix_ms())
    }
}

/// A file of another version may well have other types: then the version is the better message.
fn probe_version(text: &[u8], error: &serde_json::Error) -> MetaError {
    #[derive(Deserialize)]
    struct Probe {
        version: i64,
    }
    match serde_json::from_slice::<Probe>(text) {
        Ok(Probe { version }) if version != VERSION => MetaError::Version { found: version },
        _ => MetaError::Json(JsonError::new(text, error)),
    }
}
