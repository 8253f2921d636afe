//! Caches: memcached and redis shared by a fleet, memory of this process, and a bucket whose reads are cached.
//!
//! A cache may be away, slow, empty or wrong, and nobody who asks it may notice but by the time it takes: failures are
//! misses, values are bounded and charged to a byte budget, and writing never waits. What a value means, and whether it
//! is true, is the asker's to check.
//!
//! | question | here |
//! |---|---|
//! | what is a cache that others share | [`RemoteCache`] |
//! | which server has a key | `select`, `addresses`, and [`sabre_runtime::discovery`] |
//! | how does one talk to it | `wire`, `memcached`, `redis`, `reads` (many keys at once) |
//! | what if it does not answer | `pool` (reading), `breaker` (writing), `writer` (never waiting) |
//! | what do the documents of Thanos say | [`config`] |
//! | how are reads of a bucket cached | [`CachingBucket`] |

mod addresses;
mod breaker;
mod bucket;
pub mod config;
#[doc(hidden)]
pub mod fuzz;
mod memcached;
mod memory;
mod metrics;
mod pool;
mod reads;
mod redis;
mod remote;
mod select;
mod wire;
mod writer;

pub use bucket::{CachingBucket, CachingConfig};
pub use memcached::MemcachedClient;
pub use memory::MemoryCache;
pub use redis::RedisClient;
pub use remote::{Hits, RemoteCache, SharedCache};
