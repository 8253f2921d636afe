//! A cache in this process whose values grow old.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};
use sabre_runtime::{
    budget::{Budget, Reservation},
    metrics::{Counter, Registry},
};
use tokio::time::Instant;

use crate::{
    config::MemoryConfig,
    remote::{Hits, RemoteCache},
};

/// What an entry takes besides key and value.
const ENTRY_BYTES: u64 = 160;

/// Of a small budget a cache gets at most this part.
const BUDGET_PART: u64 = 4;

/// Keeps what was used lately, within its size.
pub struct MemoryCache {
    name: String,
    entries: Cache<String, Entry, Weight>,
    max_item_bytes: u64,
    requests: Counter,
    hits: Counter,
    expired: Counter,
    overflowed: Counter,
    added: Counter,
    _memory: Option<Reservation>,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    until: Instant,
}

#[derive(Clone, Copy)]
struct Weight;

impl Weighter<String, Entry> for Weight {
    fn weight(&self, key: &String, entry: &Entry) -> u64 {
        (key.len() as u64)
            .saturating_add(entry.value.len() as u64)
            .saturating_add(ENTRY_BYTES)
    }
}

impl MemoryCache {
    /// Takes its size from `budget`, of which it gets no more than a part.
    pub fn new(name: &str, config: &MemoryConfig, budget: &Budget, registry: &Registry) -> Self {
        let wanted = config.max_size.0.min(budget.limit_bytes() / BUDGET_PART);
        if wanted < config.max_size.0 {
            tracing::info!(
                name,
                size_bytes = wanted,
                "the cache is smaller than asked for, to fit the memory budget"
            );
        }
        let memory = budget.try_reserve(wanted);
        let capacity = memory.as_ref().map_or(0, Reservation::bytes);
        let counter = |short: &str, help: &str| {
            let full = format!("thanos_cache_inmemory_{short}");
            registry.counters(&full, help, ["name"]).with([name])
        };
        registry
            .gauges(
                "thanos_cache_inmemory_max_size_bytes",
                "Most bytes of the cache in memory",
                ["name"],
            )
            .with([name])
            .set(i64::try_from(capacity).unwrap_or(i64::MAX));
        let items = usize::try_from(capacity / 8192)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 20);
        Self {
            name: name.to_owned(),
            entries: Cache::with_weighter(items, capacity, Weight),
            max_item_bytes: config.max_item_size.0,
            requests: counter("requests_total", "Items asked of the cache in memory"),
            hits: counter("hits_total", "Items found in the cache in memory"),
            expired: counter(
                "hits_on_expired_data_total",
                "Items found in the cache in memory that were too old",
            ),
            overflowed: counter(
                "items_overflowed_total",
                "Items too large for the cache in memory",
            ),
            added: counter("items_added_total", "Items added to the cache in memory"),
            _memory: memory,
        }
    }
}

#[async_trait]
impl RemoteCache for MemoryCache {
    fn name(&self) -> &str {
        &self.name
    }

    async fn get_multi(&self, keys: &[String]) -> Hits {
        let now = Instant::now();
        self.requests.inc_by(keys.len() as u64);
        let mut hits = Hits::new();
        for key in keys {
            let Some(Entry { value, until }) = self.entries.get(key) else {
                continue;
            };
            if until <= now {
                self.expired.inc();
                self.entries.remove(key);
                continue;
            }
            hits.insert(key.clone(), value);
        }
        self.hits.inc_by(hits.len() as u64);
        hits
    }

    fn set_later(&self, key: String, value: Bytes, ttl: Duration) {
        if value.len() as u64 > self.max_item_bytes {
            self.overflowed.inc();
            return;
        }
        self.added.inc();
        let entry = Entry {
            // A small piece of a large buffer must not keep all of it.
            value: Bytes::copy_from_slice(&value),
            until: Instant::now() + ttl,
        };
        self.entries.insert(key, entry);
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Size;

    #[tokio::test(start_paused = true)]
    async fn values_grow_old_and_make_room_for_others() {
        let config = MemoryConfig {
            max_size: Size(64 << 10),
            max_item_size: Size(10_000),
        };
        let budget = Budget::new(1 << 20, "--x");
        let cache = MemoryCache::new("t", &config, &budget, &Registry::new());
        assert_eq!(budget.usage().used_bytes, 64 << 10);
        cache.set_later("a".into(), Bytes::from_static(b"1"), Duration::from_secs(10));
        cache.set_later(
            "large".into(),
            Bytes::from(vec![0; 10_001]),
            Duration::from_secs(10),
        );
        let keys = ["a".to_owned(), "large".to_owned(), "b".to_owned()];
        assert_eq!(
            cache.get_multi(&keys).await,
            Hits::from([("a".to_owned(), Bytes::from_static(b"1"))])
        );
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(cache.get_multi(&keys).await, Hits::new());
        for n in 0..1000 {
            cache.set_later(n.to_string(), Bytes::from(vec![0; 1000]), Duration::from_secs(10));
        }
        assert!(cache.entries.weight() <= 64 << 10);
    }

    #[test]
    fn a_small_budget_is_not_eaten_up() {
        let budget = Budget::new(1 << 20, "--x");
        let _cache = MemoryCache::new("t", &MemoryConfig::default(), &budget, &Registry::new());
        assert_eq!(budget.usage().used_bytes, 256 << 10);
    }
}
