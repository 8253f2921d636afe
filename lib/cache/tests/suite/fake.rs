//! Clients of the servers, with what belongs to them.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use sabre_cache::{MemcachedClient, RedisClient, RemoteCache, config};
use sabre_runtime::{budget::Budget, metrics::Registry};
pub(crate) use sabre_testkit::cache_server::{CacheServer as Fake, Mood, Protocol};

/// A client, its budget and its metrics.
pub(crate) struct Client {
    pub(crate) cache: Box<dyn RemoteCache>,
    pub(crate) budget: Budget,
    pub(crate) registry: Registry,
}

/// A client of servers at these addresses.
pub(crate) async fn client(protocol: Protocol, addresses: &[&str], more: &str) -> Client {
    let budget = Budget::new(64 << 20, "--sabre.memory-budget");
    let registry = Registry::new();
    let cache: Box<dyn RemoteCache> = match protocol {
        Protocol::Memcached => {
            let text = format!("config:\n  addresses: [{}]\n{more}", addresses.join(", "));
            let config = config::backend("x", &text, config::MEMCACHED_KEYS).unwrap();
            Box::new(
                MemcachedClient::start("test", "x", config, &budget, &registry)
                    .await
                    .unwrap(),
            )
        }
        Protocol::Redis => {
            let text = format!("config:\n  addr: \"{}\"\n{more}", addresses.join(","));
            let config = config::backend("x", &text, config::REDIS_KEYS).unwrap();
            Box::new(RedisClient::start("test", "x", config, &budget, &registry).unwrap())
        }
    };
    Client {
        cache,
        budget,
        registry,
    }
}

impl Client {
    pub(crate) async fn get(&self, keys: &[&str]) -> HashMap<String, Bytes> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        self.cache.get_multi(&keys).await
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) {
        let ttl = Duration::from_secs(3600);
        self.cache
            .set_later(key.to_owned(), Bytes::copy_from_slice(value), ttl);
    }

    pub(crate) fn metric(&self, line_start: &str) -> f64 {
        let text = self.registry.classic();
        let line = text.lines().find(|line| line.starts_with(line_start));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
            .unwrap_or(0.0)
    }
}

/// Waits for what happens some time soon.
pub(crate) async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..500 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}
