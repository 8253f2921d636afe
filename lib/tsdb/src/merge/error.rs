//! Why chunks cannot be merged.

use crate::chunk::{AppendError, ChunkError};

/// Why the chunks of a series cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A chunk cannot be read.
    #[error("the chunk of {mint} to {maxt}: {source}")]
    Chunk {
        /// Start of the chunk, in milliseconds.
        mint: i64,
        /// End of the chunk, in milliseconds.
        maxt: i64,
        /// What is wrong with it.
        source: ChunkError,
    },
    /// A sample that was read cannot be written.
    #[error("a sample at {t} cannot be written")]
    Append {
        /// Time of the sample, in milliseconds.
        t: i64,
        /// Why.
        source: AppendError,
    },
    /// Chunks overlap where they must not.
    #[error("the chunk of {mint} to {maxt} overlaps another that ends at {other_maxt}")]
    Overlap {
        /// Start of the later chunk, in milliseconds.
        mint: i64,
        /// End of the later chunk, in milliseconds.
        maxt: i64,
        /// End of the chunk before.
        other_maxt: i64,
    },
    /// The chunks of a source are not in the order of time.
    #[error(
        "the chunk of {mint} to {maxt} of source {source_index} comes behind one that starts at {after_mint}"
    )]
    Unsorted {
        /// The source.
        source_index: usize,
        /// Start of the chunk, in milliseconds.
        mint: i64,
        /// End of the chunk, in milliseconds.
        maxt: i64,
        /// Start of the chunk before it.
        after_mint: i64,
    },
    /// A chunk of aggregates would have to be taken apart.
    #[error("the chunk of {mint} to {maxt} holds aggregates, which can only be deduplicated by penalty")]
    Aggregates {
        /// Start of the chunk, in milliseconds.
        mint: i64,
        /// End of the chunk, in milliseconds.
        maxt: i64,
    },
    /// The samples of a chunk do not belong in one chunk.
    #[error("what is left of the chunk of {mint} to {maxt} does not fit one chunk: its histograms fall")]
    Inconsistent {
        /// Start of the chunk, in milliseconds.
        mint: i64,
        /// End of the chunk, in milliseconds.
        maxt: i64,
    },
    /// Chunks of aggregates of histograms overlap.
    #[error("chunks of aggregates of histograms overlap in {mint} to {maxt}, which cannot be deduplicated")]
    HistogramAggregates {
        /// Start of the first, in milliseconds.
        mint: i64,
        /// End of the last, in milliseconds.
        maxt: i64,
    },
    /// More overlaps than is believed: it would take too much memory.
    #[error("more than {limit} chunks overlap one another at {mint}")]
    TooManyOverlaps {
        /// Start of the chunk that is one too many, in milliseconds.
        mint: i64,
        /// How many may overlap.
        limit: usize,
    },
    /// A chunk was given that was not asked for.
    #[error("a chunk of source {source_index} was not asked for")]
    Unasked {
        /// The source.
        source_index: usize,
    },
}
