//! Finds out which blocks a bucket holds, as cheaply as can be.
//!
//! A sync is one listing, and one read for each `meta.json` and each mark that was not read before. What goes wrong
//! with one block is told of that block; only a listing that fails fails the sync.

pub(crate) mod discover;
mod disk_cache;
mod listing;
mod marks;
mod metas;
mod metrics;
#[cfg(test)]
mod tests;
mod view;
mod whole;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use futures::{StreamExt, stream};
use sabre_model::BlockId;
use sabre_objstore::SharedBucket;
use sabre_tsdb::meta::BlockMeta;

use self::{discover::Discovered, disk_cache::DiskCache, marks::MarkCaches, metas::MetaCache};
pub use self::{
    discover::DiscoveryStrategy,
    listing::{BlockListing, BlockObjects, Segment, Stat},
    metrics::FetcherMetrics,
    view::{IncompleteBlock, Marks, PartialBlock, PartialReason, Resized, View},
};
use crate::{filter::FilterChain, mark::MarkKind};

/// The most bytes of a `meta.json` that are read. One that names ten thousand sources has less than one MiB.
const MAX_META_BYTES: u64 = 16 << 20;

/// How a [`MetaFetcher`] works.
#[derive(Debug, Clone)]
pub struct FetcherOptions {
    /// How blocks are found.
    pub strategy: DiscoveryStrategy,
    /// How many metas or marks are read at once: `--block-meta-fetch-concurrency`.
    pub concurrency: usize,
    /// Where metas are kept over a restart; nowhere if `None`.
    pub data_dir: Option<PathBuf>,
    /// The marks that are read.
    pub marks: Vec<MarkKind>,
}

/// A sync that failed as a whole.
#[derive(Debug, thiserror::Error)]
#[error("cannot find out which blocks there are: {0}")]
pub struct SyncError(#[source] pub sabre_objstore::Error);

/// Finds out which blocks a bucket holds, again and again.
#[derive(Debug)]
pub struct MetaFetcher {
    bucket: SharedBucket,
    strategy: DiscoveryStrategy,
    concurrency: usize,
    filters: FilterChain,
    metrics: FetcherMetrics,
    memory: tokio::sync::Mutex<Memory>,
}

/// What is remembered from sync to sync. Syncs wait for each other.
#[derive(Debug)]
struct Memory {
    metas: MetaCache,
    marks: MarkCaches,
    /// Blocks that a listing of their own confirmed to lack a file.
    confirmed: BTreeMap<BlockId, IncompleteBlock>,
    /// What was said of the last view: it is not said again by every sync.
    logged: HashMap<BlockId, String>,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        Self {
            strategy: DiscoveryStrategy::default(),
            concurrency: 32,
            data_dir: None,
            marks: vec![MarkKind::Deletion],
        }
    }
}

impl MetaFetcher {
    /// Looks at `bucket`; the blocks of its views are those that pass `filters`.
    pub fn new(
        bucket: SharedBucket,
        options: FetcherOptions,
        filters: FilterChain,
        metrics: FetcherMetrics,
    ) -> Self {
        let FetcherOptions {
            strategy,
            concurrency,
            data_dir,
            marks,
        } = options;
        let memory = Memory {
            metas: MetaCache::new(data_dir.as_deref().map(DiskCache::new)),
            marks: MarkCaches::new(&marks),
            confirmed: BTreeMap::new(),
            logged: HashMap::new(),
        };
        let concurrency = concurrency.max(1);
        Self {
            bucket,
            strategy,
            concurrency,
            filters,
            metrics,
            memory: tokio::sync::Mutex::new(memory),
        }
    }

    /// Lets the next sync read every broken `meta.json` again: what came the first time may not be what is there.
    pub async fn forget_broken_metas(&self) {
        self.memory.lock().await.metas.forget_broken();
    }

    /// Looks at the bucket as of `now_ms`, by which the filters judge ages.
    pub async fn sync(&self, now_ms: i64) -> Result<View, SyncError> {
        let mut memory = self.memory.lock().await;
        let started = Instant::now();
        self.metrics.syncs.inc();
        self.metrics.base_syncs.inc();
        let outcome = self.look(&mut memory, now_ms).await;
        self.metrics
            .sync_duration
            .observe(started.elapsed().as_secs_f64());
        match &outcome {
            Ok(view) => {
                self.metrics.show(view);
                for (block, what) in memory.news(view) {
                    tracing::warn!(%block, "{what}");
                }
            }
            Err(_) => {
                self.metrics.sync_failures.inc();
            }
        }
        outcome
    }

