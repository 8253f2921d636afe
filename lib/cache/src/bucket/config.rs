//! `--store.caching-bucket.config`.

use std::sync::Arc;

use sabre_objstore::SharedBucket;
use sabre_runtime::{budget::Budget, metrics::Registry, yaml};
use serde::{Deserialize, de::IgnoredAny};
use xxhash_rust::xxh64::xxh64;

use super::{CachingBucket, Ttl};
use crate::{
    MemcachedClient, MemoryCache, RedisClient,
    config::{
        CacheConfigError, GoTime, MEMCACHED_KEYS, MEMORY_KEYS, MemcachedConfig, MemoryConfig, REDIS_KEYS,
        RedisConfig, Size, backend, invalid,
    },
    remote::SharedCache,
};

/// What clients and metrics of this cache are called.
const NAME: &str = "caching-bucket";

/// Segments are never cut smaller: a key for every few bytes would cost more than it saves.
const MIN_SUBRANGE_BYTES: u64 = 1000;

/// How reads are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachingConfig {
    /// Ranges of segments are cut at multiples of this.
    pub chunk_subrange_bytes: u64,
    /// Most reads of the bucket for one of a range; 0 is no limit.
    pub max_chunks_get_range_requests: usize,
    /// Larger metas are not cached.
    pub metafile_max_bytes: u64,
    /// How long the size of a segment is kept.
    pub chunk_object_attrs_ttl: Ttl,
    /// How long a range is kept.
    pub chunk_subrange_ttl: Ttl,
    /// How long the names in the root are kept.
    pub blocks_iter_ttl: Ttl,
    /// How long it is kept that a meta or mark exists.
    pub metafile_exists_ttl: Ttl,
    /// How long it is kept that it does not.
    pub metafile_doesnt_exist_ttl: Ttl,
    /// How long its content is kept.
    pub metafile_content_ttl: Ttl,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    r#type: String,
    #[serde(default, rename = "config")]
    _config: Option<IgnoredAny>,
    #[serde(default = "default_subrange")]
    chunk_subrange_size: Size,
    #[serde(default = "default_requests")]
    max_chunks_get_range_requests: i64,
    #[serde(default = "default_max_size")]
    metafile_max_size: Size,
    #[serde(default = "day")]
    chunk_object_attrs_ttl: GoTime,
    #[serde(default = "day")]
    chunk_subrange_ttl: GoTime,
    #[serde(default = "five_minutes")]
    blocks_iter_ttl: GoTime,
    #[serde(default = "two_hours")]
    metafile_exists_ttl: GoTime,
    #[serde(default = "quarter")]
    metafile_doesnt_exist_ttl: GoTime,
    #[serde(default = "day")]
    metafile_content_ttl: GoTime,
}

const fn minutes(minutes: u64) -> GoTime {
    GoTime::from_ms(minutes * 60_000)
}

fn default_subrange() -> Size {
    Size(16_000)
}

fn default_requests() -> i64 {
    3
}

fn default_max_size() -> Size {
    Size(1 << 20)
}

fn day() -> GoTime {
    minutes(24 * 60)
}

fn five_minutes() -> GoTime {
    minutes(5)
}

fn two_hours() -> GoTime {
    minutes(120)
}

fn quarter() -> GoTime {
    minutes(15)
}

impl Default for CachingConfig {
    fn default() -> Self {
        Self {
            chunk_subrange_bytes: default_subrange().0,
            max_chunks_get_range_requests: 3,
            metafile_max_bytes: default_max_size().0,
            chunk_object_attrs_ttl: day().get(),
            chunk_subrange_ttl: day().get(),
            blocks_iter_ttl: five_minutes().get(),
            metafile_exists_ttl: two_hours().get(),
            metafile_doesnt_exist_ttl: quarter().get(),
            metafile_content_ttl: day().get(),
        }
    }
}

