//! The metas of blocks, read once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use sabre_model::BlockId;
use sabre_objstore::{BucketExt, ErrorKind, SharedBucket};
use sabre_tsdb::meta::BlockMeta;

use super::{
    FetcherMetrics, MAX_META_BYTES,
    disk_cache::DiskCache,
    listing::Stat,
    view::{PartialBlock, PartialReason, View},
};
use crate::{
    error::{BlockError, Result},
    layout::{META_FILE, key},
};

/// Metas in memory, and on disk.
#[derive(Debug)]
pub(super) struct MetaCache {
    memory: HashMap<BlockId, Known>,
    disk: Option<DiskCache>,
}

/// What an object of a certain time holds: a broken one stays broken, and is not read again either.
#[derive(Debug, Clone)]
struct Known {
    modified_ms: i64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Meta(Arc<BlockMeta>),
    Corrupt(String),
}

/// A block whose meta must be got from disk or bucket.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    block: BlockId,
    stat: Stat,
    /// Whether the bucket has a newer one than was known before: then the disk need not be asked.
    is_outdated: bool,
}

impl MetaCache {
    /// An empty cache in front of `disk`.
    pub(super) fn new(disk: Option<DiskCache>) -> Self {
        Self {
            memory: HashMap::new(),
            disk,
        }
    }

    /// Forgets the broken ones, so that they are read again.
    pub(super) fn forget_broken(&mut self) {
        self.memory
            .retain(|_, known| matches!(known.content, Content::Meta(_)));
    }

    /// Fills `metas`, `partial` and `failures` of a view by its listing. `metas` are sorted by id.
    pub(super) async fn sync(
        &mut self,
        bucket: &SharedBucket,
        concurrency: usize,
        view: &mut View,
        metrics: &FetcherMetrics,
    ) {
        self.forget_others(view).await;
        let wanted = self.wanted(view, metrics);
        let fetch = |wanted: Wanted| {
            let (bucket, disk) = (Arc::clone(bucket), self.disk.clone());
            async move { (wanted, fetch(&bucket, disk, wanted).await) }
        };
        let mut fetched = stream::iter(wanted).map(fetch).buffer_unordered(concurrency);
        let mut known = Vec::new();
        let mut gone = HashSet::new();
        while let Some((Wanted { block, stat, .. }, outcome)) = fetched.next().await {
            match outcome {
                Ok(content) => known.push((
                    block,
                    Known {
                        modified_ms: stat.modified_ms,
                        content,
                    },
                )),
                Err(error) if error.is_gone() => {
                    gone.insert(block);
                }
                Err(error) => {
                    view.failures.insert(block, error);
                }
            }
        }
        drop(fetched);
        self.memory.extend(known);
        self.fill(view, &gone);
    }

    async fn forget_others(&mut self, view: &View) {
        let listing = &view.listing;
        // A block that could not be asked about may well be there.
        let is_known = |block: BlockId| listing.get(block).is_some() || view.failures.contains_key(&block);
        self.memory.retain(|block, _| is_known(*block));
        let Some(disk) = self.disk.clone() else { return };
        let blocks: HashSet<BlockId> = listing
            .iter()
            .map(|(block, _)| block)
            .chain(view.failures.keys().copied())
            .collect();
        let removed = tokio::task::spawn_blocking(move || disk.retain(&blocks)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "cannot remove outdated metas from the data directory");
        }
    }

    fn wanted(&mut self, view: &View, metrics: &FetcherMetrics) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for (block, objects) in view.listing.iter() {
            let Some(stat) = objects.meta else { continue };
            match self.memory.get(&block) {
                Some(known) if known.modified_ms >= stat.modified_ms => {}
                Some(_) => {
                    metrics.cache_busts.inc();
                    self.memory.remove(&block);
                    wanted.push(Wanted {
                        block,
                        stat,
                        is_outdated: true,
                    });
                }
                None => wanted.push(Wanted {
                    block,
                    stat,
                    is_outdated: false,
                }),
            }
        }
        wanted
    }

    fn fill(&self, view: &mut View, gone: &HashSet<BlockId>) {
        for (block, objects) in view.listing.iter() {
            let newest_modified_ms = objects.newest_modified_ms;
            let partial = |reason| PartialBlock {
                reason,
                newest_modified_ms,
            };
            if objects.meta.is_none() || gone.contains(&block) {
                view.partial.insert(block, partial(PartialReason::NoMeta));
                continue;
            }
            match self.memory.get(&block).map(|known| &known.content) {
                Some(Content::Meta(meta)) => view.metas.push(Arc::clone(meta)),
                Some(Content::Corrupt(why)) => {
                    view.partial
                        .insert(block, partial(PartialReason::CorruptMeta(why.clone())));
                }
                // It is among the failures.
                None => {}
            }
        }
    }
}

/// Gets a meta from disk if that is new enough, else from the bucket.
async fn fetch(bucket: &SharedBucket, disk: Option<DiskCache>, wanted: Wanted) -> Result<Content> {
    let Wanted {
        block,
        stat,
        is_outdated,
    } = wanted;
    if let Some(disk) = disk.clone().filter(|_| !is_outdated) {
        let loaded = tokio::task::spawn_blocking(move || disk.load(block, stat.modified_ms)).await;
        if let Ok(Some(meta)) = loaded {
            return Ok(named(meta, block));
        }
    }
    let text = match bucket.get_all(&key(block, META_FILE), MAX_META_BYTES).await {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::TooLarge => return Ok(Content::Corrupt(error.to_string())),
        Err(error) => return Err(BlockError::new(block, META_FILE, error)),
    };
    let meta = match BlockMeta::parse(&text) {
        Ok(meta) => meta,
        Err(error) => return Ok(Content::Corrupt(error.to_string())),
    };
    if let Some(disk) = disk {
        let stored = tokio::task::spawn_blocking(move || disk.store(block, &text, stat.modified_ms)).await;
        if let Ok(Err(error)) = stored {
            tracing::warn!(%block, %error, "cannot keep the meta in the data directory");
        }
    }
    Ok(named(meta, block))
}

/// The directory says which block it is; a `meta.json` that says otherwise was copied by hand.
fn named(mut meta: BlockMeta, block: BlockId) -> Content {
    meta.ulid = block;
    Content::Meta(Arc::new(meta))
}
