//! The on-disk formats of a Prometheus block, read and written as bytes.

mod bits;
pub mod chunk;
pub mod crc;
pub mod encoding;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod histogram;
pub mod index;
pub mod merge;
pub mod meta;
pub mod postings;
pub mod segment;
pub mod stale;
pub mod tombstones;

pub use crc::crc32c;
pub use error::Corruption;
