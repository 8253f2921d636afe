//! The metrics of a bucket, by Thanos' names.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use sabre_runtime::{
    clock,
    metrics::{Counter, DURATION_BUCKETS, Gauge, Histogram, Registry},
    trace::Span,
};
use tokio::time::Instant;

use crate::{
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, UploadSource},
    error::{Operation, Result},
};

/// Counts and times the operations on another bucket.
///
/// It belongs outside of the retries: an operation is one, however often it was tried, and fails if all tries did.
/// Reading a stream to its end is part of the operation; dropping it is neither success nor failure.
#[derive(Debug)]
pub struct Metered<B> {
    inner: B,
    iter: Meter,
    get: Meter,
    get_range: Meter,
    exists: Meter,
    upload: Meter,
    delete: Meter,
    attributes: Meter,
    last_upload_seconds: Gauge,
}

/// What is known of one operation.
#[derive(Clone, Debug)]
struct Meter {
    operations: Counter,
    failures: Counter,
    seconds: Histogram,
    fetched_bytes: Counter,
    transferred_bytes: Histogram,
    span_name: &'static str,
}

/// One operation under way.
#[derive(Debug)]
struct Running {
    meter: Meter,
    begun: Instant,
    bytes: u64,
    span: Span,
}

impl<B: Bucket> Metered<B> {
    /// Registers the metrics and counts into them.
    pub fn new(inner: B, registry: &Registry) -> Self {
        let bucket = inner.name();
        let meter = |operation: Operation| Meter::new(registry, bucket, operation);
        let [iter, get, get_range, exists, upload, delete, attributes] = Operation::ALL.map(meter);
        let last_upload_seconds = registry
            .gauges(
                "thanos_objstore_bucket_last_successful_upload_time",
                "When something was last uploaded to the bucket, in seconds since the epoch",
                ["bucket"],
            )
            .with([bucket]);
        Self {
            iter,
            get,
            get_range,
            exists,
            upload,
            delete,
            attributes,
            last_upload_seconds,
            inner,
        }
    }

    async fn uploaded(
        &self,
        sent: &AtomicU64,
        request: impl Future<Output = Result<()>> + Send,
    ) -> Result<()> {
        let mut running = self.upload.begin();
        let result = request.await;
        running.bytes = sent.load(Ordering::Relaxed);
        running.end(result.is_ok());
        if result.is_ok() {
            self.last_upload_seconds
                .set(i64::try_from(clock::since_epoch().as_secs()).unwrap_or(i64::MAX));
        }
        result
    }
}

impl Meter {
    fn new(registry: &Registry, bucket: &str, operation: Operation) -> Self {
        let labels = ["bucket", "operation"];
        let values = [bucket, operation.as_str()];
        let counter = |name, help| registry.counters(name, help, labels).with(values);
        let histogram =
            |name, help, bounds: &[f64]| registry.histograms(name, help, labels, bounds).with(values);
        // 32 KiB, doubled up to 1 GiB.
        let sizes: [f64; 16] = std::array::from_fn(|n| f64::from(1_u32 << 15) * f64::from(1_u32 << n));
        Self {
            span_name: span_name(operation),
            operations: counter(
                "thanos_objstore_bucket_operations_total",
                "Operations on the bucket",
            ),
            failures: counter(
                "thanos_objstore_bucket_operation_failures_total",
                "Operations on the bucket that failed; an expected absence is no failure",
            ),
            seconds: histogram(
                "thanos_objstore_bucket_operation_duration_seconds",
                "Time that successful operations on the bucket took",
                &DURATION_BUCKETS,
            ),
            fetched_bytes: counter(
                "thanos_objstore_bucket_operation_fetched_bytes_total",
                "Bytes read from the bucket",
            ),
            transferred_bytes: histogram(
                "thanos_objstore_bucket_operation_transferred_bytes",
                "Bytes that successful operations on the bucket moved",
                &sizes,
            ),
        }
    }

    fn begin(&self) -> Running {
        self.operations.inc();
        Running {
            meter: self.clone(),
            begun: Instant::now(),
            bytes: 0,
            span: Span::child(self.span_name),
        }
    }

    /// An operation that moves no bytes.
    async fn run<T>(&self, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let running = self.begin();
        let result = request.await;
        running.end_without_bytes(result.is_ok());
        result
    }

