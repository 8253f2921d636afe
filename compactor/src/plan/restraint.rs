//! What is left alone, whatever the policy says.

use std::collections::BTreeSet;

use sabre_model::BlockId;

/// What planners leave alone. The loop and every plan that is shown have the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restraint {
    /// Blocks that are not compacted: marked, found broken, without a file, or not clear.
    pub not_compacted: BTreeSet<BlockId>,
    /// Blocks that are not downsampled, for the same reasons.
    pub not_downsampled: BTreeSet<BlockId>,
    /// Those of them from which no aggregate will ever be: a mark says so, or nothing would be in it.
    pub never_downsampled: BTreeSet<BlockId>,
    /// Blocks whose marks could not be read: retention leaves them for later.
    pub not_retained: BTreeSet<BlockId>,
    /// Blocks that may be gone or of no use soon: marked for deletion, found broken, without a file, of another size than
    /// they should have, not clear, or kept out of work by somebody and not read since. No raw data goes because they hold
    /// its aggregate.
    pub not_relied_on: BTreeSet<BlockId>,
    /// Blocks that a mark keeps out of compaction.
    pub marked_no_compact: BTreeSet<BlockId>,
    /// Blocks that are marked for deletion.
    pub marked_for_deletion: BTreeSet<BlockId>,
    /// Whether nothing is downsampled for the time being: a block that could not be read just now may be the result.
    pub holds_aggregates: bool,
    /// Whether gaps may be where a block belongs of which nothing is known: see [`Group`](super::Group).
    pub holds_gaps: bool,
}
