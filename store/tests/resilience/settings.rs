//! What flags change of a sync.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sabre_objstore::{MemoryBucket, Operation, SharedBucket};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

use crate::{
    common::{NOW_MS, start_with},
    data::{block, everything, put, samples, truth},
};

const SERIES: usize = 5;

async fn bucket(blocks: i64) -> FaultBucket {
    let memory = Arc::new(MemoryBucket::new("test"));
    for number in 0..blocks {
        put(&*memory, block(number as u64 + 1, number, 1, SERIES)).await;
    }
    FaultBucket::new(memory as SharedBucket)
}

/// The objects that a sync asks for before it can go no further, because nothing of this kind is answered.
async fn asked_at_once(bucket: &FaultBucket, rule: Rule, change: impl FnOnce(&mut StoreConfig)) -> usize {
    bucket.heal();
    let (operation, part) = (rule.operation, rule.key_part.clone());
    bucket.add(rule.times(usize::MAX));
    let data_dir = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::new(data_dir.path());
    change(&mut config);
    let shared = Arc::new(bucket.clone()) as SharedBucket;
    let gateway = StoreGateway::new(shared, config, Budget::unlimited(), &Registry::new());
    // Time passes when nothing is left that could go on.
    let sync = tokio::time::timeout(Duration::from_secs(1), gateway.sync(NOW_MS));
    assert!(sync.await.is_err(), "no answer ever comes");
    let asked = bucket
        .requests()
        .into_iter()
        .filter(|request| Some(request.operation) == operation && request.key.ends_with(&part));
    asked.map(|request| request.key).collect::<BTreeSet<_>>().len()
}

#[tokio::test(start_paused = true)]
async fn as_many_index_headers_are_made_at_once_as_the_flag_says() {
    let bucket = bucket(5).await;
    for concurrency in [1, 3] {
        let rule = Rule::next(Operation::GetRange, Fault::Hang).on("/index");
        let asked = asked_at_once(&bucket, rule, |config| {
            config.block_sync_concurrency = concurrency;
        })
        .await;
        assert_eq!(asked, concurrency);
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_metas_are_read_at_once_as_the_flag_says() {
    let bucket = bucket(5).await;
    for concurrency in [1, 3] {
        let rule = Rule::next(Operation::Get, Fault::Hang).on("/meta.json");
        let asked = asked_at_once(&bucket, rule, |config| {
            config.meta_fetch_concurrency = concurrency;
        })
        .await;
        assert_eq!(asked, concurrency);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn index_headers_are_kept_on_disk_unless_the_flag_says_otherwise() {
    for kept in [true, false] {
        let budget = Budget::new(1 << 30, "--sabre.memory-budget");
        let store = start_with(Arc::new(bucket(2).await), budget, |config| {
            config.cache_index_header = kept;
        })
        .await;
        let answer = store.series(everything()).await.unwrap();
        assert_eq!(samples(&answer).unwrap(), truth(2, SERIES));
        let blocks = std::fs::read_dir(store.data_dir.path()).unwrap();
        let headers = blocks.filter(|entry| entry.as_ref().unwrap().path().join("index-header").exists());
        assert_eq!(headers.count(), if kept { 2 } else { 0 });
    }
}
