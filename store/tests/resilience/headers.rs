//! Index-headers that are made, opened and closed as the settings say, and start-up from what is on disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sabre_objstore::{ErrorKind, MemoryBucket, Operation, SharedBucket};
use sabre_proto::thanos::{PartialResponseStrategy, SeriesRequest};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{HeaderPolicy, StoreConfig, StoreGateway};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use tonic::Code;

use crate::{
    common::{NOW_MS, TestStore, start_with},
    data::{block, everything, everything_or_warn, put, samples, truth},
};

/// The name of the block of this number.
fn bucket_block(number: u64) -> String {
    block(number, 0, 1, 1).build().unwrap().meta.ulid.to_string()
}

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

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_opened_is_told_of_and_not_tried_by_every_request() {
    let (bucket, store) = store(HeaderPolicy {
        download_lazily: true,
        ..HeaderPolicy::default()
    })
    .await;
    let bad = bucket_block(1);
    bucket.add(
        Rule::next(Operation::GetRange, Fault::Error(ErrorKind::AccessDenied))
            .on(&bad)
            .times(usize::MAX),
    );
    let abort = SeriesRequest {
        partial_response_strategy: PartialResponseStrategy::Abort.into(),
        ..everything()
    };
    let at_once = (0..8).map(|_| store.series(abort.clone()));
    for answer in futures::future::join_all(at_once).await {
        let status = answer.unwrap_err();
        assert!(status.message().contains(&bad), "{status}");
    }
    let answer = store.series(everything_or_warn()).await.unwrap();
    assert!(
        answer.warnings.iter().any(|warning| warning.contains(&bad)),
        "{:?}",
        answer.warnings
    );
    assert_eq!(samples(&answer).unwrap().len(), SERIES);
    let tries = bucket
        .requests()
        .iter()
        .filter(|request| request.key.starts_with(&bad) && request.key.ends_with("/index"))
        .count();
    assert_eq!(tries, 1, "eight requests at once and one behind them");
    let text = store.registry.classic();
    assert!(
        text.contains("thanos_bucket_store_indexheader_lazy_load_failed_total 1\n"),
        "{text}"
    );
    assert!(text.contains("sabre_store_blocks_unopened 1\n"), "{text}");
    bucket.heal();
    let later_ms = sabre_runtime::clock::now_ms() + 86_400_000;
    let outcome = store.gateway.sync(later_ms).await.unwrap();
    assert_eq!((outcome.served, outcome.failed), (4, 0));
    let answer = store.series(abort).await.unwrap();
    assert_eq!(samples(&answer).unwrap(), truth(4, SERIES));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_one_is_reserved_before_it_is_read_or_refused_with_figures() {
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, 1, 2000)).await;
    let bucket = FaultBucket::new(memory as SharedBucket);
    for cached in [true, false] {
        bucket.heal();
        let budget = Budget::new(16 << 10, "--sabre.memory-budget");
        let store = start_with(Arc::new(bucket.clone()), budget, |config| {
            config.cache_index_header = cached;
            config.page_cache_bytes = 0;
        })
        .await;
        for asked in 0..2 {
            let status = store.series(everything()).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{asked}: {status}");
            let text = status.message();
            assert!(
                text.contains(&bucket_block(1))
                    && text.contains("11520")
                    && text.contains("--sabre.memory-budget"),
                "{text}"
            );
        }
        let of_sections = bucket.requests();
        let of_sections = of_sections
            .iter()
            .filter(|request| request.operation == Operation::GetRange && request.key.ends_with("/index"));
        // The end of the index says how large the rest is: read by the sync, and by the first of the requests.
        assert_eq!(of_sections.count(), 2, "cached {cached}");
        assert!(store.budget.usage().used_bytes <= 16 << 10);
    }
}

/// How often an index-header was loaded, and how often that failed.
fn loads(store: &TestStore) -> (u64, u64) {
    let text = store.registry.classic();
    let value = |name: &str| {
        let name = format!("thanos_bucket_store_indexheader_lazy_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .parse()
            .unwrap()
    };
    (value("load_total"), value("load_failed_total"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_and_a_request_at_once_load_one_that_failed_before_once() {
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, 1, SERIES)).await;
    let bucket = FaultBucket::new(memory as SharedBucket);
    bucket.add(Rule::next(
        Operation::GetRange,
        Fault::Error(ErrorKind::Throttled),
    ));
    let store = start_with(Arc::new(bucket.clone()), Budget::unlimited(), |_| {}).await;
    assert_eq!(loads(&store), (1, 1));
    bucket.heal();
    bucket.set_latency(Duration::from_millis(50));
    let requests = futures::future::join_all((0..4).map(|_| store.series(everything())));
    let (outcome, answers) = futures::join!(store.gateway.sync(sabre_runtime::clock::now_ms()), requests);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.served, outcome.failed), (1, 0));
    for answer in answers {
        assert_eq!(samples(&answer.unwrap()).unwrap(), truth(1, SERIES));
    }
    assert_eq!(
        loads(&store),
        (2, 1),
        "one load that failed, and one that did not"
    );
    // What the requests opened is open for those that come after the sync.
    store.series(everything()).await.unwrap();
    assert_eq!(loads(&store), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_memory_is_left_out_where_that_is_allowed() {
    const LIMIT_BYTES: u64 = 64 << 20;
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, 1, SERIES)).await;
    put(&*memory, block(2, 1, 1, SERIES)).await;
    let bucket = FaultBucket::new(memory as SharedBucket);
    let poor = bucket_block(1);
    bucket.add(Rule::next(Operation::GetRange, Fault::Error(ErrorKind::Throttled)).on(&poor));
    let budget = Budget::new(LIMIT_BYTES, "--sabre.memory-budget");
    let store = start_with(Arc::new(bucket.clone()), budget, |config| {
        config.page_cache_bytes = 0;
    })
    .await;
    let rest = LIMIT_BYTES - store.budget.usage().used_bytes;
    let taken = store.budget.try_reserve(rest).unwrap();
    let outcome = store.gateway.sync(sabre_runtime::clock::now_ms()).await.unwrap();
    assert_eq!((outcome.served, outcome.failed, outcome.retryable), (1, 1, 1));
    drop(taken);
    let answer = store.series(everything_or_warn()).await.unwrap();
    assert_eq!(samples(&answer).unwrap().len(), SERIES);
    let warnings = &answer.warnings;
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("no memory for") && warnings[0].contains(&poor),
        "{warnings:?}"
    );
    let status = store.series(everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let later_ms = sabre_runtime::clock::now_ms() + 60_000;
    let outcome = store.gateway.sync(later_ms).await.unwrap();
    assert_eq!((outcome.served, outcome.failed), (2, 0));
    assert_eq!(
        samples(&store.series(everything()).await.unwrap()).unwrap(),
        truth(2, SERIES)
    );
}
