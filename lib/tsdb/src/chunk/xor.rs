//! Chunks of floats: change of the change of the timestamp, and the bits in which a value differs from the
//! one before.
//!
//! | part | bits |
//! |---|---|
//! | number of samples | 16 |
//! | sample 0 | varint t, 64 bits v |
//! | sample 1 | uvarint t−t′, xor |
//! | later | dod, xor |
//!
//! dod: `0` · `10` + 14 bits · `110` + 17 · `1110` + 20 · `1111` + 64. xor: `0` the same value · `10` + the
//! bits of the last window · `11` + 5 bits leading zeros + 6 bits number of bits + those bits.

mod append;
mod decode;

#[cfg(test)]
mod tests;

pub use append::XorAppender;
pub use decode::{XorIter, decode, for_each};

/// What errors call these chunks.
pub(crate) const SECTION: &str = "xor chunk";
