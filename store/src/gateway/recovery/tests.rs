//! Several requests that find the same block gone.

use std::time::Duration;

use futures::future::join_all;
use sabre_block::BlockError;
use sabre_model::{MatchKind, Matcher};
use sabre_objstore::{Bucket, Error, ErrorKind, MemoryBucket, Operation, SharedBucket};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_testkit::{
    blocks::{Block, BlockBuilder},
    fault::{Fault, FaultBucket, Rule},
};
use tempfile::TempDir;

use super::*;
use crate::config::StoreConfig;

const NOW_MS: i64 = 10_000_000;

struct Fixture {
    memory: Arc<MemoryBucket>,
    bucket: FaultBucket,
    gateway: StoreGateway,
    block: Block,
    _data_dir: TempDir,
}

impl Fixture {
    /// A store of one block.
    async fn new() -> Self {
        let memory = Arc::new(MemoryBucket::new("test"));
        let block = BlockBuilder::new(1)
            .ext_labels(&[("cluster", "eu")])
            .floats(&[("__name__", "up")], [(0, 1.0), (15_000, 2.0)])
            .build()
            .unwrap();
        Self::of(memory, block).await
    }

    /// A store of one block whose meta.json names no sources.
    async fn without_sources() -> Self {
        let mut fixture = Self::new().await;
        let mut meta = fixture.block.meta.clone();
        meta.compaction.sources.clear();
        for (path, content) in &mut fixture.block.files {
            if path == "meta.json" {
                *content = meta.to_json().into();
            }
        }
        Self::of(Arc::new(MemoryBucket::new("test")), fixture.block).await
    }

    async fn of(memory: Arc<MemoryBucket>, block: Block) -> Self {
        block.put_into(&*memory).await.unwrap();
        let bucket = FaultBucket::new(Arc::clone(&memory) as SharedBucket);
        let data_dir = tempfile::tempdir().unwrap();
        let gateway = StoreGateway::new(
            Arc::new(bucket.clone()),
            StoreConfig::new(data_dir.path()),
            Budget::unlimited(),
            &Registry::new(),
        );
        gateway.sync(NOW_MS).await.unwrap();
        bucket.heal();
        Self {
            memory,
            bucket,
            gateway,
            block,
            _data_dir: data_dir,
        }
    }

    fn chosen(&self) -> Vec<Chosen> {
        let up = Matcher::new(MatchKind::Eq, "__name__", "up").unwrap();
        self.gateway.view().select_series(0, i64::MAX, 0, &[up], &[])
    }

    /// A request, that began with `chosen`, finds the block gone.
    async fn finds_it_gone(&self, chosen: &[Chosen]) -> Result<(), RequestError> {
        let gone = Error::new(
            ErrorKind::NotFound,
            Operation::GetRange,
            "test",
            "chunks/000001",
            "gone",
        );
        let error = RequestError::Block(BlockError::new(self.block.meta.ulid, "chunks/000001", gone));
        let attempt = Attempt {
            chosen: chosen.to_vec(),
            max_resolution_ms: 0,
        };
        let mut lost = Lost::new(false);
        self.gateway.replace(error, attempt, &mut lost, NOW_MS).await
    }
}

#[tokio::test]
async fn a_block_that_came_back_is_not_hidden_by_a_request_that_found_it_gone_before() {
    let fixture = Fixture::new().await;
    let chosen = fixture.chosen();
    assert_eq!(chosen.len(), 1);
    // The bucket lists it as before: it is known anew, and both requests go on with it.
    fixture.finds_it_gone(&chosen).await.unwrap();
    let anew = fixture.chosen();
    assert!(!Arc::ptr_eq(&anew[0].block, &chosen[0].block));
    fixture.finds_it_gone(&chosen).await.unwrap();
    assert!(Arc::ptr_eq(&fixture.chosen()[0].block, &anew[0].block));
    assert_eq!(
        fixture.bucket.count(Operation::Iter),
        1,
        "the second need not look again"
    );
}

#[tokio::test]
async fn a_block_that_names_no_sources_is_replaced_by_nothing_but_itself() {
    let fixture = Fixture::without_sources().await;
    let chosen = fixture.chosen();
    fixture.finds_it_gone(&chosen).await.unwrap();
    let chosen = fixture.chosen();
    assert_eq!(chosen.len(), 1, "it came back");
    for (key, _) in fixture.memory.objects() {
        fixture.memory.delete(&key).await.unwrap();
    }
    assert!(
        fixture.finds_it_gone(&chosen).await.is_err(),
        "nothing is known to replace it"
    );
}

#[tokio::test]
async fn a_look_that_began_before_the_block_was_found_gone_does_not_count() {
    let fixture = Fixture::new().await;
    let chosen = fixture.chosen();
    // It sees the block, which is gone right after.
    fixture.gateway.sync(NOW_MS).await.unwrap();
    for (key, _) in fixture.memory.objects() {
        fixture.memory.delete(&key).await.unwrap();
    }
    assert!(
        fixture.finds_it_gone(&chosen).await.is_err(),
        "nothing replaces it"
    );
    assert!(fixture.chosen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_the_bucket_cannot_be_listed_the_block_is_missed_by_every_request_and_looked_for_once() {
    let fixture = Fixture::new().await;
    fixture.bucket.set_latency(Duration::from_millis(10));
    fixture
        .bucket
        .add(Rule::next(Operation::Iter, Fault::Error(ErrorKind::AccessDenied)).times(usize::MAX));
    let chosen = fixture.chosen();
    let outcomes = join_all((0..8).map(|_| fixture.finds_it_gone(&chosen))).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(fixture.bucket.count(Operation::Iter), 1);
    let after = fixture.chosen();
    assert_eq!(after.len(), 1, "an answer without it would look complete");
    assert!(fixture.finds_it_gone(&after).await.is_err());
    assert_eq!(
        fixture.bucket.count(Operation::Iter),
        2,
        "a later request looks anew"
    );
    fixture.bucket.heal();
    fixture.finds_it_gone(&after).await.unwrap();
    assert_eq!(fixture.chosen().len(), 1);
}

#[tokio::test]
async fn an_incomplete_view_drops_what_was_found_gone_and_nothing_else() {
    let fixture = Fixture::new().await;
    let other = BlockBuilder::new(2)
        .ext_labels(&[("cluster", "us")])
        .floats(&[("__name__", "up")], [(0, 1.0), (15_000, 2.0)])
        .build()
        .unwrap();
    other.put_into(&*fixture.memory).await.unwrap();
    fixture.gateway.sync(NOW_MS).await.unwrap();
    let chosen = fixture.chosen();
    assert_eq!(chosen.len(), 2);
    for (key, _) in fixture.memory.objects() {
        fixture.memory.delete(&key).await.unwrap();
    }
    // A third one, that cannot be looked at.
    let meta = fixture.block.files.last().unwrap().1.clone();
    let third = "00000000030000000000000000/meta.json";
    fixture.memory.put(third, meta).await.unwrap();
    fixture.bucket.add(Rule {
        key_part: "00000000030000000000000000/meta.json".to_owned(),
        times: usize::MAX,
        ..Rule::nth(0, Fault::Error(ErrorKind::Unavailable))
    });
    assert!(fixture.finds_it_gone(&chosen).await.is_err());
    let left: Vec<_> = fixture.chosen().iter().map(|chosen| chosen.block.id()).collect();
    assert_eq!(left, [other.meta.ulid]);
}
