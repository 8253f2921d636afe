//! Index-headers that are made, opened and closed as the settings say, and start-up from what is on disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sabre_objstore::{ErrorKind, MemoryBucket, Operation, SharedBucket};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{HeaderPolicy, StoreConfig, StoreGateway};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

use crate::{
    common::{NOW_MS, TestStore, start_with},
    data::{block, everything, put, samples, truth},
};

const SERIES: usize = 20;

async fn store(headers: HeaderPolicy) -> (FaultBucket, TestStore) {
    let memory = Arc::new(MemoryBucket::new("test"));
    for number in 0..4 {
        put(&*memory, block(number + 1, number as i64, 1, SERIES)).await;
    }
    let faulty = FaultBucket::new(memory as SharedBucket);
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let store = start_with(Arc::new(faulty.clone()), budget, |config| {
        config.headers = headers;
    })
    .await;
    (faulty, store)
}

fn index_reads(bucket: &FaultBucket) -> usize {
    let requests = bucket.requests();
    requests
        .iter()
        .filter(|request| request.key.ends_with("/index"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn lazy_ones_are_made_when_a_request_needs_them() {
    let (bucket, store) = store(HeaderPolicy {
        download_lazily: true,
        ..HeaderPolicy::default()
    })
    .await;
    assert_eq!(index_reads(&bucket), 0);
    store.gateway.warm(NOW_MS).await;
    assert_eq!(index_reads(&bucket), 0);
    let answer = store.series(everything()).await.unwrap();
    assert_eq!(samples(&answer).unwrap(), truth(4, SERIES));
    assert!(index_reads(&bucket) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_ones_are_closed_and_opened_again() {
    let (bucket, store) = store(HeaderPolicy {
        open_lazily: true,
        idle: Some(Duration::from_secs(300)),
        ..HeaderPolicy::default()
    })
    .await;
    let closed_bytes = store.budget.usage().used_bytes;
    store.series(everything()).await.unwrap();
    let open_bytes = store.budget.usage().used_bytes;
    assert!(open_bytes > closed_bytes);
    assert_eq!(
        store.gateway.close_unused(Instant::now()),
        0,
        "they were used just now"
    );
    let later = Instant::now() + Duration::from_secs(301);
    let mut closed = 0;
    for _ in 0..500 {
        // The call may hold blocks a little longer than its caller waits.
        closed += store.gateway.close_unused(later);
        if closed == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(closed, 4);
    assert!(store.budget.usage().used_bytes < open_bytes);
    bucket.heal();
    assert_eq!(
        samples(&store.series(everything()).await.unwrap()).unwrap(),
        truth(4, SERIES)
    );
    let text = store.registry.classic();
    assert!(
        text.contains("thanos_bucket_store_indexheader_lazy_unload_total 4\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_from_disk_asks_the_bucket_for_one_listing() {
    let (bucket, first) = store(HeaderPolicy::default()).await;
    let data_dir = first.data_dir;
    drop((first.gateway, first.served));
    bucket.heal();
    let config = StoreConfig::new(data_dir.path());
    let gateway = StoreGateway::new(
        Arc::new(bucket.clone()),
        config,
        Budget::unlimited(),
        &Registry::new(),
    );
    let outcome = gateway.sync(NOW_MS).await.unwrap();
    assert_eq!(outcome.served, 4);
    gateway.warm(NOW_MS).await;
    let requests = bucket.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].operation, Operation::Iter);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_bucket_slows_the_start_and_does_not_stop_it() {
    let memory = Arc::new(MemoryBucket::new("test"));
    for number in 0..4 {
        put(&*memory, block(number + 1, number as i64, 1, SERIES)).await;
    }
    let bucket = FaultBucket::new(memory as SharedBucket);
    bucket.add(Rule::next(Operation::GetRange, Fault::Error(ErrorKind::Throttled)).times(3));
    let data_dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(data_dir.path());
    let gateway = StoreGateway::new(
        Arc::new(bucket.clone()),
        config,
        Budget::unlimited(),
        &Registry::new(),
    );
    let outcome = gateway.sync(NOW_MS).await.unwrap();
    assert!(
        outcome.retryable > 0 && outcome.served + outcome.retryable == 4,
        "{outcome:?}"
    );
    let outcome = gateway.sync(NOW_MS + 1).await.unwrap();
    assert_eq!(
        (outcome.served, outcome.retryable),
        (4, 0),
        "what is throttled is not left alone for long"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_broken_on_disk_is_made_again() {
    let (bucket, first) = store(HeaderPolicy::default()).await;
    let data_dir = first.data_dir;
    drop((first.gateway, first.served));
    for entry in std::fs::read_dir(data_dir.path()).unwrap() {
        let header = entry.unwrap().path().join("index-header");
        if header.exists() {
            std::fs::write(header, b"garbage").unwrap();
        }
    }
    let config = StoreConfig::new(data_dir.path());
    let gateway = StoreGateway::new(
        Arc::new(bucket.clone()),
        config,
        Budget::unlimited(),
        &Registry::new(),
    );
    gateway.sync(NOW_MS).await.unwrap();
    gateway.warm(NOW_MS).await;
    for entry in std::fs::read_dir(data_dir.path()).unwrap() {
        let header = entry.unwrap().path().join("index-header");
        assert!(!header.exists() || std::fs::metadata(&header).unwrap().len() > 100);
    }
}
