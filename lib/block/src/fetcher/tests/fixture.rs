//! A bucket with made-up blocks, and a fetcher on it.

use std::sync::Arc;

use bytes::Bytes;
use sabre_model::{BlockId, Labels};
use sabre_objstore::{Bucket, MemoryBucket};
use sabre_testkit::fault::FaultBucket;
use sabre_tsdb::meta::{BlockMeta, File, ThanosMeta};

use super::super::*;
use crate::layout::key;

pub(super) const DAY_MS: i64 = 24 * 3_600_000;
pub(super) const NOW_MS: i64 = 1_767_225_600_000;
/// When the objects of the bucket are written, unless a test says otherwise.
pub(super) const WRITTEN_MS: i64 = NOW_MS - 10 * DAY_MS;

/// What a test can turn before it makes a fetcher.
pub(super) struct Fixture {
    pub(super) memory: Arc<MemoryBucket>,
    pub(super) bucket: FaultBucket,
    pub(super) options: FetcherOptions,
    pub(super) filters: FilterChain,
    pub(super) metrics: FetcherMetrics,
}

pub(super) fn id(n: u8) -> BlockId {
    BlockId::from_parts((WRITTEN_MS + i64::from(n)) as u64, [n; 10])
}

pub(super) fn ids(view: &View) -> Vec<BlockId> {
    view.metas.iter().map(|meta| meta.ulid).collect()
}

pub(super) fn meta(block: BlockId) -> BlockMeta {
    let file = |rel_path: &str, size_bytes| File {
        rel_path: rel_path.to_owned(),
        size_bytes,
        ..File::default()
    };
    let thanos = ThanosMeta {
        labels: Some(Labels::from_pairs([("cluster", "eu1")]).unwrap()),
        segment_files: vec!["000001".to_owned()],
        files: vec![file("chunks/000001", 6), file("index", 5), file("meta.json", 0)],
        ..ThanosMeta::default()
    };
    let mut meta = BlockMeta {
        ulid: block,
        max_time: 1,
        thanos: Some(thanos),
        ..BlockMeta::default()
    };
    meta.compaction.sources = vec![block];
    meta
}

impl Fixture {
    pub(super) fn new() -> Self {
        let memory = Arc::new(MemoryBucket::new("test"));
        memory.set_now_ms(WRITTEN_MS);
        Self {
            bucket: FaultBucket::new(Arc::<MemoryBucket>::clone(&memory)),
            memory,
            options: FetcherOptions::default(),
            filters: FilterChain::default(),
            metrics: FetcherMetrics::default(),
        }
    }

    pub(super) async fn put(&self, block: BlockId, file: &str, text: &str) {
        self.put_bytes(block, file, text.as_bytes().to_vec()).await;
    }

    pub(super) async fn put_bytes(&self, block: BlockId, file: &str, bytes: Vec<u8>) {
        self.memory
            .put(&key(block, file), Bytes::from(bytes))
            .await
            .unwrap();
    }

    pub(super) async fn delete(&self, block: BlockId, file: &str) {
        self.memory.delete(&key(block, file)).await.unwrap();
    }

    /// A whole block.
    pub(super) async fn add_block(&self, block: BlockId) {
        self.put(block, "chunks/000001", "chunks").await;
        self.put(block, "index", "index").await;
        self.put_bytes(block, "meta.json", meta(block).to_json()).await;
    }

    pub(super) async fn mark(&self, block: BlockId, deletion_time_s: i64) {
        let mark = super::mark(block, deletion_time_s);
        self.put_bytes(block, "deletion-mark.json", mark.to_json()).await;
    }

    pub(super) fn fetcher(&self) -> MetaFetcher {
        let bucket = Arc::new(self.bucket.clone());
        MetaFetcher::new(
            bucket,
            self.options.clone(),
            self.filters.clone(),
            self.metrics.clone(),
        )
    }

    /// One sync by a fetcher that remembers nothing.
    pub(super) async fn sync(&self) -> View {
        self.fetcher().sync(NOW_MS).await.unwrap()
    }
}
