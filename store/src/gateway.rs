//! The store gateway: blocks in step with a bucket, and the calls that are answered from them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use sabre_block::fetcher::{FetcherMetrics, SyncError};
use sabre_model::BlockId;
use sabre_objstore::SharedBucket;
use sabre_proto::{
    flat::SeriesFrameBuilder,
    raw_body::{FrameReceiver, FrameSender, frame_channel},
    thanos::{LabelNamesRequest, LabelValuesRequest, SeriesRequest},
};
use sabre_runtime::{budget::Budget, metrics::Registry};
use tokio::sync::{Notify, Semaphore};

use crate::{
    block::Buckets,
    config::StoreConfig,
    context::CallContext,
    error::{Call, RequestError},
    index_cache::IndexCache,
    label_calls::{self, Ask, LabelAnswer, LabelCall},
    limits::RequestLimits,
    metrics::StoreMetrics,
    progress::Progress,
    request::{LabelQuery, SeriesQuery},
    series::{SeriesCall, answer},
    sync::{SyncOutcome, Syncer},
    view::{Advertised, Chosen, View},
    warm::WarmLabels,
};

/// How often a request may find a block gone before it fails.
const MAX_ATTEMPTS: usize = 4;

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
    cache: Arc<IndexCache>,
    warm: Arc<WarmLabels>,
    gate: Arc<Semaphore>,
    /// A served block turned out to be gone: a sync is due.
    resync: Notify,
    /// Held while a request looks for the successor of a block: others wait for it instead of looking as well.
    resyncing: tokio::sync::Mutex<()>,
    /// How many syncs succeeded.
    syncs: AtomicU64,
    /// The time of the last sync; `None` before the first one that succeeded.
    synced_ms: Mutex<Option<i64>>,
}

/// What an attempt to answer was made with.
struct Attempt {
    chosen: Vec<Chosen>,
    /// How many syncs there had been.
    syncs: u64,
    /// The coarsest resolution that will do.
    max_resolution_ms: i64,
}

/// Blocks that a request found gone.
struct Lost {
    is_partial_ok: bool,
    attempts: usize,
    /// One that the bucket lists again after all.
    come_back: Option<BlockId>,
    /// Those that nothing replaces.
    warnings: Vec<String>,
}

impl Lost {
    fn new(is_partial_ok: bool) -> Self {
        Self {
            is_partial_ok,
            attempts: 0,
            come_back: None,
            warnings: Vec::new(),
        }
    }
}

impl StoreGateway {
    /// A gateway that knows of no blocks before the first [`StoreGateway::sync`], with an index cache in memory.
    pub fn new(bucket: SharedBucket, config: StoreConfig, budget: Budget, registry: &Registry) -> Self {
        let cache = IndexCache::in_memory(config.index_cache_bytes, &budget, registry);
        let origin = Arc::clone(&bucket);
        Self::with_caches(bucket, origin, cache, config, budget, registry)
    }

    /// As [`StoreGateway::new`] with caches: `bucket` may read through one, `origin` is the same without, and `cache`
    /// keeps what was read of indexes.
    pub fn with_caches(
        bucket: SharedBucket,
        origin: SharedBucket,
        cache: IndexCache,
        config: StoreConfig,
        budget: Budget,
        registry: &Registry,
    ) -> Self {
        let metrics = StoreMetrics::register(registry);
        metrics
            .gate_max
            .set(i64::try_from(config.series_concurrency).unwrap_or(i64::MAX));
        let fetching = FetcherMetrics::register(registry);
        let syncer = Syncer::new(
            Buckets { bucket, origin },
            &config,
            metrics.clone(),
            fetching,
            &budget,
        );
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
                cache: Arc::new(cache),
                warm,
                gate: Arc::new(Semaphore::new(permits)),
                resync: Notify::new(),
                resyncing: tokio::sync::Mutex::default(),
                syncs: AtomicU64::new(0),
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
        self.inner.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(outcome)
    }

    /// Opens the index-headers that no request has opened yet.
    pub async fn warm(&self, now_ms: i64) {
        self.inner.syncer.warm(now_ms).await;
    }

    /// Closes index-headers that were not used for long, if the settings ask for it; says how many.
    pub fn close_unused(&self, now: Instant) -> usize {
        self.inner.syncer.close_unused(now)
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
        self.answer_labels(query, now_ms, Ask::Names).await
    }

