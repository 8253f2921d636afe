//! Chunks: runs of samples of one series, each encoding in its own module.
//!
//! A chunk here is its data alone, without the length, encoding byte and checksum that surround it in a
//! segment file (see [`crate::segment`]).

pub mod aggregate;
mod encoding;
pub mod histogram;
mod samples;
pub mod xor;

pub use encoding::{Encoding, UnsupportedEncoding};
pub use samples::{ChunkEncoder, EncodedChunk, Sample, Value, decode_samples, encode_stream};

use crate::error::Corruption;

/// The most samples a chunk can count.
pub const MAX_SAMPLES: u16 = u16::MAX;

/// The number of samples at which Prometheus and Thanos begin a new chunk.
pub const SAMPLES_PER_CHUNK: u16 = 120;

/// Why a chunk's samples cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The bytes are not what the encoding says.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The encoding is not one of those read here.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedEncoding),
    /// The chunk holds up to five chunks rather than samples.
    #[error("an aggregate chunk has no samples of its own: read one of its aggregates")]
    Aggregate,
}

/// Why a sample cannot be appended to any chunk, or not to this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The chunk counts as many samples as it can.
    #[error("chunk is full: it holds 65535 samples")]
    Full,
    /// The spans of a histogram announce another number of buckets than it has.
    #[error("histogram spans announce {announced} buckets, {present} are there")]
    BucketCount {
        /// The sum of the span lengths of one side.
        announced: u64,
        /// The number of buckets of that side.
        present: u64,
    },
    /// The spans of a histogram overlap, or reach buckets that no schema has.
    #[error("histogram spans are not ascending, or are beyond bucket {limit}", limit = histogram::MAX_BUCKET_INDEX)]
    Spans,
    /// The chunk under construction cannot be read back to be given more buckets.
    #[error("the chunk begun cannot be read back: {0}")]
    Recode(#[from] Corruption),
}

/// Reads from the header how many samples a chunk has, without decoding them.
pub fn num_samples(encoding: Encoding, data: &[u8]) -> Result<u16, Corruption> {
    match encoding {
        Encoding::Xor => header_count(xor::SECTION, data),
        Encoding::Histogram | Encoding::FloatHistogram => header_count(histogram::SECTION, data),
        Encoding::Aggregate => aggregate::AggregateChunk::parse(data)?.num_samples(),
    }
}

/// The number of samples, which every encoding but that of aggregates has up front.
fn header_count(section: &'static str, data: &[u8]) -> Result<u16, Corruption> {
    let count = data.first_chunk::<2>().copied().map(u16::from_be_bytes);
    count.ok_or_else(|| Corruption::short(section, 0, 2, data.len() as u64))
}