    async fn look(&self, memory: &mut Memory, now_ms: i64) -> Result<View, SyncError> {
        let Discovered { listing, failures } =
            self.strategy.discover(&*self.bucket).await.map_err(SyncError)?;
        let mut view = View {
            listing,
            failures,
            ..View::default()
        };
        memory
            .metas
            .sync(&self.bucket, self.concurrency, &mut view, &self.metrics)
            .await;
        view.known = view.metas.clone();
        self.set_incomplete_apart(memory, &mut view).await;
        memory
            .marks
            .sync(&*self.bucket, self.concurrency, &mut view)
            .await;
        let metas = std::mem::take(&mut view.metas);
        let filtered = self.filters.apply(metas, &view.marks.deletion, now_ms);
        (view.metas, view.dropped, view.duplicates) = (filtered.kept, filtered.dropped, filtered.duplicates);
        // A block that lacks a file makes no other superfluous.
        let filters = FilterChain {
            drop_duplicates: false,
            ..self.filters.clone()
        };
        let incomplete = std::mem::take(&mut view.incomplete_metas);
        view.incomplete_metas = filters.apply(incomplete, &view.marks.deletion, now_ms).kept;
        Ok(view)
    }

    /// Takes blocks that lack a file out of the metas.
    ///
    /// A listing of a large bucket takes many requests. A block that came whole between two of them can look as if
    /// it lacked a file; so it is listed by itself before it is judged.
    async fn set_incomplete_apart(&self, memory: &mut Memory, view: &mut View) {
        let mut suspects: Vec<Arc<BlockMeta>> = Vec::new();
        for meta in &view.metas {
            let objects = view.listing.get(meta.ulid);
            let Some(found) = objects.and_then(|objects| whole::check(meta, objects)) else {
                continue;
            };
            if !found.is_servable() && memory.confirmed.get(&meta.ulid) != Some(&found) {
                suspects.push(Arc::clone(meta));
            }
            view.incomplete.insert(meta.ulid, found);
        }
        let list = |meta: Arc<BlockMeta>| async {
            let objects = discover::list_block(&*self.bucket, meta.ulid).await;
            (meta, objects)
        };
        let mut answers = stream::iter(suspects)
            .map(list)
            .buffer_unordered(self.concurrency);
        while let Some((meta, answer)) = answers.next().await {
            match answer {
                Ok(objects) => {
                    match whole::check(&meta, &objects) {
                        Some(found) => view.incomplete.insert(meta.ulid, found),
                        None => view.incomplete.remove(&meta.ulid),
                    };
                    view.listing.replace(meta.ulid, objects);
                }
                Err(error) => {
                    view.failures.insert(meta.ulid, error);
                }
            }
        }
        drop(answers);
        let View {
            metas,
            incomplete,
            incomplete_metas,
            ..
        } = view;
        metas.retain(|meta| {
            let is_servable = incomplete
                .get(&meta.ulid)
                .is_none_or(IncompleteBlock::is_servable);
            if !is_servable {
                incomplete_metas.push(Arc::clone(meta));
            }
            is_servable
        });
        memory.confirmed = incomplete.clone();
    }
}

impl Memory {
    /// What is wrong with blocks, and was not told of the last view.
    fn news(&mut self, view: &View) -> Vec<(BlockId, String)> {
        let mut known: HashMap<BlockId, String> = HashMap::new();
        for (block, partial) in &view.partial {
            if let PartialReason::CorruptMeta(why) = &partial.reason {
                known.insert(*block, format!("the block is not used: {why}"));
            }
        }
        for (block, incomplete) in &view.incomplete {
            let verdict = if incomplete.is_servable() {
                "used all the same"
            } else {
                "not used"
            };
            known.insert(*block, format!("the block is {verdict}: {incomplete}"));
        }
        for (block, error) in &view.failures {
            known.insert(
                *block,
                format!("the block could not be looked at this time: {error}"),
            );
        }
        let is_new = |(block, what): &(&BlockId, &String)| self.logged.get(*block) != Some(*what);
        let news = known
            .iter()
            .filter(is_new)
            .map(|(block, what)| (*block, what.clone()))
            .collect();
        self.logged = known;
        news
    }
}
