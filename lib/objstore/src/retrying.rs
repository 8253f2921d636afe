//! A bucket whose passing failures are hidden by asking again.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use std::{sync::Arc, time::Duration};

use crate::{
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, UploadSource},
    error::{Error, ErrorKind, Operation, Result},
    retry::{Notices, Retries, RetryPolicy},
};

/// Objects up to this size are read whole before they are handed out, so that a retry begins from nothing.
const WHOLE_BYTES: u64 = 1 << 20;

/// How much of a larger object is asked for at once after its body broke off.
const RESUME_BYTES: u64 = 4 << 20;

/// A server warns of requests that are tried again no more often than this: what is throttled fails all the time.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// Retries the requests of another bucket.
///
/// Not retried is [`Bucket::upload`]: only the bucket knows which parts of it have already arrived, and retries those
/// that have not.
#[derive(Debug)]
pub struct Retrying<B> {
    inner: Arc<B>,
    policy: RetryPolicy,
    notices: Arc<Notices>,
}

impl<B: Bucket + 'static> Retrying<B> {
    /// Retries by `policy`.
    pub fn new(inner: B, policy: RetryPolicy) -> Self {
        Self {
            inner: Arc::new(inner),
            policy,
            notices: Arc::new(Notices::every(WARNING_PAUSE)),
        }
    }

    /// Warns of each retry: somebody waits at a terminal.
    #[must_use]
    pub fn warning_of_each(mut self) -> Self {
        self.notices = Arc::new(Notices::every(Duration::ZERO));
        self
    }

    fn begin(&self) -> Retries<'_> {
        self.policy.begin(Some(&self.notices))
    }

    async fn open(&self, key: &str) -> Result<GetBody> {
        let body = self.inner.get(key).await?;
        if body.size_bytes > WHOLE_BYTES {
            return Ok(body);
        }
        let size_bytes = body.size_bytes;
        let pieces: Vec<Bytes> = body.stream.try_collect().await?;
        let arrived: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if arrived != size_bytes {
            let what = format!("{arrived} of {size_bytes} bytes arrived");
            return Err(Error::new(
                ErrorKind::Truncated,
                Operation::Get,
                self.inner.name(),
                key,
                what,
            ));
        }
        Ok(GetBody {
            size_bytes,
            stream: stream::iter(pieces.into_iter().map(Ok)).boxed(),
        })
    }

    /// Continues a body that breaks off by ranges; blocks are immutable, and a change of size is noticed.
    fn resume(&self, key: &str, body: GetBody) -> GetBody {
        if body.size_bytes <= WHOLE_BYTES {
            return body;
        }
        let size_bytes = body.size_bytes;
        let resuming = Resuming {
            inner: Arc::clone(&self.inner),
            policy: self.policy,
            notices: Arc::clone(&self.notices),
            key: key.to_owned(),
            size_bytes,
            offset: 0,
            body: Some(body.stream),
        };
        let stream = stream::try_unfold(resuming, |mut resuming| async move {
            Ok(resuming.next().await?.map(|bytes| (bytes, resuming)))
        });
        GetBody {
            size_bytes,
            stream: stream.boxed(),
        }
    }
}

/// A body with what is needed to go on without it.
struct Resuming<B> {
    inner: Arc<B>,
    policy: RetryPolicy,
    notices: Arc<Notices>,
    key: String,
    size_bytes: u64,
    offset: u64,
    body: Option<BoxStream<'static, Result<Bytes>>>,
}

impl<B: Bucket> Resuming<B> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(body) = &mut self.body {
            match body.try_next().await {
                Ok(Some(bytes)) => {
                    self.offset += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(None) if self.offset == self.size_bytes => return Ok(None),
                Err(error) if !error.is_retryable() => return Err(error),
                Ok(None) | Err(_) => self.body = None,
            }
        }
        if self.offset >= self.size_bytes {
            return Ok(None);
        }
        let range = self
            .policy
            .begin(Some(&self.notices))
            .run(|| self.inner.get_range(&self.key, self.offset, RESUME_BYTES))
            .await?;
        if range.object_size_bytes != self.size_bytes {
            let what = "the object changed while it was read";
            return Err(Error::new(
                ErrorKind::Other,
                Operation::Get,
                self.inner.name(),
                &self.key,
                what,
            ));
        }
        self.offset += range.bytes.len() as u64;
        Ok(Some(range.bytes))
    }
}

/// A listing that, when it breaks off, is begun again and skipped to where it was.
struct Relisting<'a, B> {
    inner: &'a B,
    retries: Retries<'a>,
    prefix: String,
    recursive: bool,
    listing: Option<BoxStream<'a, Result<ListEntry>>>,
    last: Option<String>,
}

impl<B: Bucket> Relisting<'_, B> {
    async fn next(&mut self) -> Result<Option<ListEntry>> {
        loop {
            match self.try_next().await {
                Ok(entry) => return Ok(entry),
                Err(error) => {
                    self.listing = None;
                    self.retries.pause_after(error).await?;
                }
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<ListEntry>> {
        let listing = match &mut self.listing {
            Some(listing) => listing,
            empty => empty.insert(self.inner.list(&self.prefix, self.recursive).await?),
        };
        while let Some(entry) = listing.try_next().await? {
            if self.last.as_deref().is_none_or(|last| entry.key() > last) {
                self.last = Some(entry.key().to_owned());
                self.retries.succeeded();
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl<B: Bucket + 'static> Bucket for Retrying<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let relisting = Relisting {
            inner: &*self.inner,
            retries: self.begin(),
            prefix: prefix.to_owned(),
            recursive,
            listing: None,
            last: None,
        };
        let entries = stream::try_unfold(relisting, |mut relisting| async move {
            Ok(relisting.next().await?.map(|entry| (entry, relisting)))
        });
        Ok(entries.boxed())
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        let body = self.begin().run(|| self.open(key)).await?;
        Ok(self.resume(key, body))
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        self.begin().run(|| self.inner.get_range(key, offset, len)).await
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        self.begin().run(|| self.inner.attributes(key)).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.begin().run(|| self.inner.put(key, bytes.clone())).await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        self.inner.upload(key, source).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.begin().run(|| self.inner.delete(key)).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.begin().run(|| self.inner.exists(key)).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        self.begin().run(|| self.inner.pending_uploads(prefix)).await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        self.begin().run(|| self.inner.abort_upload(upload)).await
    }
}
