//! `--index-cache.config`.

use std::{sync::Arc, time::Duration};

use sabre_cache::{
    MemcachedClient, RedisClient, SharedCache,
    config::{
        CacheConfigError, GoTime, MEMCACHED_KEYS, MEMORY_KEYS, MemcachedConfig, MemoryConfig, REDIS_KEYS,
        RedisConfig, backend, invalid,
    },
};
use sabre_runtime::{
    budget::Budget,
    metrics::Registry,
    yaml::{self, null_is_default},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Backend, EnabledItems, IndexCache, codec::Codec, memory::MemoryIndexCache, metrics::IndexCacheMetrics,
    remote::RemoteIndexCache,
};

pub use sabre_cache::config::CacheConfigError as IndexCacheError;

/// What clients and metrics of this cache are called.
const NAME: &str = "index-cache";

/// How long items stay in a shared cache.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);

/// Which index cache to use.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexCacheConfig {
    enabled: EnabledItems,
    ttl: Duration,
    kind: Kind,
    codec: Codec,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Memory(MemoryConfig),
    Memcached(Box<MemcachedConfig>),
    Redis(Box<RedisConfig>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    r#type: String,
    #[serde(default, rename = "config")]
    _config: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "null_is_default")]
    enabled_items: Vec<String>,
    #[serde(default)]
    ttl: GoTime,
}

impl IndexCacheConfig {
    /// A cache of this process with so many bytes.
    pub fn in_memory(max_bytes: u64) -> Self {
        let config = MemoryConfig::default();
        let max_size = sabre_cache::config::Size(max_bytes);
        let config = MemoryConfig {
            max_size,
            max_item_size: config.max_item_size.min(max_size),
        };
        Self {
            enabled: EnabledItems::ALL,
            ttl: DEFAULT_TTL,
            kind: Kind::Memory(config),
            codec: Codec::default(),
        }
    }

    /// Reads a document; `what` is what errors call it. Lists under zstd, which Thanos does not read, are kept under
    /// keys of their own.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_yaml(what: &str, text: &str, zstd: bool) -> Result<Self, CacheConfigError> {
        let document: Document = yaml::from_str_strict(what, text)?;
        let kind = match document.r#type.to_uppercase().as_str() {
            "IN-MEMORY" => {
                let memory: MemoryConfig = backend(what, text, MEMORY_KEYS)?;
                memory.check(what)?;
                Kind::Memory(memory)
            }
            "MEMCACHED" => {
                let memcached: MemcachedConfig = backend(what, text, MEMCACHED_KEYS)?;
                memcached.check(what)?;
                Kind::Memcached(Box::new(memcached))
            }
            "REDIS" => {
                let redis: RedisConfig = backend(what, text, REDIS_KEYS)?;
                redis.check(what)?;
                Kind::Redis(Box::new(redis))
            }
            other => {
                let problem = format!("{other:?} is no type of cache: IN-MEMORY, MEMCACHED and REDIS are");
                return Err(invalid(what, "type", problem));
            }
        };
        let ttl = match document.ttl.get() {
            Duration::ZERO => DEFAULT_TTL,
            ttl => ttl,
        };
        Ok(Self {
            enabled: enabled(what, &document.enabled_items)?,
            ttl,
            kind,
            codec: if zstd { Codec::Zstd } else { Codec::Snappy },
        })
    }

    /// Makes the cache, with what it holds charged to `budget`. Must be called where tokio runs.
    ///
    /// # Errors
    /// When no server of the cache can be found, or a certificate cannot be read.
    pub async fn start(&self, budget: &Budget, registry: &Registry) -> Result<IndexCache, CacheConfigError> {
        const WHAT: &str = "--index-cache.config";
        let cache: SharedCache = match &self.kind {
            Kind::Memory(config) => return Ok(self.memory(config, budget, registry)),
            Kind::Memcached(config) => {
                let config = config.as_ref().clone();
                Arc::new(MemcachedClient::start(NAME, WHAT, config, budget, registry).await?)
            }
            Kind::Redis(config) => {
                let config = config.as_ref().clone();
                Arc::new(RedisClient::start(NAME, WHAT, config, budget, registry)?)
            }
        };
        Ok(IndexCache {
            backend: Backend::Remote(RemoteIndexCache::new(cache, self.codec, self.ttl)),
            enabled: self.enabled,
            metrics: IndexCacheMetrics::register(registry),
        })
    }

    fn memory(&self, config: &MemoryConfig, budget: &Budget, registry: &Registry) -> IndexCache {
        let metrics = IndexCacheMetrics::register(registry);
        IndexCache {
            backend: Backend::Memory(MemoryIndexCache::new(config, budget, metrics.clone())),
            enabled: self.enabled,
            metrics,
        }
    }
}

impl IndexCache {
    /// A cache of this process with at most so many bytes, charged to `budget`.
    pub fn in_memory(max_bytes: u64, budget: &Budget, registry: &Registry) -> Self {
        let config = IndexCacheConfig::in_memory(max_bytes);
        let memory = match &config.kind {
            Kind::Memory(memory) => memory.clone(),
            Kind::Memcached(_) | Kind::Redis(_) => MemoryConfig::default(),
        };
        config.memory(&memory, budget, registry)
    }
}

fn enabled(what: &str, items: &[String]) -> Result<EnabledItems, CacheConfigError> {
    if items.is_empty() {
        return Ok(EnabledItems::ALL);
    }
    let mut enabled = EnabledItems {
        postings: false,
        expanded: false,
        series: false,
    };
    for item in items {
        match item.as_str() {
            "Postings" => enabled.postings = true,
            "ExpandedPostings" => enabled.expanded = true,
            "Series" => enabled.series = true,
            other => {
                let problem = format!("{other:?} is no item: Postings, ExpandedPostings and Series are");
                return Err(invalid(what, "enabled_items", problem));
            }
        }
    }
    Ok(enabled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<IndexCacheConfig, String> {
        IndexCacheConfig::from_yaml("--index-cache.config", text, false).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_of_thanos_are_read() {
        let config = read("type: in-memory\nconfig:\n  max_size: 1GB\n").unwrap();
        let Kind::Memory(memory) = &config.kind else {
            panic!("is in memory")
        };
        assert_eq!((memory.max_size.0, memory.max_item_size.0), (1 << 30, 125 << 20));
        assert_eq!((config.ttl, config.enabled), (DEFAULT_TTL, EnabledItems::ALL));
        let text = "type: MEMCACHED\nenabled_items: [Postings]\nttl: 1h\nconfig:\n  addresses: [\"dnssrv+_client._tcp.m\"]\n";
        let config = read(text).unwrap();
        assert_eq!(config.ttl, Duration::from_secs(3600));
        assert!(config.enabled.postings && !config.enabled.series && !config.enabled.expanded);
        assert!(matches!(
            read("type: REDIS\nconfig: {addr: \"r:6379\"}\n").unwrap().kind,
            Kind::Redis(_)
        ));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert!(read("type: GROUPCACHE\n").unwrap_err().contains("GROUPCACHE"));
        assert!(
            read("type: IN-MEMORY\nenabled_items: [Chunks]\n")
                .unwrap_err()
                .contains("enabled_items")
        );
        assert!(read("type: IN-MEMORY\nsize: 1\n").unwrap_err().contains("size"));
        assert!(read("type: MEMCACHED\n").unwrap_err().contains("addresses"));
        assert!(
            read("type: IN-MEMORY\nconfig: {max_size: 1MB, max_item_size: 2MB}\n")
                .unwrap_err()
                .contains("max_item_size")
        );
    }
}
