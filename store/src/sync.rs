//! Keeps the served blocks in step with the bucket.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::RwLock;
use sabre_block::{
    HeaderLoader, MetaFetcher, PageCache,
    fetcher::{FetcherMetrics, FetcherOptions, SyncError, View as BucketView},
    filter::FilterChain,
    index_header::HeaderOptions,
    layout,
    mark::MarkKind,
};
use sabre_model::BlockId;
use sabre_runtime::budget::{Budget, Reservation};
use sabre_tsdb::meta::BlockMeta;

use crate::{
    block::{BlockFacts, Buckets, ReadEstimates},
    blocks_api::BlockLists,
    config::{HeaderPolicy, StoreConfig},
    error::RequestError,
    handle::{BlockHandle, OpenError, Opener, PATIENCE},
    metrics::StoreMetrics,
    quarantine::{Quarantine, SetAside},
    segments::Segments,
    view::{Chosen, Selected, View},
};

/// How many index-headers of one request are opened at once.
const PARALLEL_OPENS: usize = 16;

/// The part that index-headers get of what caches leave of the memory budget: with all of it no request could run.
const HEADERS_PART: (u64, u64) = (3, 4);

/// Brings blocks up and drops them.
#[derive(Debug)]
pub(crate) struct Syncer {
    buckets: Buckets,
    fetcher: MetaFetcher,
    opener: Arc<Opener>,
    concurrency: usize,
    estimates: ReadEstimates,
    data_dir: std::path::PathBuf,
    /// Index-headers are kept in files.
    keeps_headers: bool,
    headers: HeaderPolicy,
    metrics: StoreMetrics,
    _pages_memory: Option<Reservation>,
    view: RwLock<Arc<View>>,
    /// The same and the others, for whoever wants to see them.
    lists: Arc<BlockLists>,
    /// Blocks that are served and turned out to be broken.
    quarantine: Quarantine,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Directories of blocks that an earlier process left behind are gone.
    is_tidy: bool,
}

/// What a sync came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncOutcome {
    /// Blocks that are served now.
    pub served: usize,
    /// Blocks that were added.
    pub added: usize,
    /// Blocks that were dropped.
    pub dropped: usize,
    /// Blocks that should be served and could not be loaded.
    pub failed: usize,
    /// Those of them that may be loaded soon: the bucket was throttled or away.
    pub retryable: usize,
    /// Those that failed for want of this process' memory or disk, whatever the block is like.
    pub local: usize,
}

impl SyncOutcome {
    /// Says what it came to.
    pub(crate) fn log(&self, what: &'static str) {
        tracing::info!(
            served = self.served,
            added = self.added,
            dropped = self.dropped,
            failed = self.failed,
            failed_for_now = self.retryable,
            "{what}"
        );
    }

    /// Whether this process is the one that is broken: there are blocks to serve, and for want of memory or disk not one
    /// of them is. Broken blocks alone never make it so.
    pub(crate) fn is_helpless(&self) -> bool {
        self.served == 0 && self.local > 0
    }
}

