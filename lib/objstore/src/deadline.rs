//! A bucket that gives up on a server that does not answer.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, UploadSource},
    error::{Error, ErrorKind, Operation, Result},
};

/// How long a request may take: a fixed time, and more for every byte it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// What a request may take that moves no bytes.
    pub fixed: Duration,
    /// The slowest connection that is put up with.
    pub min_bytes_per_second: u64,
}

/// Ends the requests of another bucket that take too long with [`ErrorKind::Timeout`].
///
/// A stream, be it a listing or a body, may pause for `fixed` between two items. [`Bucket::upload`] is not ended: only
/// the bucket knows when its requests begin.
#[derive(Debug)]
pub struct TimedOut<B> {
    inner: B,
    deadlines: Arc<Deadlines>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            fixed: Duration::from_secs(150),
            min_bytes_per_second: 128 << 10,
        }
    }
}

impl Deadlines {
    /// How long a request may take that moves `bytes` bytes.
    pub fn for_bytes(&self, bytes: u64) -> Duration {
        let seconds = bytes.checked_div(self.min_bytes_per_second).unwrap_or(0);
        self.fixed.saturating_add(Duration::from_secs(seconds))
    }

    /// Runs one request.
    pub async fn run<T>(
        &self,
        bytes: u64,
        (operation, bucket, key): (Operation, &str, &str),
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let limit = self.for_bytes(bytes);
        match tokio::time::timeout(limit, request).await {
            Ok(result) => result,
            Err(_) => {
                let what = format!("no answer within {limit:?}");
                Err(Error::new(ErrorKind::Timeout, operation, bucket, key, what))
            }
        }
    }
}

impl<B: Bucket> TimedOut<B> {
    /// Ends requests by `deadlines`.
    pub fn new(inner: B, deadlines: Deadlines) -> Self {
        Self {
            inner,
            deadlines: Arc::new(deadlines),
        }
    }

    /// The same stream, each of whose items must come in time.
    fn guard<'a, T: Send + 'a>(
        &self,
        operation: Operation,
        key: &str,
        stream: BoxStream<'a, Result<T>>,
    ) -> BoxStream<'a, Result<T>> {
        let at = (
            Arc::clone(&self.deadlines),
            self.inner.name().to_owned(),
            key.to_owned(),
        );
        let guarded = stream::try_unfold((stream, at), move |(mut stream, at)| async move {
            let (deadlines, bucket, key) = &at;
            let next = async { stream.next().await.transpose() };
            let item = deadlines.run(0, (operation, bucket, key), next).await?;
            Ok(item.map(|item| (item, (stream, at))))
        });
        guarded.boxed()
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        key: &str,
        bytes: u64,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.deadlines
            .run(bytes, (operation, self.inner.name(), key), request)
            .await
    }
}

#[async_trait]
impl<B: Bucket> Bucket for TimedOut<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let listing = self
            .timed(Operation::Iter, prefix, 0, self.inner.list(prefix, recursive))
            .await?;
        Ok(self.guard(Operation::Iter, prefix, listing))
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        let body = self.timed(Operation::Get, key, 0, self.inner.get(key)).await?;
        Ok(GetBody {
            size_bytes: body.size_bytes,
            stream: self.guard(Operation::Get, key, body.stream),
        })
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        self.timed(
            Operation::GetRange,
            key,
            len,
            self.inner.get_range(key, offset, len),
        )
        .await
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        self.timed(Operation::Attributes, key, 0, self.inner.attributes(key))
            .await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.timed(
            Operation::Upload,
            key,
            bytes.len() as u64,
            self.inner.put(key, bytes),
        )
        .await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        self.inner.upload(key, source).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.timed(Operation::Delete, key, 0, self.inner.delete(key))
            .await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.timed(Operation::Exists, key, 0, self.inner.exists(key))
            .await
    }

    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        let body = self
            .timed(Operation::Get, key, 0, self.inner.get_if_present(key))
            .await?;
        Ok(body.map(|body| GetBody {
            size_bytes: body.size_bytes,
            stream: self.guard(Operation::Get, key, body.stream),
        }))
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        self.inner.pending_uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        self.timed(Operation::Upload, &upload.key, 0, self.inner.abort_upload(upload))
            .await
    }
}