fn read(what: &str, text: &str) -> Result<(CachingConfig, String), CacheConfigError> {
    let document: Document = yaml::from_str_strict(what, text)?;
    let subrange = document.chunk_subrange_size.0;
    if subrange < MIN_SUBRANGE_BYTES {
        let problem = format!("{subrange} bytes, {MIN_SUBRANGE_BYTES} are the least");
        return Err(invalid(what, "chunk_subrange_size", problem));
    }
    let config = CachingConfig {
        chunk_subrange_bytes: subrange,
        max_chunks_get_range_requests: usize::try_from(document.max_chunks_get_range_requests).unwrap_or(0),
        metafile_max_bytes: document.metafile_max_size.0,
        chunk_object_attrs_ttl: document.chunk_object_attrs_ttl.get(),
        chunk_subrange_ttl: document.chunk_subrange_ttl.get(),
        blocks_iter_ttl: document.blocks_iter_ttl.get(),
        metafile_exists_ttl: document.metafile_exists_ttl.get(),
        metafile_doesnt_exist_ttl: document.metafile_doesnt_exist_ttl.get(),
        metafile_content_ttl: document.metafile_content_ttl.get(),
    };
    Ok((config, document.r#type.to_uppercase()))
}

impl CachingBucket {
    /// Puts the cache that `text` describes around `inner`; `what` is what errors call the document. Must be called
    /// where tokio runs.
    ///
    /// # Errors
    /// What is wrong with the document, or that no server of the cache could be found.
    pub async fn from_yaml(
        what: &str,
        text: &str,
        inner: SharedBucket,
        budget: &Budget,
        registry: &Registry,
    ) -> Result<Self, CacheConfigError> {
        let (config, kind) = read(what, text)?;
        let cache: SharedCache = match kind.as_str() {
            "IN-MEMORY" => {
                let memory: MemoryConfig = backend(what, text, MEMORY_KEYS)?;
                memory.check(what)?;
                Arc::new(MemoryCache::new(NAME, &memory, budget, registry))
            }
            "MEMCACHED" => {
                let memcached = backend(what, text, MEMCACHED_KEYS)?;
                Arc::new(MemcachedClient::start(NAME, what, memcached, budget, registry).await?)
            }
            "REDIS" => {
                let redis = backend(what, text, REDIS_KEYS)?;
                Arc::new(RedisClient::start(NAME, what, redis, budget, registry)?)
            }
            other => return Err(no_such_cache(what, other)),
        };
        let hash = xxh64(text.as_bytes(), 0).to_string();
        Ok(Self::new(inner, cache, config, hash, registry))
    }

    /// Whether [`Self::from_yaml`] would take the document; no server is looked up.
    ///
    /// # Errors
    /// As [`Self::from_yaml`].
    pub fn check_yaml(what: &str, text: &str) -> Result<(), CacheConfigError> {
        let (_, kind) = read(what, text)?;
        match kind.as_str() {
            "IN-MEMORY" => backend::<MemoryConfig>(what, text, MEMORY_KEYS)?.check(what),
            "MEMCACHED" => backend::<MemcachedConfig>(what, text, MEMCACHED_KEYS)?.check(what),
            "REDIS" => backend::<RedisConfig>(what, text, REDIS_KEYS)?.check(what),
            other => Err(no_such_cache(what, other)),
        }
    }
}

fn no_such_cache(what: &str, kind: &str) -> CacheConfigError {
    let problem = match kind {
        "GROUPCACHE" => "GROUPCACHE is not supported: IN-MEMORY, MEMCACHED and REDIS are".to_owned(),
        other => format!("{other:?} is no type of cache: IN-MEMORY, MEMCACHED and REDIS are"),
    };
    invalid(what, "type", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_thanos_are_read() {
        let text = "type: memcached\nconfig:\n  addresses: [a:1]\nchunk_subrange_size: 32000\nmetafile_content_ttl: 48h\n";
        let (config, kind) = read("x", text).unwrap();
        let expected = CachingConfig {
            chunk_subrange_bytes: 32_000,
            metafile_content_ttl: minutes(48 * 60).get(),
            ..CachingConfig::default()
        };
        assert_eq!((config, kind.as_str()), (expected, "MEMCACHED"));
        let refusal = |text: &str| read("--x", text).unwrap_err().to_string();
        assert!(refusal("type: REDIS\nchunk_subrange: 1\n").contains("chunk_subrange"));
        assert!(refusal("type: REDIS\nchunk_subrange_size: 0\n").contains("chunk_subrange_size"));
    }
}
