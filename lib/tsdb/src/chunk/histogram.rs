//! Chunks of native histograms, with integer counts and with float counts.
//!
//! | part | bits |
//! |---|---|
//! | number of samples | 16 |
//! | flag | 2 + 6 zeros |
//! | layout | zero threshold, schema, spans, custom bounds |
//! | sample 0 | t, count, zero count, sum, buckets |
//! | later | change of the change of integers, xor of floats |
//!
//! A chunk has one layout. A histogram with more buckets makes the chunk be written again in a wider one; one
//! whose counts fell, or that differs in what a bucket means, begins the next chunk. [`HistogramAppender`]
//! decides that as Prometheus does.

mod append;
mod codec;
mod diff;
mod encode;
mod header;
mod layout;
mod read;
mod sample;
mod state;

#[cfg(test)]
mod tests;

pub use append::{Appended, HistogramAppender};
pub use codec::Codec;
pub use diff::MAX_BUCKET_INDEX;
pub use header::header_flag;
pub use read::{HistogramIter, SharedHistogramIter};
pub use sample::HistogramSample;

/// What errors call these chunks.
pub(crate) const SECTION: &str = "histogram chunk";

/// Number of samples and flag.
const HEADER_BYTES: usize = 3;