    /// `LabelValues`; `None` for a label that leaves the answer.
    pub(crate) async fn label_values(
        &self,
        request: LabelValuesRequest,
        now_ms: i64,
    ) -> Result<Option<LabelAnswer>, RequestError> {
        let (query, label) = LabelQuery::from_values(request)?;
        if query.removed_labels.contains(&label) {
            return Ok(None);
        }
        let ask = Ask::Values(label.into());
        self.answer_labels(query, now_ms, ask).await.map(Some)
    }

    /// Asks the blocks for names or values, again if one of them turns out to be gone.
    async fn answer_labels(
        &self,
        mut query: LabelQuery,
        now_ms: i64,
        ask: Ask,
    ) -> Result<LabelAnswer, RequestError> {
        (query.mint_ms, query.maxt_ms) = self.clip(query.mint_ms, query.maxt_ms, now_ms);
        let mut lost = Lost::new(query.is_partial_ok);
        loop {
            let syncs = self.inner.syncs.load(Ordering::Relaxed);
            let LabelQuery {
                mint_ms,
                maxt_ms,
                matchers,
                block_matchers,
                ..
            } = &query;
            let chosen = self
                .view()
                .select_labels(*mint_ms, *maxt_ms, matchers, block_matchers);
            let selected = self.inner.syncer.open(chosen.clone(), now_ms).await;
            let outcome = match selected.map_err(RequestError::Postings) {
                Err(error) => Err(error),
                Ok(selected) => {
                    let context = self.context("a request for labels", &query.removed_labels);
                    let query = query.clone();
                    let call = LabelCall {
                        selected,
                        query,
                        context,
                    };
                    label_calls::answer(call, ask.clone()).await
                }
            };
            let error = match outcome {
                Ok(answer) => {
                    let warnings = lost.warnings;
                    return Ok(LabelAnswer { warnings, ..answer });
                }
                Err(error) => self.looked_at(error),
            };
            let attempt = Attempt {
                chosen,
                syncs,
                max_resolution_ms: i64::MAX,
            };
            self.replace(error, attempt, &mut lost, now_ms).await?;
        }
    }