    /// Follows a stream to its end, which for a body is its last byte: few readers ask for more.
    fn follow<'a, T: Send + 'a>(
        running: Running,
        stream: BoxStream<'a, Result<T>>,
        total_bytes: u64,
        size: fn(&T) -> u64,
        end: fn(Running, bool),
    ) -> BoxStream<'a, Result<T>> {
        let followed = stream::unfold((stream, Some(running)), move |(mut stream, running)| async move {
            let mut running = running?;
            match stream.next().await {
                None => {
                    end(running, true);
                    None
                }
                Some(Err(error)) => {
                    end(running, false);
                    Some((Err(error), (stream, None)))
                }
                Some(Ok(item)) => {
                    let bytes = size(&item);
                    running.bytes += bytes;
                    running.meter.fetched_bytes.inc_by(bytes);
                    if running.bytes < total_bytes {
                        return Some((Ok(item), (stream, Some(running))));
                    }
                    end(running, true);
                    Some((Ok(item), (stream, None)))
                }
            }
        });
        followed.boxed()
    }

    fn follow_body(running: Running, body: GetBody) -> GetBody {
        let stream = Self::follow(
            running,
            body.stream,
            body.size_bytes,
            |bytes: &Bytes| bytes.len() as u64,
            Running::end,
        );
        GetBody {
            size_bytes: body.size_bytes,
            stream,
        }
    }
}

impl Running {
    fn end(mut self, is_success: bool) {
        self.span.attribute("size", self.bytes);
        if is_success {
            // What happens often moves less than 2^53 bytes.
            #[expect(clippy::cast_precision_loss, reason = "a histogram rounds anyhow")]
            self.meter.transferred_bytes.observe(self.bytes as f64);
        }
        self.end_without_bytes(is_success);
    }

    /// Says in a trace what it is about.
    fn about(mut self, key: &str) -> Self {
        self.span.attribute("name", key);
        self
    }

    fn end_without_bytes(mut self, is_success: bool) {
        if is_success {
            self.meter.seconds.observe(self.begun.elapsed().as_secs_f64());
        } else {
            self.meter.failures.inc();
            self.span.fail("the operation failed");
        }
    }
}

/// As Thanos calls them.
fn span_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Iter => "bucket_iter",
        Operation::Get => "bucket_get",
        Operation::GetRange => "bucket_getrange",
        Operation::Exists => "bucket_exists",
        Operation::Upload => "bucket_upload",
        Operation::Delete => "bucket_delete",
        Operation::Attributes => "bucket_attributes",
    }
}

/// The same source, which says in `sent` how many bytes were taken from it.
async fn counted(source: UploadSource, sent: &Arc<AtomicU64>) -> UploadSource {
    match source {
        UploadSource::File(path) => {
            let stat = path.clone();
            let found =
                tokio::task::spawn_blocking(move || std::fs::metadata(stat).map(|found| found.len())).await;
            // A file that cannot be read fails the upload, which says why.
            sent.store(
                found.ok().and_then(|size| size.ok()).unwrap_or(0),
                Ordering::Relaxed,
            );
            UploadSource::File(path)
        }
        UploadSource::Stream { stream, size_bytes } => {
            let sent = Arc::clone(sent);
            let counted = stream.inspect_ok(move |bytes| {
                sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            });
            UploadSource::Stream {
                stream: counted.boxed(),
                size_bytes,
            }
        }
    }
}

