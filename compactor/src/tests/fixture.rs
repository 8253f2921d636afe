//! A compactor on a bucket in memory, with a clock that a test sets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sabre_block::View;
use sabre_model::{BlockId, Labels};
use sabre_objstore::{Bucket, BucketExt, MemoryBucket, SharedBucket};
use sabre_runtime::budget::Budget;
use sabre_runtime::metrics::Registry;
use sabre_testkit::blocks::{Block, BlockBuilder};
use sabre_tsdb::chunk::aggregate::{Aggregate, AggregateChunk};
use sabre_tsdb::chunk::{Encoding, Sample, decode_samples};
use sabre_tsdb::index::{IndexReader, SeriesEntry};
use sabre_tsdb::meta::BlockMeta;
use sabre_tsdb::segment::{ChunkRef, read_record};
use tempfile::TempDir;

use crate::compactor::{Compactor, CompactorConfig};
use crate::error::PassError;
use crate::plan::HOUR_MS;

/// Where time begins: divided by two weeks.
pub(super) const START_MS: i64 = 1_209_600_000 * 1400;

pub(super) struct Fixture {
    pub(super) bucket: SharedBucket,
    pub(super) config: CompactorConfig,
    pub(super) now_ms: Arc<AtomicI64>,
    pub(super) registry: Registry,
    _dir: TempDir,
}

/// All samples of a bucket, by external labels with those of the series over them.
pub(super) type Samples = BTreeMap<Labels, Vec<Sample>>;

/// All aggregates of a bucket, by resolution in milliseconds, labels, and place in [`Aggregate::ALL`].
pub(super) type Aggregates = BTreeMap<(i64, Labels, usize), Vec<Sample>>;

impl Fixture {
    pub(super) fn new() -> Self {
        Self::on(Arc::new(MemoryBucket::new("b")))
    }

    pub(super) fn on(bucket: SharedBucket) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = CompactorConfig {
            consistency_delay_ms: 0,
            waits: true,
            ..CompactorConfig::new(dir.path())
        };
        Self {
            bucket,
            config,
            now_ms: Arc::new(AtomicI64::new(START_MS + 400 * HOUR_MS)),
            registry: Registry::new(),
            _dir: dir,
        }
    }

    /// A compactor as a new process would have it.
    pub(super) fn compactor(&self) -> Compactor {
        self.compactor_with(&self.registry)
    }

    fn compactor_with(&self, registry: &Registry) -> Compactor {
        let now_ms = Arc::clone(&self.now_ms);
        Compactor::new(
            Arc::clone(&self.bucket),
            self.config.clone(),
            Budget::new(256 << 20, "--sabre.memory-budget"),
            registry,
            Arc::new(move || now_ms.load(Ordering::SeqCst)),
        )
    }

    pub(super) async fn put(&self, block: &Block) -> BlockId {
        for (path, content) in &block.files {
            let key = format!("{}/{path}", block.meta.ulid);
            self.bucket.put(&key, content.clone()).await.unwrap();
        }
        block.meta.ulid
    }

    pub(super) async fn iterate(&self) -> Result<(), PassError> {
        let compactor = self.compactor();
        compactor.prepare().await.unwrap();
        compactor.iterate().await
    }

    /// The blocks that count, by begin.
    pub(super) async fn blocks(&self) -> Vec<Arc<BlockMeta>> {
        let view = self.view().await;
        let mut metas = view.metas;
        metas.retain(|meta| !view.marks.deletion.contains_key(&meta.ulid));
        metas.sort_by_key(|meta| (meta.resolution_ms(), meta.min_time, meta.ulid));
        metas
    }

    pub(super) async fn view(&self) -> View {
        // Metrics of its own: those of the compactor under test stay as they are.
        self.compactor_with(&Registry::new()).sync().await.unwrap()
    }

    pub(super) async fn mark_names(&self, block: BlockId) -> Vec<String> {
        let entries = self
            .bucket
            .list_all(&block.to_string(), true, 1000)
            .await
            .unwrap();
        let names = entries
            .iter()
            .map(|entry| entry.key().rsplit('/').next().unwrap().to_owned());
        names.filter(|name| name.ends_with("-mark.json")).collect()
    }

    /// All samples of the raw blocks that count, decoded.
    pub(super) async fn samples(&self) -> Samples {
        let mut all = Samples::new();
        for meta in self.blocks().await {
            if meta.resolution_ms() == 0 {
                read_block(&*self.bucket, &meta, &mut all).await;
            }
        }
        all
    }

    /// What downsampling made of them, decoded.
    pub(super) async fn aggregates(&self) -> Aggregates {
        let mut all = Aggregates::new();
        for meta in self.blocks().await {
            let resolution_ms = meta.resolution_ms();
            if resolution_ms == 0 {
                continue;
            }
            each_chunk(&*self.bucket, &meta, |labels, _, data| {
                let chunk = AggregateChunk::parse(data).unwrap();
                for (place, aggregate) in Aggregate::ALL.into_iter().enumerate() {
                    if let Some(part) = chunk.get(aggregate) {
                        let samples = decode_samples(part.encoding, part.data).unwrap();
                        let key = (resolution_ms, labels.clone(), place);
                        all.entry(key).or_default().extend(samples);
                    }
                }
            })
            .await;
        }
        all
    }

    pub(super) fn metric(&self, line: &str) -> bool {
        self.registry.classic().contains(&format!("{line}\n"))
    }
}

/// Adds the samples of a block.
pub(super) async fn read_block(bucket: &dyn Bucket, meta: &BlockMeta, all: &mut Samples) {
    each_chunk(bucket, meta, |labels, encoding, data| {
        let encoding = Encoding::try_from(encoding).unwrap();
        let samples = decode_samples(encoding, data).unwrap();
        all.entry(labels.clone()).or_default().extend(samples);
    })
    .await;
}

/// Calls `visit` with the labels, the byte of encoding and the data of each chunk of a block.
async fn each_chunk(bucket: &dyn Bucket, meta: &BlockMeta, mut visit: impl FnMut(&Labels, u8, &[u8])) {
    let id = meta.ulid;
    let index = bucket.get_all(&format!("{id}/index"), 1 << 30).await.unwrap();
    let reader = IndexReader::open(index).unwrap();
    let mut segments = Vec::new();
    for name in &meta.thanos.as_ref().unwrap().segment_files {
        let key = format!("{id}/chunks/{name}");
        segments.push(bucket.get_all(&key, 1 << 30).await.unwrap());
    }
    let mut cursor = reader.all_series();
    let mut entry = SeriesEntry::default();
    while let Some(series_ref) = cursor.next_into(&mut entry).unwrap() {
        let labels = reader
            .labels(series_ref, &entry)
            .unwrap()
            .overlaid(&meta.ext_labels());
        for chunk in &entry.chunks {
            let place = ChunkRef::from(chunk.chunk_ref);
            let bytes = &segments[place.segment() as usize][place.offset() as usize..];
            let record = read_record(bytes, 0).unwrap();
            visit(&labels, record.encoding, record.data);
        }
    }
}

/// A block of `series` counters, one sample a minute, in the range of hours after the start.
pub(super) fn counters(n: u64, from_h: i64, to_h: i64, series: usize) -> BlockBuilder {
    let range = START_MS + from_h * HOUR_MS..START_MS + to_h * HOUR_MS;
    BlockBuilder::new(START_MS as u64 + n)
        .ext_labels(&[("cluster", "eu1")])
        .time_range(range.clone())
        .counters(series, range, 60_000)
}
