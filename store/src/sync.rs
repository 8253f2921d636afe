//! Keeps the served blocks in step with the bucket.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::RwLock;
use sabre_block::{
    BlockError, HeaderLoader, MetaFetcher, PageCache,
    fetcher::{FetcherMetrics, FetcherOptions, SyncError, View as BucketView},
    filter::FilterChain,
    index_header::HeaderOptions,
    layout,
    mark::MarkKind,
};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, ListEntry, SharedBucket};
use sabre_runtime::budget::{Budget, Reservation};
use sabre_tsdb::meta::BlockMeta;

use crate::{
    backoff::Backoff,
    block::{ReadEstimates, ServedBlock},
    config::StoreConfig,
    metrics::StoreMetrics,
    view::View,
};

/// Most segments of a block that are listed; more than an index can refer to.
const MAX_SEGMENTS: usize = 8192;

/// How long a block waits for the memory of its index-header; without it, the next sync tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Brings blocks up and drops them.
#[derive(Debug)]
pub(crate) struct Syncer {
    bucket: SharedBucket,
    fetcher: MetaFetcher,
    loader: HeaderLoader,
    concurrency: usize,
    estimates: ReadEstimates,
    data_dir: std::path::PathBuf,
    metrics: StoreMetrics,
    budget: Budget,
    _pages_memory: Option<Reservation>,
    view: RwLock<Arc<View>>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    backoff: Backoff,
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
}

