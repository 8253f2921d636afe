//! What `tools bucket rewrite` notes in the meta of a block it made.

use sabre_model::BlockId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::{UnknownKeys, block_ids, empty_as_null, is_zero, null_as_default};

/// One rewrite.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// Blocks that were rewritten.
    #[serde(deserialize_with = "block_ids", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<BlockId>,
    /// Deletions, in the order they were applied.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub deletions_applied: Vec<DeletionRequest>,
    /// Relabel configurations, in the order they were applied, as Go wrote them.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub relabels_applied: Vec<Value>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// Series, and ranges of their time, that were deleted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletionRequest {
    /// All of them must match a series.
    #[serde(deserialize_with = "null_as_default", serialize_with = "empty_as_null")]
    pub matchers: Vec<MatcherRecord>,
    /// Closed time ranges; none means all time.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
    /// Who asked.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub request_id: String,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// A label matcher as Go's encoder shows the struct.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MatcherRecord {
    /// 0 `=`, 1 `!=`, 2 `=~`, 3 `!~`.
    #[serde(deserialize_with = "null_as_default")]
    pub r#type: i64,
    /// Label name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Value or regular expression.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}

/// A closed range of milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Interval {
    /// First millisecond.
    #[serde(deserialize_with = "null_as_default")]
    pub mint: i64,
    /// Last millisecond.
    #[serde(deserialize_with = "null_as_default")]
    pub maxt: i64,
    /// Keys of later versions.
    #[serde(flatten)]
    pub unknown: UnknownKeys,
}