impl Syncer {
    pub(crate) fn new(
        buckets: Buckets,
        config: &StoreConfig,
        metrics: StoreMetrics,
        fetcher_metrics: FetcherMetrics,
        budget: &Budget,
    ) -> Self {
        // A page is worth less than a request: of a small budget pages get a small part.
        let page_bytes = config.page_cache_bytes.min(budget.limit_bytes() / 8);
        let pages_memory = budget.try_reserve(page_bytes);
        // Caches, and what is kept for small requests, are taken already.
        let left_bytes = budget.limit_bytes().saturating_sub(budget.usage().used_bytes);
        let options = FetcherOptions {
            strategy: config.discovery,
            concurrency: config.meta_fetch_concurrency,
            data_dir: Some(config.data_dir.clone()),
            marks: vec![MarkKind::Deletion],
        };
        let filters = FilterChain {
            time_partition: config.time_partition.clone(),
            shard: config.selector.clone(),
            consistency_delay_ms: config.consistency_delay_ms,
            ignore_deletion_marks_delay_ms: Some(config.ignore_deletion_marks_delay_ms),
            drop_duplicates: true,
            ..FilterChain::default()
        };
        let loader = HeaderLoader::new(
            Arc::clone(&buckets.bucket),
            config.cache_index_header.then(|| config.data_dir.clone()),
            PageCache::new(if pages_memory.is_some() { page_bytes } else { 0 }),
            HeaderOptions {
                value_sampling: config.posting_offsets_sampling,
            },
        );
        Self {
            fetcher: MetaFetcher::new(Arc::clone(&buckets.bucket), options, filters, fetcher_metrics),
            buckets,
            opener: Arc::new(Opener {
                loader,
                budget: budget.limited_child(
                    "the index-headers of the served blocks",
                    left_bytes / HEADERS_PART.1 * HEADERS_PART.0,
                    "--sabre.memory-budget (three quarters of what caches leave of it)",
                ),
                unopened: Quarantine::new(metrics.blocks_unopened.clone()),
                metrics: metrics.clone(),
            }),
            concurrency: config.block_sync_concurrency.max(1),
            estimates: ReadEstimates {
                chunk_bytes: config.estimated_chunk_bytes,
                series_bytes: config.estimated_series_bytes,
            },
            data_dir: config.data_dir.clone(),
            keeps_headers: config.cache_index_header,
            headers: config.headers,
            quarantine: Quarantine::new(metrics.blocks_set_aside.clone()),
            metrics,
            _pages_memory: pages_memory,
            view: RwLock::new(Arc::new(View::default())),
            lists: Arc::default(),
            state: tokio::sync::Mutex::new(State::default()),
        }
    }

    /// The blocks that are served now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// What the looks at the bucket found.
    pub(crate) fn lists(&self) -> Arc<BlockLists> {
        Arc::clone(&self.lists)
    }

    /// Looks at the bucket, loads what is new and drops what is gone.
    pub(crate) async fn sync(&self, now_ms: i64) -> Result<SyncOutcome, SyncError> {
        let mut state = self.state.lock().await;
        // Those that are doubted from here on, the listing may still have.
        let gone = self.doubted();
        let found = self.fetcher.sync(now_ms).await;
        match &found {
            Ok(found) => self.lists.found(found, now_ms),
            Err(error) => self.lists.failed(error, now_ms),
        }
        let found = found?;
        let mut outcome = SyncOutcome::default();
        let again = self.due_again(now_ms);
        let doubted: BTreeSet<BlockId> = gone.iter().copied().chain(self.changed(&found)).collect();
        let missing: Vec<Arc<BlockMeta>> = {
            let view = self.view();
            // One that could not be opened is known anew: its files may have been mended since. So is one that was found
            // gone and has come back, and one whose index is another than it was.
            let is_new = |meta: &&Arc<BlockMeta>| {
                let is_known = view.blocks().contains_key(&meta.ulid);
                !is_known || again.contains(&meta.ulid) || doubted.contains(&meta.ulid)
            };
            found.metas.iter().filter(is_new).cloned().collect()
        };
        for meta in missing.iter().filter(|meta| doubted.contains(&meta.ulid)) {
            self.remove_local(meta.ulid).await;
        }
        let all = missing.len();
        let loaded = self.load_all(missing, &found, (&again, &doubted), now_ms).await;
        let mut failed = 0;
        for (block, error) in &loaded {
            let Some(error) = error else { continue };
            failed += 1;
            self.failed(block.id(), error, now_ms);
        }
        outcome.added = all.saturating_sub(failed);
        // Whether they could be opened or not: a request that needs one is to be told of it.
        self.change(|blocks| blocks.extend(loaded.into_iter().map(|(block, _)| (block.id(), block))));
        outcome.dropped = self.drop_gone(&found, &gone, now_ms).await;
        if found.is_complete() && !std::mem::replace(&mut state.is_tidy, true) {
            self.tidy(found.metas.iter().map(|meta| meta.ulid).collect())
                .await;
        }
        let unopened = self.opener.unopened.counts();
        outcome.failed = unopened.all;
        outcome.retryable = unopened.passing;
        outcome.local = unopened.local;
        outcome.served = self.view().blocks().len().saturating_sub(outcome.failed);
        self.metrics.blocks_last_loaded.set(now_ms as f64 / 1000.0);
        Ok(outcome)
    }

