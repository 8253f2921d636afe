//! Blocks made by the test, and a store that serves them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed step fails the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use sabre_model::{BlockId, Labels, MatchKind};
use sabre_objstore::{Bucket, SharedBucket};
use sabre_proto::thanos::{LabelMatcher, SeriesRequest, store_client::StoreClient};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::{
    grpc::{Served, serve},
    series::{SeriesAnswer, series},
};
use sabre_tsdb::{
    index::{ChunkMeta, IndexWriter, SymbolsBuilder},
    meta::{BlockMeta, Downsample, ThanosMeta},
    segment::{MemorySink, SegmentWriter, segment_name},
};
use tempfile::TempDir;
use tonic::{Status, service::Routes, transport::Channel};

/// What the tests take for now: after all of their blocks.
pub const NOW_MS: i64 = 10_000_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestChunk {
    pub mint: i64,
    pub maxt: i64,
    pub encoding: u8,
    pub data: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct TestBlock {
    pub id: BlockId,
    pub mint: i64,
    pub maxt: i64,
    pub resolution: i64,
    pub external: Labels,
    pub series: BTreeMap<Labels, Vec<TestChunk>>,
    /// Segments are cut here.
    pub segment_bytes: u32,
}

pub fn id(n: u8) -> BlockId {
    BlockId::from_parts(1000 + u64::from(n), [n; 10])
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

pub fn chunk(mint: i64, maxt: i64, data: &[u8]) -> TestChunk {
    TestChunk {
        mint,
        maxt,
        encoding: 1,
        data: data.to_vec(),
    }
}

impl TestBlock {
    pub fn new(n: u8, mint: i64, maxt: i64, external: &[(&str, &str)]) -> Self {
        Self {
            id: id(n),
            mint,
            maxt,
            resolution: 0,
            external: labels(external),
            series: BTreeMap::new(),
            segment_bytes: 1 << 20,
        }
    }

    #[must_use]
    pub fn with(mut self, pairs: &[(&str, &str)], chunks: &[TestChunk]) -> Self {
        self.series.insert(labels(pairs), chunks.to_vec());
        self
    }

    pub async fn put(&self, bucket: &dyn Bucket) {
        for (file, bytes) in self.files() {
            bucket.put(&format!("{}/{file}", self.id), bytes).await.unwrap();
        }
    }

    /// The files of the block, `meta.json` last.
    pub fn files(&self) -> Vec<(String, Bytes)> {
        let texts: BTreeSet<&str> = self
            .series
            .keys()
            .flat_map(|l| l.iter())
            .flat_map(|(n, v)| [n, v])
            .collect();
        let mut symbols = SymbolsBuilder::new();
        for text in std::iter::once("").chain(texts) {
            symbols.push(text).unwrap();
        }
        let mut segments = SegmentWriter::new(self.segment_bytes);
        let mut sink = MemorySink::default();
        let mut index = IndexWriter::new(Vec::new(), symbols).unwrap();
        for (lset, chunks) in &self.series {
            segments.begin_series();
            let mut metas = Vec::new();
            for TestChunk {
                mint,
                maxt,
                encoding,
                data,
            } in chunks
            {
                let chunk_ref = segments.write_chunk(&mut sink, *encoding, data).unwrap().into();
                metas.push(ChunkMeta {
                    mint: *mint,
                    maxt: *maxt,
                    chunk_ref,
                });
            }
            index.add_series(lset, &metas).unwrap();
        }
        let (index, _) = index.finish().unwrap();
        let mut files = vec![("index".to_owned(), Bytes::from(index))];
        for (n, segment) in (0..).zip(sink.segments) {
            files.push((format!("chunks/{}", segment_name(n)), Bytes::from(segment)));
        }
        files.push(("meta.json".to_owned(), Bytes::from(self.meta().to_json())));
        files
    }

    fn meta(&self) -> BlockMeta {
        let mut meta = BlockMeta {
            ulid: self.id,
            min_time: self.mint,
            max_time: self.maxt,
            thanos: Some(ThanosMeta {
                labels: Some(self.external.clone()),
                downsample: Downsample {
                    resolution: self.resolution,
                    ..Downsample::default()
                },
                source: "test".to_owned(),
                ..ThanosMeta::default()
            }),
            ..BlockMeta::default()
        };
        meta.compaction.level = 1;
        meta.compaction.sources = vec![self.id];
        meta
    }
}

pub struct TestStore {
    pub gateway: StoreGateway,
    pub served: Served,
    pub budget: Budget,
    pub registry: Registry,
    pub data_dir: TempDir,
}

/// Serves what is in `bucket`.
pub async fn start(bucket: SharedBucket) -> TestStore {
    start_with(bucket, Budget::new(1 << 30, "--sabre.memory-budget"), |_| {}).await
}

pub async fn start_with(
    bucket: SharedBucket,
    budget: Budget,
    change: impl FnOnce(&mut StoreConfig),
) -> TestStore {
    let data_dir = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::new(data_dir.path());
    change(&mut config);
    let registry = Registry::new();
    let gateway = StoreGateway::new(bucket, config, budget.clone(), &registry);
    gateway.sync(NOW_MS).await.unwrap();
    let routes = Routes::new(gateway.store_service()).add_service(gateway.info_service());
    let served = serve(routes).await.unwrap();
    TestStore {
        gateway,
        served,
        budget,
        registry,
        data_dir,
    }
}

impl TestStore {
    pub fn client(&self) -> StoreClient<Channel> {
        StoreClient::new(self.served.channel.clone()).max_decoding_message_size(1 << 30)
    }

    pub async fn series(&self, request: SeriesRequest) -> Result<SeriesAnswer, Status> {
        series(&mut self.client(), request).await
    }
}

pub fn matcher(kind: MatchKind, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher {
        r#type: kind.to_wire(),
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// A request for all times.
pub fn request(matchers: &[(MatchKind, &str, &str)]) -> SeriesRequest {
    SeriesRequest {
        min_time: i64::MIN,
        max_time: i64::MAX,
        matchers: matchers
            .iter()
            .map(|(kind, name, value)| matcher(*kind, name, value))
            .collect(),
        ..SeriesRequest::default()
    }
}

pub fn shared(bucket: impl Bucket + 'static) -> SharedBucket {
    Arc::new(bucket)
}