    async fn answer_series(&self, query: SeriesQuery, now_ms: i64, sender: FrameSender) {
        let outcome = tokio::select! {
            // The caller has gone: everything that belongs to the answer is dropped.
            () = sender.cancelled() => return,
            outcome = self.run_series(query, now_ms, &sender) => outcome,
        };
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
        let mut progress = Progress::default();
        let mut lost = Lost::new(query.is_partial_ok);
        while let Some(rest) = progress.rest_of(&query) {
            let syncs = self.inner.syncs.load(Ordering::Relaxed);
            let chosen = self.view().select_series(
                query.mint_ms,
                query.maxt_ms,
                query.max_resolution_ms,
                &query.matchers,
                &query.block_matchers,
            );
            let outcome = self
                .attempt(rest, chosen.clone(), now_ms, &mut progress, sender)
                .await;
            let Err(error) = outcome else { return Ok(()) };
            let error = self.looked_at(error);
            if !progress.can_resume() {
                return Err(self.given_up(error).await);
            }
            let attempt = Attempt {
                chosen,
                syncs,
                max_resolution_ms: query.max_resolution_ms,
            };
            let told = lost.warnings.len();
            self.replace(error, attempt, &mut lost, now_ms).await?;
            for warning in lost.warnings.get(told..).unwrap_or_default() {
                let mut frame = SeriesFrameBuilder::default();
                frame.warning(warning)?;
                if sender.send(frame.take()).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Answers with these blocks, as far as it goes.
    async fn attempt(
        &self,
        query: SeriesQuery,
        chosen: Vec<Chosen>,
        now_ms: i64,
        progress: &mut Progress,
        sender: &FrameSender,
    ) -> Result<(), RequestError> {
        let blocks = chosen.len();
        let selected = self.inner.syncer.open(chosen, now_ms).await;
        let selected = selected.map_err(RequestError::Postings)?;
        let context = self.context("a Series request", &query.removed_labels);
        let stats = Arc::clone(&context.stats);
        let metrics = &self.inner.metrics;
        let call = SeriesCall {
            query,
            selected,
            context,
            metrics: metrics.clone(),
        };
        let outcome = answer(call, progress, sender).await;
        metrics.observe(blocks, &stats);
        outcome
    }

    /// Notes a failure.
    fn looked_at(&self, error: RequestError) -> RequestError {
        if let RequestError::Limit(limit) = &error {
            self.inner.metrics.dropped(limit);
        }
        if let Some((block, cause)) = error.block()
            && !cause.is_gone()
        {
            tracing::error!(%block, %error, "a block cannot be read");
        }
        error
    }

    /// A block that is gone is no longer served, and the next sync is due.
    async fn given_up(&self, error: RequestError) -> RequestError {
        if let Some((block, cause)) = error.block()
            && cause.is_gone()
        {
            return self.dropped(block, error).await;
        }
        error
    }

    async fn dropped(&self, block: BlockId, error: RequestError) -> RequestError {
        tracing::warn!(%block, %error, "a block vanished while it was read, it is dropped");
        self.inner.syncer.forget(block).await;
        self.inner.resync.notify_one();
        error
    }

    /// After an attempt that found a block gone: looks at the bucket again. It is worth another attempt if other blocks
    /// hold what that one held, or if the caller takes a warning for it; else this is the failure of the request.
    async fn replace(
        &self,
        error: RequestError,
        attempt: Attempt,
        lost: &mut Lost,
        now_ms: i64,
    ) -> Result<(), RequestError> {
        if let Some((block, _)) = error.block()
            && lost.come_back == Some(block)
        {
            // The bucket lists it as before, and it still cannot be read: it is on its way out.
            return Err(self.dropped(block, error).await);
        }
        let gone = error
            .block()
            .filter(|(_, cause)| cause.is_gone())
            .map(|(block, _)| block);
        let is_known = |block: &BlockId| attempt.chosen.iter().find(|chosen| chosen.block.id() == *block);
        let Some(gone) = gone.as_ref().and_then(is_known) else {
            return Err(error);
        };
        let gone = &gone.block;
        if lost.attempts >= MAX_ATTEMPTS {
            return Err(self.given_up(error).await);
        }
        lost.attempts += 1;
        self.inner.syncer.forget(gone.id()).await;
        if let Err(failure) = self.resync(attempt.syncs, now_ms).await {
            tracing::warn!(%failure, "the successor of a block that is gone cannot be looked for");
            self.inner.resync.notify_one();
            return Err(error);
        }
        let heirs: BTreeSet<BlockId> = {
            let view = self.view();
            lost.come_back = view.blocks().contains_key(&gone.id()).then_some(gone.id());
            let heirs = view.of_stream(&gone.external, attempt.max_resolution_ms);
            heirs.flat_map(|heir| heir.sources.iter().copied()).collect()
        };
        if gone.sources.iter().all(|source| heirs.contains(source)) {
            tracing::info!(block = %gone.id(), "a block vanished while it was read, going on with its successor");
            self.inner.metrics.successions.with(["replaced"]).inc();
            return Ok(());
        }
        self.inner.metrics.successions.with(["lost"]).inc();
        tracing::warn!(block = %gone.id(), %error, "a block vanished while it was read, and none replaces it");
        if !lost.is_partial_ok {
            return Err(error);
        }
        lost.warnings.push(format!("{error}; no other block replaces it"));
        Ok(())
    }

    /// Looks at the bucket, unless another request did since there were so many syncs.
    async fn resync(&self, syncs: u64, now_ms: i64) -> Result<(), SyncError> {
        let _one = self.inner.resyncing.lock().await;
        if self.inner.syncs.load(Ordering::Relaxed) != syncs {
            return Ok(());
        }
        self.sync(now_ms).await.map(drop)
    }

    fn view(&self) -> Arc<View> {
        self.inner.syncer.view()
    }

    fn context(&self, asker: &str, removed_labels: &Arc<[String]>) -> CallContext {
        CallContext {
            budget: self.inner.budget.child(asker),
            limits: Arc::new(RequestLimits::new(self.inner.config.limits)),
            stats: Arc::default(),
            cache: Arc::clone(&self.inner.cache),
            cost_rule: self.inner.config.cost_rule,
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