#[async_trait]
impl<B: Bucket> Bucket for Metered<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let running = self.iter.begin().about(prefix);
        match self.inner.list(prefix, recursive).await {
            Ok(listing) => Ok(Meter::follow(
                running,
                listing,
                u64::MAX,
                |_| 0,
                Running::end_without_bytes,
            )),
            Err(error) => {
                running.end(false);
                Err(error)
            }
        }
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        let running = self.get.begin().about(key);
        match self.inner.get(key).await {
            Ok(body) => Ok(Meter::follow_body(running, body)),
            Err(error) => {
                running.end(false);
                Err(error)
            }
        }
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        let mut running = self.get_range.begin().about(key);
        let result = self.inner.get_range(key, offset, len).await;
        if let Ok(body) = &result {
            running.bytes = body.bytes.len() as u64;
            running.meter.fetched_bytes.inc_by(running.bytes);
        }
        running.end(result.is_ok());
        result
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        self.attributes.run(self.inner.attributes(key)).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let sent = AtomicU64::new(bytes.len() as u64);
        self.uploaded(&sent, self.inner.put(key, bytes)).await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        let sent = Arc::new(AtomicU64::new(0));
        let source = counted(source, &sent).await;
        self.uploaded(&sent, self.inner.upload(key, source)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.delete.run(self.inner.delete(key)).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.exists.run(self.inner.exists(key)).await
    }

    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        let running = self.get.begin();
        match self.inner.get_if_present(key).await {
            Ok(Some(body)) => Ok(Some(Meter::follow_body(running, body))),
            Ok(None) => {
                running.end_without_bytes(true);
                Ok(None)
            }
            Err(error) => {
                running.end(false);
                Err(error)
            }
        }
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        self.inner.pending_uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        self.inner.abort_upload(upload).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BucketExt, Error, ErrorKind, MemoryBucket};

    /// The value of a series, which is whole in all these tests.
    fn value(registry: &Registry, series: &str) -> u64 {
        let text = registry.classic();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.trim_end_matches(".0").parse().unwrap()
    }

    fn count(registry: &Registry, name: &str, operation: &str) -> u64 {
        value(
            registry,
            &format!("thanos_objstore_bucket_{name}{{bucket=\"b\",operation=\"{operation}\"}}"),
        )
    }

    #[tokio::test]
    async fn counts_by_the_names_of_thanos() {
        let registry = Registry::new();
        let bucket = Metered::new(MemoryBucket::new("b"), &registry);
        assert_eq!(count(&registry, "operations_total", "upload"), 0);
        assert_eq!(count(&registry, "operation_failures_total", "iter"), 0);

        bucket.put("k", Bytes::from_static(b"0123456789")).await.unwrap();
        bucket
            .upload("l", UploadSource::bytes(Bytes::from_static(b"01234")))
            .await
            .unwrap();
        assert_eq!(count(&registry, "operations_total", "upload"), 2);
        assert_eq!(count(&registry, "operation_transferred_bytes_sum", "upload"), 15);
        assert_eq!(count(&registry, "operation_duration_seconds_count", "upload"), 2);
        let time = value(
            &registry,
            "thanos_objstore_bucket_last_successful_upload_time{bucket=\"b\"}",
        );
        assert!(time > 1_600_000_000);

        bucket.get_range("k", 0, 4).await.unwrap();
        bucket.get_all("k", 10).await.unwrap();
        assert_eq!(count(&registry, "operation_fetched_bytes_total", "get_range"), 4);
        assert_eq!(count(&registry, "operation_fetched_bytes_total", "get"), 10);
        assert_eq!(count(&registry, "operation_duration_seconds_count", "get"), 1);
        bucket.list_all("", true, 10).await.unwrap();
        assert_eq!(count(&registry, "operation_duration_seconds_count", "iter"), 1);
    }

    #[tokio::test]
    async fn an_expected_absence_is_no_failure() {
        let registry = Registry::new();
        let bucket = Metered::new(MemoryBucket::new("b"), &registry);
        assert!(!bucket.exists("k").await.unwrap());
        assert_eq!(bucket.get_all_if_present("k", 1).await.unwrap(), None);
        bucket.delete("k").await.unwrap();
        for operation in ["exists", "get", "delete"] {
            assert_eq!(count(&registry, "operations_total", operation), 1);
            assert_eq!(count(&registry, "operation_failures_total", operation), 0);
        }
        bucket.get("k").await.unwrap_err();
        bucket.attributes("k").await.unwrap_err();
        assert_eq!(count(&registry, "operation_failures_total", "get"), 1);
        assert_eq!(count(&registry, "operation_failures_total", "attributes"), 1);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_a_failure_and_a_dropped_one_is_neither() {
        let registry = Registry::new();
        let bucket = Metered::new(MemoryBucket::new("b"), &registry);
        let broken = stream::iter([
            Ok(Bytes::from_static(b"0")),
            Err(Error::new(ErrorKind::Truncated, Operation::Get, "b", "k", "")),
        ]);
        let body = GetBody {
            size_bytes: 2,
            stream: broken.boxed(),
        };
        let items: Vec<_> = Meter::follow_body(bucket.get.begin(), body)
            .stream
            .collect()
            .await;
        assert_eq!(items.len(), 2);
        assert_eq!(count(&registry, "operation_failures_total", "get"), 1);
        bucket.put("k", Bytes::from_static(b"0")).await.unwrap();
        drop(bucket.get("k").await.unwrap());
        assert_eq!(count(&registry, "operation_failures_total", "get"), 1);
        assert_eq!(count(&registry, "operation_duration_seconds_count", "get"), 0);
    }
}
