//! Why a series cannot be downsampled.

use sabre_tsdb::chunk::{AppendError, ChunkError};

/// Why a series cannot be downsampled: something is wrong with the block it comes from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownsampleError {
    /// Chunks overlap or are not in order.
    #[error("the chunk of {mint} to {maxt} overlaps the one before, which ends at {other_maxt}")]
    Overlap {
        /// Start of the chunk, in milliseconds.
        mint: i64,
        /// End of the chunk, in milliseconds.
        maxt: i64,
        /// End of the chunk before it.
        other_maxt: i64,
    },
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
    /// A window cannot be written.
    #[error("the window that ends at {t} cannot be written")]
    Append {
        /// End of the window, in milliseconds.
        t: i64,
        /// Why.
        source: AppendError,
    },
    /// Histograms with given bounds and those with exponential ones cannot be added.
    #[error("histograms with custom buckets and with exponential ones are mixed before {t}")]
    MixedBuckets {
        /// Time of a histogram that does not fit those before it, in milliseconds.
        t: i64,
    },
    /// An aggregate is not encoded as it has to be.
    #[error("an aggregate of the chunk of {mint} to {maxt} is of another kind than the others")]
    MixedAggregates {
        /// Start of the chunk, in milliseconds.
        mint: i64,
        /// End of the chunk, in milliseconds.
        maxt: i64,
    },
    /// The series has more windows than a block can have.
    #[error("the aggregates take more than {limit_bytes} bytes")]
    TooLarge {
        /// The most bytes of chunks that one series may give.
        limit_bytes: usize,
    },
    /// The series was not the same when it was read again.
    #[error("the series was not the same when it was read again")]
    Changed,
}
