//! The store gateway: blocks in step with a bucket, and the calls that are answered from them.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use sabre_block::fetcher::{FetcherMetrics, SyncError};
use sabre_objstore::SharedBucket;
use sabre_proto::{
    raw_body::{FrameReceiver, FrameSender, frame_channel},
    thanos::{LabelNamesRequest, LabelValuesRequest, SeriesRequest},
};
use sabre_runtime::{budget::Budget, metrics::Registry};
use tokio::sync::{Notify, Semaphore};

use crate::{
    config::StoreConfig,
    context::CallContext,
    error::{Call, RequestError},
    label_calls::{self, LabelAnswer, LabelCall},
    limits::RequestLimits,
    metrics::StoreMetrics,
    request::{LabelQuery, SeriesQuery},
    series::{SeriesCall, answer},
    sync::{SyncOutcome, Syncer},
    view::{Advertised, View},
    warm::WarmLabels,
};

/// Buffers of frames between a call and its connection.
const FRAMES_AHEAD: usize = 1;

/// Answers StoreAPI from blocks in a bucket. Clones share it.
#[derive(Clone, Debug)]
pub struct StoreGateway {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    syncer: Syncer,
    config: StoreConfig,
    budget: Budget,
    metrics: StoreMetrics,
    warm: Arc<WarmLabels>,
    gate: Arc<Semaphore>,
    /// A served block turned out to be gone: a sync is due.
    resync: Notify,
    /// The time of the last sync; `None` before the first one that succeeded.
    synced_ms: Mutex<Option<i64>>,
}

impl StoreGateway {
    /// A gateway that knows of no blocks before the first [`StoreGateway::sync`].
    pub fn new(bucket: SharedBucket, config: StoreConfig, budget: Budget, registry: &Registry) -> Self {
        let metrics = StoreMetrics::register(registry);
        metrics
            .gate_max
            .set(i64::try_from(config.series_concurrency).unwrap_or(i64::MAX));
        let fetching = FetcherMetrics::register(registry);
        let syncer = Syncer::new(bucket, &config, metrics.clone(), fetching, &budget);
        // Warm labels are worth less than a request: of a small budget they get a small part.
        let warm_bytes = config.warm_labels_bytes.min(budget.limit_bytes() / 16);
        let warm = Arc::new(WarmLabels::new(budget.try_reserve(warm_bytes)));
        // No limit is a limit that nobody reaches.
        let permits = match config.series_concurrency {
            0 => Semaphore::MAX_PERMITS,
            permits => permits.min(Semaphore::MAX_PERMITS),
        };
        Self {
            inner: Arc::new(Inner {
                syncer,
                config,
                budget,
                metrics,
                warm,
                gate: Arc::new(Semaphore::new(permits)),
                resync: Notify::new(),
                synced_ms: Mutex::new(None),
            }),
        }
    }

    /// Brings the served blocks in step with the bucket.
    ///
    /// # Errors
    /// When the bucket cannot be listed. A block that cannot be loaded is no error: it is logged and left out.
    pub async fn sync(&self, now_ms: i64) -> Result<SyncOutcome, SyncError> {
        let outcome = self.inner.syncer.sync(now_ms).await?;
        *self.inner.synced_ms.lock() = Some(now_ms);
        Ok(outcome)
    }

    /// Whether there was a successful sync.
    pub fn is_ready(&self) -> bool {
        self.inner.synced_ms.lock().is_some()
    }

    /// Waits until a served block turns out to be gone, so that a sync is due before its time.
    pub async fn resync_due(&self) {
        self.inner.resync.notified().await;
    }

    /// What the store says of itself.
    pub(crate) fn advertised(&self) -> Advertised {
        let now_ms = self.inner.synced_ms.lock().unwrap_or(0);
        self.inner.syncer.view().advertised(self.partition(now_ms))
    }

    /// Starts to answer `Series`; the answer goes on by itself until the receiver is dropped.
    pub(crate) fn series(&self, request: SeriesRequest, now_ms: i64) -> Result<FrameReceiver, RequestError> {
        let query = SeriesQuery::from_wire(request)?;
        let (sender, receiver) = frame_channel(FRAMES_AHEAD);
        let gateway = self.clone();
        tokio::spawn(async move { gateway.answer_series(query, now_ms, sender).await });
        Ok(receiver)
    }

    /// `LabelNames`.
    pub(crate) async fn label_names(
        &self,
        request: LabelNamesRequest,
        now_ms: i64,
    ) -> Result<LabelAnswer, RequestError> {
        let query = LabelQuery::from_names(request)?;
        let answer = label_calls::names(self.label_call(query, now_ms)).await;
        self.checked(answer).await
    }