    /// Whether this is what is known of the block now, and not what was known before another look at the bucket.
    pub(crate) fn serves(&self, block: &Arc<BlockHandle>) -> bool {
        let view = self.view();
        let served = view.blocks().get(&block.id());
        served.is_some_and(|served| Arc::ptr_eq(served, block))
    }

    /// The blocks that requests found gone.
    fn doubted(&self) -> BTreeSet<BlockId> {
        let view = self.view();
        let doubted = view.blocks().values().filter(|block| block.is_doubted());
        doubted.map(|block| block.id()).collect()
    }

    /// The blocks whose index is listed with another length than it had: somebody has put another one in its place.
    fn changed(&self, found: &BucketView) -> Vec<BlockId> {
        let view = self.view();
        let is_other = |block: &&Arc<BlockHandle>| {
            let listed = found.listing.get(block.id()).and_then(|objects| objects.index);
            let listed_bytes = listed.map(|index| index.size_bytes);
            matches!((listed_bytes, block.index_bytes()), (Some(listed), Some(known)) if listed != known)
        };
        view.blocks()
            .values()
            .filter(is_other)
            .map(|block| block.id())
            .collect()
    }

    /// Takes those of the blocks away that are broken and not to be read now.
    pub(crate) fn set_aside(&self, chosen: &mut Vec<Chosen>, now_ms: i64) -> Vec<SetAside> {
        let mut aside = self.opener.unopened.set_aside(chosen, now_ms);
        aside.extend(self.quarantine.set_aside(chosen, now_ms));
        aside
    }

    /// Sets a block aside that a request found broken.
    pub(crate) fn found_broken(&self, block: BlockId, error: &RequestError, now_ms: i64) {
        let Some(pause_ms) = self.quarantine.put(block, &error.to_string(), now_ms) else {
            return;
        };
        tracing::error!(%block, %error, pause_ms, "a block is broken, requests are answered without it");
        // Whatever of it is at hand is as doubtful as the rest.
        if let Some(block) = self.view().blocks().get(&block) {
            block.close();
        }
    }