impl Syncer {
    pub(crate) fn new(
        bucket: SharedBucket,
        config: &StoreConfig,
        metrics: StoreMetrics,
        fetcher_metrics: FetcherMetrics,
        budget: &Budget,
    ) -> Self {
        // A page is worth less than a request: of a small budget pages get a small part.
        let page_bytes = config.page_cache_bytes.min(budget.limit_bytes() / 8);
        let pages_memory = budget.try_reserve(page_bytes);
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
        };
        let loader = HeaderLoader::new(
            Arc::clone(&bucket),
            config.cache_index_header.then(|| config.data_dir.clone()),
            PageCache::new(if pages_memory.is_some() { page_bytes } else { 0 }),
            HeaderOptions {
                value_sampling: config.posting_offsets_sampling,
            },
        );
        Self {
            fetcher: MetaFetcher::new(Arc::clone(&bucket), options, filters, fetcher_metrics),
            bucket,
            loader,
            concurrency: config.block_sync_concurrency.max(1),
            estimates: ReadEstimates {
                chunk_bytes: config.estimated_chunk_bytes,
                series_bytes: config.estimated_series_bytes,
            },
            data_dir: config.data_dir.clone(),
            metrics,
            budget: budget.child("the index-headers of the served blocks"),
            _pages_memory: pages_memory,
            view: RwLock::new(Arc::new(View::default())),
            state: tokio::sync::Mutex::new(State::default()),
        }
    }

    /// The blocks that are served now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// Looks at the bucket, loads what is new and drops what is gone.
    pub(crate) async fn sync(&self, now_ms: i64) -> Result<SyncOutcome, SyncError> {
        let mut state = self.state.lock().await;
        let found = self.fetcher.sync(now_ms).await?;
        let mut outcome = SyncOutcome::default();
        let missing: Vec<Arc<BlockMeta>> = {
            let view = self.view();
            let is_new = |meta: &&Arc<BlockMeta>| !view.blocks().contains_key(&meta.ulid);
            found.metas.iter().filter(is_new).cloned().collect()
        };
        outcome.failed = missing
            .iter()
            .filter(|meta| !state.backoff.allows(meta.ulid, now_ms))
            .count();
        let missing = missing
            .into_iter()
            .filter(|meta| state.backoff.allows(meta.ulid, now_ms))
            .collect();
        for (block, loaded) in self.load_all(missing, &found).await {
            match loaded {
                Ok(loaded) => {
                    state.backoff.succeeded(block);
                    outcome.added += 1;
                    self.change(|blocks| drop(blocks.insert(block, loaded)));
                }
                Err(error) => {
                    outcome.failed += 1;
                    self.metrics.block_load_failures.inc();
                    let pause_ms = if error.is_retryable() {
                        0
                    } else {
                        state.backoff.failed(block, now_ms)
                    };
                    tracing::error!(%error, pause_ms, "block cannot be loaded, others are served without it");
                }
            }
        }
        let wanted: BTreeSet<BlockId> = found.metas.iter().map(|meta| meta.ulid).collect();
        if found.is_complete() {
            outcome.dropped = self.drop_all_but(&wanted).await;
            state.backoff.retain(|block| wanted.contains(&block));
            if !std::mem::replace(&mut state.is_tidy, true) {
                self.tidy(wanted).await;
            }
        }
        outcome.served = self.view().blocks().len();
        self.metrics.blocks_last_loaded.set(now_ms as f64 / 1000.0);
        Ok(outcome)
    }

    /// Serves a block no longer: its objects are gone. Whether it is wanted, the next sync will tell.
    pub(crate) async fn forget(&self, block: BlockId) {
        let is_served = self.view().blocks().contains_key(&block);
        if is_served {
            self.drop_block(block).await;
        }
    }

    async fn load_all(
        &self,
        metas: Vec<Arc<BlockMeta>>,
        found: &BucketView,
    ) -> Vec<(BlockId, Result<Arc<ServedBlock>, BlockError>)> {
        let load = |meta: Arc<BlockMeta>| async move {
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
            let loaded = self.load(&meta, index_bytes, listed).await;
            self.metrics
                .block_load_duration
                .observe(started.elapsed().as_secs_f64());
            (meta.ulid, loaded)
        };
        stream::iter(metas)
            .map(load)
            .buffer_unordered(self.concurrency)
            .collect()
            .await
    }

    async fn load(
        &self,
        meta: &BlockMeta,
        index_bytes: Option<u64>,
        listed_segments: Option<Vec<String>>,
    ) -> Result<Arc<ServedBlock>, BlockError> {
        let named = meta
            .thanos
            .as_ref()
            .map(|thanos| thanos.segment_files.clone())
            .unwrap_or_default();
        let segments = match (named.is_empty(), listed_segments) {
            (false, _) => named,
            (true, Some(listed)) => listed,
            (true, None) => self.list_segments(meta.ulid).await?,
        };
        let loaded = self.loader.load(meta.ulid, index_bytes).await?;
        if let Some(build) = loaded.build {
            self.metrics.header_build_duration.observe(build.as_secs_f64());
        }
        self.metrics
            .header_load_duration
            .observe(loaded.open.as_secs_f64());
        let memory = self
            .budget
            .reserve_within(loaded.header.memory_bytes() as u64, PATIENCE)
            .await;
        let memory = memory
            .map_err(|error| BlockError::invalid(meta.ulid, layout::INDEX_HEADER_FILE, error.to_string()))?;
        let bucket = Arc::clone(&self.bucket);
        let block = ServedBlock::new(bucket, meta, (loaded.header, memory), segments, self.estimates);
        Ok(Arc::new(block))
    }

    async fn list_segments(&self, block: BlockId) -> Result<Vec<String>, BlockError> {
        let fail = |error: sabre_objstore::Error| BlockError::new(block, layout::CHUNKS_DIR, error);
        let prefix = layout::key(block, layout::CHUNKS_DIR);
        let mut entries = self.bucket.list(&prefix, false).await.map_err(fail)?;
        let mut names = Vec::new();
        while let Some(entry) = entries.next().await {
            if let ListEntry::Object(object) = entry.map_err(fail)?
                && let Some((_, name)) = object.key.rsplit_once('/')
                && names.len() < MAX_SEGMENTS
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
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
        if let Err(error) = self.loader.remove(block).await {
            self.metrics.block_drop_failures.inc();
            tracing::warn!(%error, "local files of a dropped block cannot be removed");
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<BlockId, Arc<ServedBlock>>)) {
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
            match self.loader.remove(block).await {
                Ok(()) => tracing::info!(%block, "removed local files of a block that is not served"),
                Err(error) => tracing::warn!(%error, "local files of an unknown block cannot be removed"),
            }
        }
    }
}
