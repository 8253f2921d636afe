//! A part of a bucket that looks like a whole one.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};

use crate::{
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, SharedBucket, UploadSource},
    error::{Error, ErrorKind, Operation, Result},
    key,
};

/// A bucket that keeps everything of another one below `<prefix>/`. Errors name whole keys.
#[derive(Debug)]
pub struct Prefixed<B> {
    inner: B,
    /// Ends in "/".
    prefix: String,
}

impl Prefixed<SharedBucket> {
    /// Puts `prefix` before all keys of `inner`. Slashes around it make no difference; if there is nothing else,
    /// it is `inner` itself.
    pub fn wrap(inner: SharedBucket, prefix: &str) -> Result<SharedBucket> {
        let trimmed = prefix.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(inner);
        }
        key::check(Operation::Iter, inner.name(), trimmed)?;
        let prefix = format!("{trimmed}/");
        Ok(std::sync::Arc::new(Self { inner, prefix }))
    }
}

impl<B: Bucket> Prefixed<B> {
    /// The whole key. What is no key alone must not become one by the prefix.
    fn whole(&self, operation: Operation, key: &str) -> Result<String> {
        key::check(operation, self.inner.name(), key)?;
        Ok(format!("{}{key}", self.prefix))
    }

    fn whole_dir(&self, prefix: &str) -> Result<String> {
        Ok(format!(
            "{}{}",
            self.prefix,
            key::directory(self.inner.name(), prefix)?
        ))
    }

    fn cut(&self, key: &str) -> Result<String> {
        key.strip_prefix(&self.prefix).map(str::to_owned).ok_or_else(|| {
            let what = format!("the listing of {:?} holds it", self.prefix);
            Error::new(ErrorKind::Other, Operation::Iter, self.inner.name(), key, what)
        })
    }
}

#[async_trait]
impl<B: Bucket> Bucket for Prefixed<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let entries = self.inner.list(&self.whole_dir(prefix)?, recursive).await?;
        let cut = entries.map(|entry| match entry? {
            ListEntry::Object(mut meta) => {
                meta.key = self.cut(&meta.key)?;
                Ok(ListEntry::Object(meta))
            }
            ListEntry::Dir(dir) => Ok(ListEntry::Dir(self.cut(&dir)?)),
        });
        Ok(cut.boxed())
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        self.inner.get(&self.whole(Operation::Get, key)?).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        self.inner
            .get_range(&self.whole(Operation::GetRange, key)?, offset, len)
            .await
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        let mut meta = self
            .inner
            .attributes(&self.whole(Operation::Attributes, key)?)
            .await?;
        meta.key = self.cut(&meta.key)?;
        Ok(meta)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.inner.put(&self.whole(Operation::Upload, key)?, bytes).await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        self.inner
            .upload(&self.whole(Operation::Upload, key)?, source)
            .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(&self.whole(Operation::Delete, key)?).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.inner.exists(&self.whole(Operation::Exists, key)?).await
    }

    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        self.inner.get_if_present(&self.whole(Operation::Get, key)?).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        let uploads = self.inner.pending_uploads(&self.whole_dir(prefix)?).await?;
        uploads
            .into_iter()
            .map(|upload| {
                Ok(PendingUpload {
                    key: self.cut(&upload.key)?,
                    ..upload
                })
            })
            .collect()
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        let key = self.whole(Operation::Upload, &upload.key)?;
        self.inner
            .abort_upload(&PendingUpload {
                key,
                ..upload.clone()
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{BucketExt, MemoryBucket};

    #[tokio::test]
    async fn everything_lands_below_the_prefix() {
        let memory = Arc::new(MemoryBucket::new("b"));
        memory.put("tenant0/x", Bytes::new()).await.unwrap();
        for spelling in ["tenant/a", "/tenant/a/", "tenant/a//"] {
            let shared: SharedBucket = Arc::<MemoryBucket>::clone(&memory);
            let bucket = Prefixed::wrap(shared, spelling).unwrap();
            bucket
                .put("01ABC/meta.json", Bytes::from_static(b"{}"))
                .await
                .unwrap();
            assert!(memory.exists("tenant/a/01ABC/meta.json").await.unwrap());
            let found = bucket.list_all("", true, 10).await.unwrap();
            assert_eq!(
                found.iter().map(ListEntry::key).collect::<Vec<_>>(),
                ["01ABC/meta.json"]
            );
            assert_eq!(
                bucket.list_all("", false, 10).await.unwrap(),
                [ListEntry::Dir("01ABC/".to_owned())]
            );
            assert_eq!(
                bucket.attributes("01ABC/meta.json").await.unwrap().key,
                "01ABC/meta.json"
            );
            assert_eq!(bucket.get("nope").await.unwrap_err().key(), "tenant/a/nope");
            assert_eq!(bucket.get("").await.unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[tokio::test]
    async fn a_prefix_of_slashes_only_is_none() {
        for prefix in ["", "/", "///"] {
            let memory = Arc::new(MemoryBucket::new("b"));
            let shared: SharedBucket = Arc::<MemoryBucket>::clone(&memory);
            Prefixed::wrap(shared, prefix)
                .unwrap()
                .put("k", Bytes::new())
                .await
                .unwrap();
            assert!(memory.exists("k").await.unwrap());
        }
        let shared: SharedBucket = Arc::new(MemoryBucket::new("b"));
        assert_eq!(
            Prefixed::wrap(shared, "a/../b").unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
}
