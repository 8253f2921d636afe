//! Marker files beside `meta.json`: orders to the compactor that live in the bucket only.

use std::fmt;

use sabre_model::BlockId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{JsonError, MarkError};
use super::go_json;
use super::wire::{block_id, is_zero, null_as_default};

/// The only version of marker files there is.
const VERSION: i64 = 1;

/// Asks for the deletion of a block, after a delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionMark {
    /// The block; all zeros where the file does not say it.
    pub id: BlockId,
    /// Why, for people.
    pub details: String,
    /// When the mark was set, in seconds since the epoch.
    pub deletion_time_s: i64,
}

/// Keeps a block out of compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCompactMark {
    /// The block; all zeros where the file does not say it.
    pub id: BlockId,
    /// Why, for people.
    pub details: String,
    /// When the mark was set, in seconds since the epoch.
    pub no_compact_time_s: i64,
    /// Why, for programs.
    pub reason: NoCompactReason,
}

/// Keeps a block out of downsampling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoDownsampleMark {
    /// The block; all zeros where the file does not say it.
    pub id: BlockId,
    /// Why, for people.
    pub details: String,
    /// When the mark was set, in seconds since the epoch.
    pub no_downsample_time_s: i64,
    /// Why, for programs: `manual` in all that Thanos writes.
    pub reason: String,
}

/// Why a block is not to be compacted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NoCompactReason {
    /// A person said so.
    Manual,
    /// The index of the result would be too large.
    IndexSizeExceeding,
    /// The index has series whose chunks are not in the order of time.
    OutOfOrderChunk,
    /// Blocks of downsampled data overlap.
    DownsampleVerticalCompaction,
    /// A reason of another version; empty where the file says none.
    Other(String),
}

impl DeletionMark {
    /// Name of the file in the folder of the block.
    pub const FILE_NAME: &str = "deletion-mark.json";

    /// Reads the file. A text that is broken and a version that is unknown are errors of different kinds.
    pub fn parse(text: &[u8]) -> Result<Self, MarkError> {
        let wire: DeletionWire = parse(Self::FILE_NAME, text)?;
        check_version(Self::FILE_NAME, wire.version)?;
        Ok(Self {
            id: wire.id,
            details: wire.details,
            deletion_time_s: wire.deletion_time,
        })
    }

    /// Writes the file as Go does: one line without a newline.
    pub fn to_json(&self) -> Vec<u8> {
        go_json::to_compact(&DeletionWire {
            id: self.id,
            version: VERSION,
            details: self.details.clone(),
            deletion_time: self.deletion_time_s,
        })
    }
}

impl NoCompactMark {
    /// Name of the file in the folder of the block.
    pub const FILE_NAME: &str = "no-compact-mark.json";

    /// Reads the file. A text that is broken and a version that is unknown are errors of different kinds.
    pub fn parse(text: &[u8]) -> Result<Self, MarkError> {
        let wire: NoCompactWire = parse(Self::FILE_NAME, text)?;
        check_version(Self::FILE_NAME, wire.version)?;
        Ok(Self {
            id: wire.id,
            details: wire.details,
            no_compact_time_s: wire.no_compact_time,
            reason: NoCompactReason::from(wire.reason),
        })
    }

    /// Writes the file as Go does: one line without a newline.
    pub fn to_json(&self) -> Vec<u8> {
        go_json::to_compact(&NoCompactWire {
            id: self.id,
            version: VERSION,
            details: self.details.clone(),
            no_compact_time: self.no_compact_time_s,
            reason: self.reason.to_string(),
        })
    }
}

impl NoDownsampleMark {
    /// Name of the file in the folder of the block.
    pub const FILE_NAME: &str = "no-downsample-mark.json";
    /// The only reason that Thanos writes.
    pub const REASON_MANUAL: &str = "manual";

    /// Reads the file. A text that is broken and a version that is unknown are errors of different kinds.
    pub fn parse(text: &[u8]) -> Result<Self, MarkError> {
        let wire: NoDownsampleWire = parse(Self::FILE_NAME, text)?;
        check_version(Self::FILE_NAME, wire.version)?;
        Ok(Self {
            id: wire.id,
            details: wire.details,
            no_downsample_time_s: wire.no_downsample_time,
            reason: wire.reason,
        })
    }

    /// Writes the file as Go does: one line without a newline.
    pub fn to_json(&self) -> Vec<u8> {
        go_json::to_compact(&NoDownsampleWire {
            id: self.id,
            version: VERSION,
            details: self.details.clone(),
            no_downsample_time: self.no_downsample_time_s,
            reason: self.reason.clone(),
        })
    }
}

impl From<String> for NoCompactReason {
    fn from(reason: String) -> Self {
        match reason.as_str() {
            "manual" => Self::Manual,
            "index-size-exceeding" => Self::IndexSizeExceeding,
            "block-index-out-of-order-chunk" => Self::OutOfOrderChunk,
            "downsample-vertical-compaction" => Self::DownsampleVerticalCompaction,
            _ => Self::Other(reason),
        }
    }
}