    /// Opens the index-headers of the blocks that a request needs. A request that may do without
    /// some has all of them tried, so that it knows at once which. Else none is begun behind one that failed, and those
    /// that are under way are brought to an end: another request will need them.
    pub(crate) async fn open(
        &self,
        chosen: Vec<Chosen>,
        is_partial_ok: bool,
        now_ms: i64,
    ) -> Result<Vec<Selected>, RequestError> {
        let (started, is_failed) = (Instant::now(), AtomicBool::new(false));
        // Mostly all of them are open, and nothing has to wait.
        let open = |chosen: Chosen| async move {
            // However many have to wait for memory, the request waits once.
            let patience = PATIENCE.saturating_sub(started.elapsed());
            let block = chosen.block.open(&self.opener, patience, now_ms).await;
            let matchers = chosen.matchers;
            block.map(|block| Selected { block, matchers })
        };
        let is_worth_it = |_: &Chosen| is_partial_ok || !is_failed.load(Ordering::Relaxed);
        let chosen = chosen.into_iter().take_while(is_worth_it);
        let mut opened = stream::iter(chosen).map(open).buffered(PARALLEL_OPENS);
        let (mut all, mut failed) = (Vec::new(), None);
        while let Some(next) = opened.next().await {
            match next {
                Ok(selected) => all.push(selected),
                Err(error) => {
                    is_failed.store(true, Ordering::Relaxed);
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(all), |error| Err(error.into()))
    }

    /// Opens what is not open yet, so that no request has to wait for it. Whatever fails is tried again by the first
    /// request that needs it.
    pub(crate) async fn warm(&self, now_ms: i64) {
        if self.headers.is_lazy() {
            return;
        }
        let closed: Vec<Arc<BlockHandle>> = {
            let view = self.view();
            view.blocks()
                .values()
                .filter(|block| !block.is_open())
                .cloned()
                .collect()
        };
        let open = |block: Arc<BlockHandle>| async move {
            // Why one cannot be opened is noted and logged where it is tried.
            let _ = block.open(&self.opener, PATIENCE, now_ms).await;
        };
        stream::iter(closed)
            .for_each_concurrent(self.concurrency, open)
            .await;
    }

    /// The blocks whose index-header could not be opened and may be tried again.
    fn due_again(&self, now_ms: i64) -> BTreeSet<BlockId> {
        let all = self.opener.unopened.all(now_ms);
        let due = all.into_iter().filter(|(_, waits)| !waits);
        due.map(|(block, _)| block).collect()
    }

    /// Closes index-headers that were not used for as long as the settings say, and says how many.
    pub(crate) fn close_unused(&self, now: Instant) -> usize {
        let Some(unused_since) = self.headers.idle.and_then(|idle| now.checked_sub(idle)) else {
            return 0;
        };
        let view = self.view();
        let closed = view
            .blocks()
            .values()
            .filter(|block| block.close_unused(unused_since))
            .count();
        self.metrics.header_unloads.inc_by(closed as u64);
        closed
    }

    /// Counts a block that could not be loaded. One whose index is gone although its meta.json is there is left alone for a
    /// while, as others are already.
    fn failed(&self, block: BlockId, error: &OpenError, now_ms: i64) {
        self.metrics.block_load_failures.inc();
        if let OpenError::Failed(failure) = error
            && failure.is_gone()
        {
            self.opener.set_aside(block, failure, now_ms);
        }
    }

    async fn load_all(
        &self,
        metas: Vec<Arc<BlockMeta>>,
        found: &BucketView,
        (again, doubted): (&BTreeSet<BlockId>, &BTreeSet<BlockId>),
        now_ms: i64,
    ) -> Vec<(Arc<BlockHandle>, Option<OpenError>)> {
        let present = Arc::new(self.headers_on_disk().await);
        let load = |meta: Arc<BlockMeta>| {
            let present = Arc::clone(&present);
            async move {
                let objects = found.listing.get(meta.ulid);
                let index_bytes = objects
                    .and_then(|objects| objects.index)
                    .map(|index| index.size_bytes);
                let listed = objects.filter(|objects| objects.is_listed);
                let listed = listed.map(|objects| {
                    objects
                        .segments
                        .iter()
                        .map(|segment| segment.name.to_string())
                        .collect()
                });
                self.metrics.block_loads.inc();
                let started = Instant::now();
                let is_present = present.contains(&meta.ulid);
                let is_due = again.contains(&meta.ulid);
                // What is open of one that came back may not be what is there now.
                let before = self.view().blocks().get(&meta.ulid).cloned();
                let before = before.filter(|_| !doubted.contains(&meta.ulid));
                let block = self.known(&meta, (index_bytes, listed), before.as_deref());
                let loaded = self.load(block, (is_present, is_due), now_ms).await;
                self.metrics
                    .block_load_duration
                    .observe(started.elapsed().as_secs_f64());
                loaded
            }
        };
        stream::iter(metas)
            .map(load)
            .buffer_unordered(self.concurrency)
            .collect()
            .await
    }

    /// What is known of a block now; goes on with what is open of it.
    fn known(
        &self,
        meta: &BlockMeta,
        (index_bytes, listed_segments): (Option<u64>, Option<Vec<String>>),
        before: Option<&BlockHandle>,
    ) -> Arc<BlockHandle> {
        let named = meta.thanos.as_ref().map(|thanos| thanos.segment_files.clone());
        let facts = BlockFacts::new(
            self.buckets.clone(),
            meta,
            (
                Segments::new(named.unwrap_or_default(), listed_segments),
                index_bytes,
            ),
            self.estimates,
        );
        let mut block = BlockHandle::new(facts, meta.compaction.sources.clone());
        if let Some(before) = before {
            block.take_over(before);
        }
        Arc::new(block)
    }

    /// A block is served once its index-header is on disk, where the first request that needs it opens it, or at the
    /// latest the warming up behind the sync.
    async fn load(
        &self,
        block: Arc<BlockHandle>,
        (is_present, is_due): (bool, bool),
        now_ms: i64,
    ) -> (Arc<BlockHandle>, Option<OpenError>) {
        let mut error = None;
        if is_due || (!is_present && !self.headers.download_lazily) {
            // The others need not wait while one that had no memory before waits for some.
            let patience = if is_due { Duration::ZERO } else { PATIENCE };
            error = block.try_again(&self.opener, patience, now_ms).await.err();
            if self.headers.is_lazy() {
                block.close_unused(Instant::now() + Duration::from_secs(1));
            }
        }
        (block, error)
    }

    /// The blocks whose index-header an earlier process left on disk.
    async fn headers_on_disk(&self) -> BTreeSet<BlockId> {
        if !self.keeps_headers {
            return BTreeSet::new();
        }
        let data_dir = self.data_dir.clone();
        let found = sabre_runtime::cpu::blocking(move || {
            let entries = std::fs::read_dir(&data_dir).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let blocks = names.filter_map(|name| layout::block_of_dir(&name));
            let has_header = |block: &BlockId| {
                data_dir
                    .join(block.to_string())
                    .join(layout::INDEX_HEADER_FILE)
                    .is_file()
            };
            blocks.filter(has_header).collect()
        });
        found.await.unwrap_or_default()
    }

    /// Drops what is not there any more, and says how many blocks. On the word of an incomplete view only what requests found
    /// gone as well.
    async fn drop_gone(&self, found: &BucketView, doubted: &BTreeSet<BlockId>, now_ms: i64) -> usize {
        let wanted: BTreeSet<BlockId> = found.metas.iter().map(|meta| meta.ulid).collect();
        if !found.is_complete() {
            let is_gone = |block: &BlockId| doubted.contains(block) && !found.failures.contains_key(block);
            let view = self.view();
            let kept = view.blocks().keys().filter(|block| !is_gone(block)).copied();
            return self.drop_all_but(&kept.chain(wanted).collect()).await;
        }
        let dropped = self.drop_all_but(&wanted).await;
        self.opener
            .unopened
            .retain(|block| wanted.contains(&block), now_ms);
        self.quarantine.retain(|block| wanted.contains(&block), now_ms);
        dropped
    }

    async fn drop_all_but(&self, wanted: &BTreeSet<BlockId>) -> usize {
        let served = self.view();
        let gone = served.blocks().keys().filter(|block| !wanted.contains(block));
        let mut dropped = 0;
        for &block in gone {
            self.drop_block(block).await;
            dropped += 1;
        }
        dropped
    }

    /// Requests that use the block go on: its index-header stays open as long as they do.
    async fn drop_block(&self, block: BlockId) {
        self.change(|blocks| drop(blocks.remove(&block)));
        self.metrics.block_drops.inc();
        tracing::info!(%block, "block is no longer served");
        self.remove_local(block).await;
    }

    async fn remove_local(&self, block: BlockId) {
        if let Err(error) = self.opener.loader.remove(block).await {
            self.metrics.block_drop_failures.inc();
            tracing::warn!(%error, "local files of a block that is gone cannot be removed");
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<BlockId, Arc<BlockHandle>>)) {
        let mut view = self.view.write();
        let mut blocks = view.blocks().clone();
        change(&mut blocks);
        self.metrics
            .blocks_loaded
            .set(i64::try_from(blocks.len()).unwrap_or(i64::MAX));
        *view = Arc::new(View::new(blocks));
    }

    /// Removes local directories of blocks that are not wanted, which an earlier process left.
    async fn tidy(&self, wanted: BTreeSet<BlockId>) {
        let data_dir = self.data_dir.clone();
        let left = sabre_runtime::cpu::blocking(move || {
            let entries = std::fs::read_dir(&data_dir).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names
                .filter_map(|name| layout::block_of_dir(&name))
                .filter(|block| !wanted.contains(block))
                .collect()
        })
        .await;
        let left: Vec<BlockId> = left.unwrap_or_default();
        for block in left {
            match self.opener.loader.remove(block).await {
                Ok(()) => tracing::info!(%block, "removed local files of a block that is not served"),
                Err(error) => tracing::warn!(%error, "local files of an unknown block cannot be removed"),
            }
        }
    }
}