    /// `LabelValues`; `None` for a label that leaves the answer.
    pub(crate) async fn label_values(
        &self,
        request: LabelValuesRequest,
        now_ms: i64,
    ) -> Result<Option<LabelAnswer>, RequestError> {
        let (query, label) = LabelQuery::from_values(request)?;
        let answer = label_calls::values(self.label_call(query, now_ms), &label).await;
        self.checked(answer).await
    }

    async fn answer_series(&self, query: SeriesQuery, now_ms: i64, sender: FrameSender) {
        let outcome = tokio::select! {
            // The caller has gone: everything that belongs to the answer is dropped.
            () = sender.cancelled() => return,
            outcome = self.run_series(query, now_ms, &sender) => outcome,
        };
        let outcome = self.checked(outcome).await;
        sender.finish(outcome.map_err(|error| error.status(Call::Series)));
    }

    async fn run_series(
        &self,
        mut query: SeriesQuery,
        now_ms: i64,
        sender: &FrameSender,
    ) -> Result<(), RequestError> {
        let metrics = &self.inner.metrics;
        let started = Instant::now();
        // The semaphore is never closed.
        let _turn = self
            .inner
            .gate
            .acquire()
            .await
            .map_err(|_| RequestError::Cancelled)?;
        metrics.gate_duration.observe(started.elapsed().as_secs_f64());
        let _in_flight = InFlight::new(metrics);
        (query.mint_ms, query.maxt_ms) = self.clip(query.mint_ms, query.maxt_ms, now_ms);
        let selected = self.view().select_series(
            query.mint_ms,
            query.maxt_ms,
            query.max_resolution_ms,
            &query.matchers,
            &query.block_matchers,
        );
        let blocks = selected.len();
        let context = self.context("a Series request", &query.removed_labels);
        let stats = Arc::clone(&context.stats);
        let call = SeriesCall {
            query,
            selected,
            context,
            metrics: metrics.clone(),
        };
        let outcome = answer(call, sender).await;
        metrics.observe(blocks, &stats);
        outcome
    }

    fn label_call(&self, mut query: LabelQuery, now_ms: i64) -> LabelCall {
        (query.mint_ms, query.maxt_ms) = self.clip(query.mint_ms, query.maxt_ms, now_ms);
        let context = self.context("a request for labels", &query.removed_labels);
        LabelCall {
            view: self.view(),
            query,
            context,
        }
    }

    /// Looks at a failure: a block that is gone is no longer served.
    async fn checked<T>(&self, outcome: Result<T, RequestError>) -> Result<T, RequestError> {
        let Err(error) = &outcome else { return outcome };
        if let RequestError::Limit(limit) = error {
            self.inner.metrics.dropped(limit);
        }
        if let Some((block, cause)) = error.block() {
            if cause.is_gone() {
                tracing::warn!(%block, %error, "a block vanished while it was read, it is dropped");
                self.inner.syncer.forget(block).await;
                self.inner.resync.notify_one();
            } else {
                tracing::error!(%block, %error, "a block cannot be read");
            }
        }
        outcome
    }

    fn view(&self) -> Arc<View> {
        self.inner.syncer.view()
    }

    fn context(&self, asker: &str, removed_labels: &Arc<[String]>) -> CallContext {
        CallContext {
            budget: self.inner.budget.child(asker),
            limits: Arc::new(RequestLimits::new(self.inner.config.limits)),
            stats: Arc::default(),
            warm: Arc::clone(&self.inner.warm),
            removed_labels: Arc::clone(removed_labels),
        }
    }

    fn partition(&self, now_ms: i64) -> (i64, i64) {
        let partition = self.inner.config.time_partition.as_ref();
        partition.map_or((i64::MIN, i64::MAX), |partition| partition.resolve(now_ms))
    }

    fn clip(&self, mint_ms: i64, maxt_ms: i64, now_ms: i64) -> (i64, i64) {
        let (min_ms, max_ms) = self.partition(now_ms);
        (mint_ms.max(min_ms), maxt_ms.min(max_ms))
    }
}

/// Counts a call as long as it lives.
struct InFlight<'a>(&'a StoreMetrics);

impl<'a> InFlight<'a> {
    fn new(metrics: &'a StoreMetrics) -> Self {
        metrics.gate_in_flight.inc();
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.gate_in_flight.dec();
    }
}
