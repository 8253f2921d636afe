//! A bucket whose reads are cached, as Thanos' caching bucket does it and under the same keys.
//!
//! Read from the cache are byte ranges and sizes of chunk segments. Ranges are cut at multiples of a size, so that any
//! two reads share what they have in common. Whoever reads them checks the sums of the chunks, and asks the bucket behind
//! ([`CachingBucket::origin`]) where they are not right.
//!
//! `meta.json`, `deletion-mark.json`, whether these exist and the names in the root are written to the cache, where a
//! Thanos that shares it looks for them, and never read from it: nothing in them tells a wrong value from a right one, and
//! a block whose meta is wrong or missing is missing in answers without a word. A store keeps metas on disk, so it reads
//! each of them once.

mod config;
mod meta;
mod metrics;
mod range;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use sabre_objstore::{
    Bucket, BucketExt, Error, GetBody, ListEntry, ObjectMeta, Operation, PendingUpload, RangeBody, Result,
    SharedBucket, UploadSource,
};
use sabre_runtime::metrics::Registry;

pub use self::config::CachingConfig;
use self::{
    meta::{Kind, decode_attributes, encode_attributes},
    metrics::CachingMetrics,
};
use crate::remote::SharedCache;

/// Most names of the root that are cached.
const MAX_NAMES: usize = 100_000;

/// Caches reads of another bucket.
pub struct CachingBucket {
    inner: SharedBucket,
    cache: SharedCache,
    config: CachingConfig,
    /// Goes into the keys of listings, which are not the same for buckets that share a cache.
    config_hash: String,
    metrics: CachingMetrics,
    name: String,
}

impl CachingBucket {
    /// Caches reads of `inner` in `cache`; `config_hash` tells buckets apart that share a cache.
    pub fn new(
        inner: SharedBucket,
        cache: SharedCache,
        config: CachingConfig,
        config_hash: String,
        registry: &Registry,
    ) -> Self {
        Self {
            name: inner.name().to_owned(),
            inner,
            cache,
            config,
            config_hash,
            metrics: CachingMetrics::register(registry),
        }
    }

    /// The bucket behind the cache, for whoever finds that what was read is not true.
    pub fn origin(&self) -> SharedBucket {
        Arc::clone(&self.inner)
    }

    async fn cached(&self, key: &str) -> Option<Bytes> {
        let keys = [key.to_owned()];
        self.cache.get_multi(&keys).await.remove(key)
    }

    /// The content of a small object, as the bucket has it; `None` if there is none.
    async fn content(&self, object: &str) -> Result<Option<Bytes>> {
        self.metrics.requested(Operation::Get);
        let found = self
            .inner
            .get_all_if_present(object, self.config.metafile_max_bytes)
            .await?;
        self.keep_exists(object, found.is_some());
        if let Some(content) = &found {
            self.cache.set_later(
                format!("content:{object}"),
                content.clone(),
                self.config.metafile_content_ttl,
            );
        }
        Ok(found)
    }

    fn keep_exists(&self, object: &str, exists: bool) {
        let (value, ttl) = if exists {
            (&b"true"[..], self.config.metafile_exists_ttl)
        } else {
            (&b"false"[..], self.config.metafile_doesnt_exist_ttl)
        };
        self.cache
            .set_later(format!("exists:{object}"), Bytes::from_static(value), ttl);
    }

    async fn cached_attributes(&self, object: &str) -> Result<ObjectMeta> {
        self.metrics.requested(Operation::Attributes);
        let key = format!("attrs:{object}");
        let cached = self.cached(&key).await;
        if let Some((size_bytes, last_modified_ms)) = cached.and_then(|value| decode_attributes(&value)) {
            self.metrics.hit(Operation::Attributes);
            return Ok(ObjectMeta {
                key: object.to_owned(),
                size_bytes,
                last_modified_ms,
            });
        }
        let attributes = self.inner.attributes(object).await?;
        self.keep_attributes(&attributes);
        Ok(attributes)
    }

    fn keep_attributes(&self, attributes: &ObjectMeta) {
        let value = encode_attributes(attributes.size_bytes, attributes.last_modified_ms);
        let key = format!("attrs:{}", attributes.key);
        self.cache
            .set_later(key, Bytes::from(value), self.config.chunk_object_attrs_ttl);
    }

    async fn root(&self) -> Result<BoxStream<'_, Result<ListEntry>>> {
        self.metrics.requested(Operation::Iter);
        let entries: Vec<ListEntry> = self.inner.list("", false).await?.try_collect().await?;
        if entries.len() <= MAX_NAMES {
            let names: Vec<&str> = entries.iter().map(ListEntry::key).collect();
            if let Ok(value) = serde_json::to_vec(&names) {
                let key = format!("iter::{}", self.config_hash);
                self.cache
                    .set_later(key, Bytes::from(value), self.config.blocks_iter_ttl);
            }
        }
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }
}

fn body(content: Bytes) -> GetBody {
    GetBody {
        size_bytes: content.len() as u64,
        stream: stream::iter(Some(Ok(content))).boxed(),
    }
}

#[async_trait]
impl Bucket for CachingBucket {
    fn name(&self) -> &str {
        &self.name
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        if prefix.trim_matches('/').is_empty() && !recursive {
            return self.root().await;
        }
        self.inner.list(prefix, recursive).await
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        if Kind::of(key) != Kind::Meta {
            return self.inner.get(key).await;
        }
        match self.content(key).await {
            Ok(Some(content)) => Ok(body(content)),
            Ok(None) => Err(Error::not_found(Operation::Get, &self.name, key)),
            // Too large to be cached, or it cannot be read: the bucket itself says which.
            Err(_) => self.inner.get(key).await,
        }
    }

    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        if Kind::of(key) != Kind::Meta {
            return self.inner.get_if_present(key).await;
        }
        match self.content(key).await {
            Ok(content) => Ok(content.map(body)),
            Err(_) => self.inner.get_if_present(key).await,
        }
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        if Kind::of(key) != Kind::Chunks || len == 0 {
            return self.inner.get_range(key, offset, len).await;
        }
        self.cached_range(key, offset, len).await
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        if Kind::of(key) != Kind::Chunks {
            return self.inner.attributes(key).await;
        }
        self.cached_attributes(key).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        if Kind::of(key) != Kind::Meta {
            return self.inner.exists(key).await;
        }
        self.metrics.requested(Operation::Exists);
        let exists = self.inner.exists(key).await?;
        self.keep_exists(key, exists);
        Ok(exists)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.inner.put(key, bytes).await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        self.inner.upload(key, source).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        self.inner.pending_uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        self.inner.abort_upload(upload).await
    }
}

impl fmt::Debug for CachingBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachingBucket")
            .field("inner", &self.inner)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// For fuzzing.
pub(crate) fn fuzz_values(data: &[u8]) {
    let _ = decode_attributes(data);
}

/// How long something is kept that was asked for some time ago is all the same: life times are long.
type Ttl = Duration;

#[cfg(test)]
mod tests;
