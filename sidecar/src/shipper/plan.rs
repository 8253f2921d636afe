//! Which local blocks are to go to the bucket: a value, decided without I/O.

use std::collections::BTreeSet;

use sabre_model::BlockId;

use super::scan::LocalBlocks;

/// What the operator asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Ship blocks that Prometheus compacted too (`--shipper.upload-compacted`).
    pub upload_compacted: bool,
    /// Do not check a compacted block for overlap with the bucket (`--shipper.allow-out-of-order-uploads`).
    pub allow_out_of_order: bool,
}

/// What happens to one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The state file says it is in the bucket.
    Keep,
    /// Not shipped, and not counted as shipped.
    Skip(SkipReason),
    /// Shipped unless the bucket has it.
    Ship {
        /// Blocks of the bucket with the same external labels must not overlap it.
        check_overlap: bool,
    },
}

/// Why a block is not shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// `stats.numSamples` is 0.
    Empty,
    /// Prometheus compacted it, and compacted blocks are not wanted.
    Compacted,
}

/// One step per block, in the order of the blocks: oldest first.
pub fn plan(local: &LocalBlocks, uploaded: &BTreeSet<BlockId>, policy: &Policy) -> Vec<(BlockId, Step)> {
    local
        .blocks
        .iter()
        .map(|block| {
            let compacted = block.meta.compaction.level > 1;
            let step = if uploaded.contains(&block.id) {
                Step::Keep
            } else if block.meta.stats.num_samples == 0 {
                Step::Skip(SkipReason::Empty)
            } else if compacted && !policy.upload_compacted {
                Step::Skip(SkipReason::Compacted)
            } else {
                Step::Ship {
                    check_overlap: compacted && !policy.allow_out_of_order,
                }
            };
            (block.id, step)
        })
        .collect()
}

/// Whether two half-open ranges `[min, max)` have an instant in common.
pub fn overlaps(a: (i64, i64), b: (i64, i64)) -> bool {
    a.0 < b.1 && b.0 < a.1
}
