//! The on-disk formats of a Prometheus block, read and written as bytes.

pub mod crc;
pub mod encoding;
mod error;
pub mod index;
pub mod meta;
pub mod postings;
pub mod tombstones;

pub use crc::crc32c;
pub use error::Corruption;
