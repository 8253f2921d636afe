//! One thing that is to be done to a bucket.

use sabre_model::BlockId;
use sabre_objstore::PendingUpload;

use super::block::BlockInfo;
use super::downsample::DownsamplePlan;
use super::guard::{CompactionPlan, NewMark, Overlap};
use super::retention::Kept;

/// Why a block is marked for deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkReason {
    /// It is past the retention of its resolution, in milliseconds.
    Retention(i64),
    /// Another block has all its sources.
    Garbage,
}

/// One thing that is to be done.
#[derive(Debug, Clone)]
pub enum Action {
    /// Blocks become one.
    Compact {
        /// The group, as people know it.
        group: String,
        /// The blocks.
        plan: CompactionPlan,
        /// Which of the group's compactions it is, from 0: later ones work on results of earlier ones.
        step: usize,
    },
    /// A block is kept out of compaction.
    MarkNoCompact(NewMark),
    /// Blocks that overlap are left alone.
    LeaveOverlap {
        /// The group, as people know it.
        group: String,
        /// The blocks.
        overlap: Overlap,
    },
    /// A block is downsampled.
    Downsample(DownsamplePlan),
    /// A block is marked for deletion.
    MarkForDeletion {
        /// The block.
        block: BlockId,
        /// Bytes of it.
        size_bytes: u64,
        /// Why.
        reason: MarkReason,
    },
    /// A block past its time waits for an aggregate.
    Wait(Kept),
    /// A block that was found broken is left alone.
    Avoid {
        /// The block.
        block: BlockInfo,
        /// What was found.
        why: String,
        /// When it is tried again, in milliseconds since the epoch.
        until_ms: i64,
    },
    /// Nobody can tell where a block belongs, or what marks it has: it is left alone, and so is each gap it may fill.
    LeaveUnclear {
        /// The block.
        block: BlockId,
        /// Bytes of it.
        size_bytes: u64,
        /// What was found.
        why: String,
    },
    /// A marked block is deleted.
    Delete {
        /// The block.
        block: BlockId,
        /// Bytes of it.
        size_bytes: u64,
        /// The time of its mark, in milliseconds since the epoch.
        marked_ms: i64,
    },
    /// An upload that was given up is deleted.
    DeletePartial {
        /// The block.
        block: BlockId,
        /// Bytes of it.
        size_bytes: u64,
        /// Its last change, in milliseconds since the epoch.
        changed_ms: i64,
    },
    /// A multipart upload that was given up is aborted.
    AbortUpload(PendingUpload),
}
