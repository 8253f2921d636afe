//! `meta.json` of a block, and the marker files beside it.
//!
//! Reading is as lenient as Go's JSON package: keys that are missing or `null` take their zero value, and keys
//! that are not known are kept, at every level, and written again. Writing gives the bytes Go gives.

mod block;
mod error;
mod go_json;
mod json_path;
mod mark;
mod rewrite;
mod thanos;
mod upload_time;
mod wire;

#[cfg(test)]
mod tests;

pub use block::{BlockDesc, BlockMeta, Compaction, META_FILE_NAME, Stats};
pub use error::{JsonError, MarkError, MetaError};
pub use mark::{DeletionMark, NoCompactMark, NoCompactReason, NoDownsampleMark};
pub use rewrite::{DeletionRequest, Interval, MatcherRecord, Rewrite};
pub use thanos::{Downsample, File, FileHash, IndexStats, SOURCE_COMPACTOR, SOURCE_SIDECAR, ThanosMeta};
pub use upload_time::UploadTime;
pub use wire::UnknownKeys;