impl fmt::Display for NoCompactReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Manual => "manual",
            Self::IndexSizeExceeding => "index-size-exceeding",
            Self::OutOfOrderChunk => "block-index-out-of-order-chunk",
            Self::DownsampleVerticalCompaction => "downsample-vertical-compaction",
            Self::Other(reason) => reason,
        })
    }
}

/// `deletion-mark.json` key by key, in the order Go writes them.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct DeletionWire {
    #[serde(deserialize_with = "block_id")]
    id: BlockId,
    #[serde(deserialize_with = "null_as_default")]
    version: i64,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    details: String,
    #[serde(deserialize_with = "null_as_default")]
    deletion_time: i64,
}

/// `no-compact-mark.json`, likewise.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct NoCompactWire {
    #[serde(deserialize_with = "block_id")]
    id: BlockId,
    #[serde(deserialize_with = "null_as_default")]
    version: i64,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    details: String,
    #[serde(deserialize_with = "null_as_default")]
    no_compact_time: i64,
    #[serde(deserialize_with = "null_as_default")]
    reason: String,
}

/// `no-downsample-mark.json`, likewise.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct NoDownsampleWire {
    #[serde(deserialize_with = "block_id")]
    id: BlockId,
    #[serde(deserialize_with = "null_as_default")]
    version: i64,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    details: String,
    #[serde(deserialize_with = "null_as_default")]
    no_downsample_time: i64,
    #[serde(deserialize_with = "null_as_default")]
    reason: String,
}

fn parse<T: DeserializeOwned>(file: &'static str, text: &[u8]) -> Result<T, MarkError> {
    serde_json::from_slice(text).map_err(|error| MarkError::Json {
        file,
        error: JsonError::new(text, &error),
    })
}

fn check_version(file: &'static str, found: i64) -> Result<(), MarkError> {
    match found {
        VERSION => Ok(()),
        found => Err(MarkError::Version { file, found }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn id() -> BlockId {
        BlockId::parse(ULID).unwrap()
    }

    #[test]
    fn marks_are_one_line_with_the_keys_of_go() {
        let deletion = DeletionMark {
            id: id(),
            details: "source of <compacted> block".to_owned(),
            deletion_time_s: 1_767_225_600,
        };
        assert_eq!(
            String::from_utf8(deletion.to_json()).unwrap(),
            format!(
                r#"{{"id":"{ULID}","version":1,"details":"source of \u003ccompacted\u003e block","deletion_time":1767225600}}"#
            )
        );
        let no_compact = NoCompactMark {
            id: id(),
            details: String::new(),
            no_compact_time_s: 5,
            reason: NoCompactReason::IndexSizeExceeding,
        };
        assert_eq!(
            String::from_utf8(no_compact.to_json()).unwrap(),
            format!(r#"{{"id":"{ULID}","version":1,"no_compact_time":5,"reason":"index-size-exceeding"}}"#),
            "empty details are left out"
        );
        let no_downsample = NoDownsampleMark {
            id: id(),
            details: String::new(),
            no_downsample_time_s: 6,
            reason: NoDownsampleMark::REASON_MANUAL.to_owned(),
        };
        assert_eq!(
            String::from_utf8(no_downsample.to_json()).unwrap(),
            format!(r#"{{"id":"{ULID}","version":1,"no_downsample_time":6,"reason":"manual"}}"#)
        );
        assert_eq!(DeletionMark::parse(&deletion.to_json()), Ok(deletion));
        assert_eq!(NoCompactMark::parse(&no_compact.to_json()), Ok(no_compact));
        assert_eq!(
            NoDownsampleMark::parse(&no_downsample.to_json()),
            Ok(no_downsample)
        );
    }

    #[test]
    fn a_broken_mark_and_a_mark_of_another_version_are_different_errors() {
        for broken in ["", "{", "[]x", r#"{"version":1,"deletion_time":"now"}"#] {
            let error = DeletionMark::parse(broken.as_bytes()).unwrap_err();
            assert!(matches!(error, MarkError::Json { .. }), "{broken}: {error}");
        }
        for (text, found) in [("{}", 0), (r#"{"version":2,"id":null}"#, 2)] {
            let file = DeletionMark::FILE_NAME;
            let error = DeletionMark::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, MarkError::Version { file, found });
        }
    }

    #[test]
    fn a_wrong_type_beside_a_wrong_version_counts_as_broken_as_in_thanos() {
        let error = NoCompactMark::parse(br#"{"version":2,"reason":7}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-compact-mark.json cannot be read: invalid type: integer `7`, expected a string \
             (key \"reason\", line 1, column 23)"
        );
    }

    #[test]
    fn reasons_of_other_versions_are_kept() {
        let text =
            format!(r#"{{"id":"{ULID}","version":1,"no_compact_time":5,"reason":"moon phase","x":1}}"#);
        let mark = NoCompactMark::parse(text.as_bytes()).unwrap();
        assert_eq!(mark.reason, NoCompactReason::Other("moon phase".to_owned()));
        assert_eq!(mark.reason.to_string(), "moon phase");
    }

    proptest! {
        #[test]
        fn any_details_round_trip(details: String, deletion_time_s: i64) {
            let mark = DeletionMark { id: id(), details, deletion_time_s };
            prop_assert_eq!(DeletionMark::parse(&mark.to_json()), Ok(mark));
        }
    }
}
