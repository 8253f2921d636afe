//! memcached by its text protocol.

mod client;
mod protocol;

pub use client::MemcachedClient;

/// For fuzzing.
pub(crate) use protocol::{get as fuzz_get, set as fuzz_set};
