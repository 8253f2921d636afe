//! A cache outside of the process.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

/// A cache that is shared between tasks.
pub type SharedCache = Arc<dyn RemoteCache>;

/// The values that were found, by key.
pub type Hits = HashMap<String, Bytes>;

/// A cache that can be away, slow, empty or wrong.
#[async_trait]
pub trait RemoteCache: Send + Sync + fmt::Debug {
    /// What messages and metrics call it.
    fn name(&self) -> &str;

    /// The values of `keys` that are there, whatever they are worth. Whatever goes wrong is a miss.
    async fn get_multi(&self, keys: &[String]) -> Hits;

    /// Writes a value some time soon, or not at all; never waits.
    fn set_later(&self, key: String, value: Bytes, ttl: Duration);
}
