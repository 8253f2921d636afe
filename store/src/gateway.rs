//! The store gateway: blocks in step with a bucket, and the calls that are answered from them.

mod recovery;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use axum::Router;
use parking_lot::Mutex;
use sabre_block::fetcher::{FetcherMetrics, SyncError};
use sabre_model::BlockId;
use sabre_objstore::SharedBucket;
use sabre_proto::{
    Held,
    raw_body::{FrameReceiver, FrameSender, frame_channel},
    thanos::{LabelNamesRequest, LabelValuesRequest, SeriesRequest},
};
use sabre_runtime::{
    budget::{Budget, Reservation, requests_budget},
    http_server::HttpMetrics,
    metrics::{InFlight, Registry},
    trace::carried,
};
use tokio::sync::Notify;

use self::recovery::{Attempt, Lost, tell};
use crate::{
    block::Buckets,
    blocks_api::{self, BlocksApiOptions},
    config::StoreConfig,
    context::CallContext,
    cpu,
    error::{Call, RequestError},
    gate::Gate,
    index_cache::IndexCache,
    label_calls::{self, Ask, LabelAnswer, LabelCall},
    late_memory::LateTurn,
    limits::RequestLimits,
    metrics::StoreMetrics,
    outlet::Outlet,
    postings::has_few_series,
    progress::Progress,
    request::{LabelQuery, SeriesQuery},
    series::{SeriesCall, answer},
    small_lane::{SMALL_SERIES, SmallLane},
    sync::{SyncOutcome, Syncer},
    view::{Advertised, Chosen, Selected, View},
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
    cache: Arc<IndexCache>,
    warm: Arc<WarmLabels>,
    gate: Gate,
    small_lane: SmallLane,
    late: LateTurn,
    /// Of requests that are large themselves, while they wait and run.
    requests: Budget,
    /// A served block turned out to be gone: a sync is due.
    resync: Notify,
    /// Held while a request looks for the successor of a block: others wait for it instead of looking as well.
    resyncing: Arc<tokio::sync::Mutex<()>>,
    /// How many requests looked for a successor and could not.
    failed_looks: AtomicU64,
    /// The time of the last sync; `None` before the first one that succeeded.
    synced_ms: Mutex<Option<i64>>,
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
        // Warm labels are worth less than a request: of a small budget they get a small part.
        let warm_bytes = config.warm_labels_bytes.min(budget.limit_bytes() / 16);
        let warm = Arc::new(WarmLabels::new(budget.try_reserve(warm_bytes)));
        let small_lane = SmallLane::of(&budget);
        let syncer = Syncer::new(
            Buckets { bucket, origin },
            &config,
            metrics.clone(),
            fetching,
            &budget,
        );
        Self {
            inner: Arc::new(Inner {
                syncer,
                gate: Gate::new(config.series_concurrency),
                small_lane,
                requests: requests_budget(&budget),
                config,
                budget,
                metrics,
                cache: Arc::new(cache),
                warm,
                late: LateTurn::default(),
                resync: Notify::new(),
                resyncing: Arc::default(),
                failed_looks: AtomicU64::new(0),
                synced_ms: Mutex::new(None),
            }),
        }
    }

    /// Brings the served blocks in step with the bucket.
    ///
    /// # Errors
    /// When the bucket cannot be listed. A block that cannot be loaded is no error: it is logged and left out.
    pub async fn sync(&self, now_ms: i64) -> Result<SyncOutcome, SyncError> {
        let before = self.view();
        let outcome = self.inner.syncer.sync(now_ms).await?;
        let after = self.view();
        for (id, block) in before.blocks() {
            if !after.blocks().get(id).is_some_and(|now| Arc::ptr_eq(now, block)) {
                self.forget(*id);
            }
        }
        *self.inner.synced_ms.lock() = Some(now_ms);
        Ok(outcome)
    }

    /// Forgets what is kept in memory of a block that is gone, or is not what it was.
    fn forget(&self, block: BlockId) {
        self.inner.cache.forget(block);
        self.inner.warm.forget(block);
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

    /// What is served over HTTP.
    pub(crate) fn http_routes(&self, options: BlocksApiOptions, metrics: &HttpMetrics) -> Router {
        blocks_api::routes(self.inner.syncer.lists(), options, &self.inner.budget, metrics)
    }

    /// What the store says of itself.
    pub(crate) fn advertised(&self) -> Advertised {
        let now_ms = self.inner.synced_ms.lock().unwrap_or(0);
        self.inner.syncer.view().advertised(self.partition(now_ms))
    }

    /// Starts to answer `Series`; the answer goes on by itself until the receiver is dropped.
    pub(crate) fn series(
        &self,
        request: SeriesRequest,
        held: Option<Held>,
        now_ms: i64,
    ) -> Result<FrameReceiver, RequestError> {
        let query = SeriesQuery::from_wire(request)?;
        let (sender, receiver) = frame_channel(FRAMES_AHEAD);
        let gateway = self.clone();
        tokio::spawn(carried(async move {
            let _request = held;
            gateway.answer_series(query, now_ms, sender).await;
        }));
        Ok(receiver)
    }

    /// Memory for a request that takes much of it.
    pub(crate) fn memory_for_request(&self, bytes: u64) -> Option<Reservation> {
        self.inner.requests.try_reserve(bytes)
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
        let limits = RequestLimits::new(self.inner.config.limits);
        loop {
            let LabelQuery {
                mint_ms,
                maxt_ms,
                matchers,
                block_matchers,
                ..
            } = &query;
            let mut chosen = self
                .view()
                .select_labels(*mint_ms, *maxt_ms, matchers, block_matchers);
            self.leave_out(&mut chosen, &mut lost, now_ms)?;
            let selected = self
                .inner
                .syncer
                .open(chosen.clone(), query.is_partial_ok, now_ms)
                .await;
            let outcome = match selected {
                Err(error) => Err(error),
                Ok(selected) => {
                    let context = self.context("a request for labels", &limits, &query.removed_labels);
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
                Err(error) => self.looked_at(error, now_ms),
            };
            let attempt = Attempt {
                chosen,
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
        let outlet = Outlet {
            sender,
            waiting: &metrics.gate_waiting,
            budget: &self.inner.budget,
            small_lane: &self.inner.small_lane,
        };
        let started = Instant::now();
        (query.mint_ms, query.maxt_ms) = self.clip(query.mint_ms, query.maxt_ms, now_ms);
        let waiting = InFlight::new(&metrics.gate_waiting);
        let turn = self.inner.gate.enter(self.is_small(&query)).await;
        let _turn = turn.ok_or(RequestError::Cancelled)?;
        drop(waiting);
        metrics.gate_duration.observe(started.elapsed().as_secs_f64());
        let _in_flight = InFlight::new(&metrics.gate_in_flight);
        let mut progress = Progress::default();
        let mut lost = Lost::new(query.is_partial_ok);
        let limits = RequestLimits::new(self.inner.config.limits);
        let mut told = 0;
        while let Some(rest) = progress.rest_of(&query) {
            let mut chosen = self.chosen(&query);
            self.leave_out(&mut chosen, &mut lost, now_ms)?;
            if !tell(&lost.warnings, &mut told, outlet).await? {
                return Ok(());
            }
            let outcome = self
                .attempt((rest, now_ms), (chosen.clone(), &limits), &mut progress, outlet)
                .await;
            let Err(error) = outcome else { return Ok(()) };
            let error = self.looked_at(error, now_ms);
            if !progress.can_resume() {
                return Err(self.given_up(error, &chosen));
            }
            let attempt = Attempt {
                chosen,
                max_resolution_ms: query.max_resolution_ms,
            };
            self.replace(error, attempt, &mut lost, now_ms).await?;
        }
        // Where the limit is reached, what is missing is told nonetheless.
        tell(&lost.warnings, &mut told, outlet).await.map(drop)
    }

    /// The blocks that answer a query.
    fn chosen(&self, query: &SeriesQuery) -> Vec<Chosen> {
        self.view().select_series(
            query.mint_ms,
            query.maxt_ms,
            query.max_resolution_ms,
            &query.matchers,
            &query.block_matchers,
        )
    }

    /// Whether the answer has few series, as far as index-headers that are open tell at a glance.
    async fn is_small(&self, query: &SeriesQuery) -> bool {
        let selected = self.chosen(query).into_iter().map(|chosen| {
            let block = chosen.block.opened()?;
            let matchers = chosen.matchers;
            Some(Selected { block, matchers })
        });
        let Some(selected) = selected.collect::<Option<Vec<_>>>() else {
            return false;
        };
        let few = cpu::run_blocking(move || has_few_series(&selected, SMALL_SERIES)).await;
        matches!(few, Ok(Ok(true)))
    }

    /// Answers with these blocks, as far as it goes.
    async fn attempt(
        &self,
        (query, now_ms): (SeriesQuery, i64),
        (chosen, limits): (Vec<Chosen>, &RequestLimits),
        progress: &mut Progress,
        outlet: Outlet<'_>,
    ) -> Result<(), RequestError> {
        let blocks = chosen.len();
        let selected = self
            .inner
            .syncer
            .open(chosen, query.is_partial_ok, now_ms)
            .await?;
        let context = self.context("a Series request", limits, &query.removed_labels);
        let stats = Arc::clone(&context.stats);
        let metrics = &self.inner.metrics;
        let call = SeriesCall {
            query,
            selected,
            context,
            metrics: metrics.clone(),
        };
        let outcome = answer(call, progress, outlet).await;
        metrics.observe(blocks, &stats);
        outcome
    }

    fn view(&self) -> Arc<View> {
        self.inner.syncer.view()
    }

    /// For one attempt.
    fn context(&self, asker: &str, limits: &RequestLimits, removed_labels: &Arc<[String]>) -> CallContext {
        let budget = self.inner.budget.child(asker);
        CallContext {
            small_lane: self.inner.small_lane.clone(),
            late: self.inner.late.of_request(&budget),
            budget,
            limits: Arc::new(limits.again()),
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
