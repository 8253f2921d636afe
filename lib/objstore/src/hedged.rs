//! A bucket whose slow reads are asked for a second time.
//!
//! Of the ranges that are read a few take many times as long as the others. When one takes longer than most did, the
//! same range is asked for again, and the first answer counts. Second requests are a small share of all, and there are
//! none for a while after an error: a bucket that is overloaded is not helped by more requests.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    future::{self, Either},
    stream::BoxStream,
};
use parking_lot::Mutex;
use sabre_runtime::metrics::{Counter, Registry};
use tokio::time::Instant;

use crate::{
    bucket::{Bucket, GetBody, ListEntry, ObjectMeta, PendingUpload, RangeBody, UploadSource},
    error::Result,
};

/// Reads that are remembered of each size class.
const REMEMBERED: usize = 128;

/// With fewer than these nothing is known yet.
const ENOUGH: usize = 20;

/// Second requests for each first one, at most.
const SHARE: f64 = 0.05;

/// Second requests that may come in a burst.
const BURST: f64 = 10.0;

/// Sizes up to these are compared with each other.
const CLASSES_BYTES: [u64; 3] = [64 << 10, 512 << 10, 4 << 20];

/// Asks twice for ranges that are slow to come.
#[derive(Debug)]
pub struct Hedged<B> {
    inner: B,
    quantile: f64,
    state: Mutex<State>,
    hedges: Counter,
    won: Counter,
}

#[derive(Debug)]
struct State {
    classes: [Class; CLASSES_BYTES.len() + 1],
    /// Second requests that may be made.
    tokens: f64,
}

/// How long the last reads of about the same size took.
#[derive(Clone, Debug, Default)]
struct Class {
    took: Vec<Duration>,
    next: usize,
}

impl<B: Bucket> Hedged<B> {
    /// Asks again when a read takes longer than this share of the last ones did; 0.9 is what Thanos does when it is
    /// told to.
    pub fn new(inner: B, quantile: f64, registry: &Registry) -> Self {
        let name = inner.name().to_owned();
        let counter = |short: &str, help: &str| registry.counters(short, help, ["bucket"]).with([&name]);
        Self {
            hedges: counter(
                "sabre_objstore_hedges_total",
                "Slow reads that were asked for again",
            ),
            won: counter(
                "sabre_objstore_hedges_won_total",
                "Slow reads whose second request was answered first",
            ),
            inner,
            quantile: quantile.clamp(0.0, 1.0),
            state: Mutex::new(State {
                classes: Default::default(),
                tokens: BURST,
            }),
        }
    }

    /// How many reads were asked for again, and how many of the second requests were answered first.
    pub fn counts(&self) -> (u64, u64) {
        (self.hedges.get(), self.won.get())
    }

    /// How long to wait before asking again; `None` if that is not known, or not allowed.
    fn patience(&self, len: u64) -> Option<Duration> {
        let mut state = self.state.lock();
        state.tokens = (state.tokens + SHARE).min(BURST);
        if state.tokens < 1.0 {
            return None;
        }
        state.classes.get(class_of(len))?.quantile(self.quantile)
    }

    /// Takes a second request, if there is one to be had.
    fn take(&self) -> bool {
        let mut state = self.state.lock();
        let has_one = state.tokens >= 1.0;
        if has_one {
            state.tokens -= 1.0;
        }
        has_one
    }

    fn note(&self, len: u64, started: Instant, result: &Result<RangeBody>) {
        let mut state = self.state.lock();
        match result {
            Ok(_) => {
                if let Some(class) = state.classes.get_mut(class_of(len)) {
                    class.add(started.elapsed());
                }
            }
            Err(error) if error.is_retryable() => state.tokens = 0.0,
            Err(_) => {}
        }
    }

    async fn raced(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        let first = self.inner.get_range(key, offset, len);
        let Some(patience) = self.patience(len) else {
            return first.await;
        };
        let first = match future::select(first, Box::pin(tokio::time::sleep(patience))).await {
            Either::Left((result, _)) => return result,
            Either::Right(((), first)) => first,
        };
        if !self.take() {
            return first.await;
        }
        self.hedges.inc();
        let second = self.inner.get_range(key, offset, len);
        match future::select(first, second).await {
            Either::Left((Ok(body), _)) => Ok(body),
            Either::Right((Ok(body), _)) => {
                self.won.inc();
                Ok(body)
            }
            // One of them failed: what the other says counts.
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
        }
    }
}

fn class_of(len: u64) -> usize {
    CLASSES_BYTES.iter().filter(|bound| len > **bound).count()
}

impl Class {
    fn add(&mut self, took: Duration) {
        match self.took.get_mut(self.next) {
            Some(oldest) => *oldest = took,
            None => self.took.push(took),
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    fn quantile(&self, quantile: f64) -> Option<Duration> {
        if self.took.len() < ENOUGH {
            return None;
        }
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let at = (sorted.len() as f64 * quantile) as usize;
        sorted.get(at.min(sorted.len() - 1)).copied()
    }
}

#[async_trait]
impl<B: Bucket> Bucket for Hedged<B> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        self.inner.list(prefix, recursive).await
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        let started = Instant::now();
        let result = self.raced(key, offset, len).await;
        self.note(len, started, &result);
        result
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        self.inner.attributes(key).await
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

    async fn exists(&self, key: &str) -> Result<bool> {
        self.inner.exists(key).await
    }

    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        self.inner.get_if_present(key).await
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        self.inner.pending_uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        self.inner.abort_upload(upload).await
    }
}

/// A bucket that may or may not be hedged: `quantile` 0 leaves it as it is.
pub fn hedged(bucket: Arc<dyn Bucket>, quantile: f64, registry: &Registry) -> Arc<dyn Bucket> {
    if quantile > 0.0 {
        return Arc::new(Hedged::new(bucket, quantile, registry));
    }
    bucket
}
