//! Reads that are asked for twice.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sabre_objstore::{Bucket, ErrorKind, Hedged, MemoryBucket, Operation, SharedBucket, conformance};
use sabre_runtime::metrics::Registry;
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use tokio::time::Instant;

/// Reads after which it is known how long one takes.
const ENOUGH: usize = 20;

async fn bucket() -> (FaultBucket, Hedged<SharedBucket>) {
    let memory = MemoryBucket::new("b");
    memory.put("a", Bytes::from(vec![7; 1000])).await.unwrap();
    let faulty = FaultBucket::new(Arc::new(memory));
    faulty.set_latency(Duration::from_millis(30));
    let shared: SharedBucket = Arc::new(faulty.clone());
    let hedged = Hedged::new(shared, 0.9, &Registry::new());
    for _ in 0..ENOUGH {
        hedged.get_range("a", 0, 10).await.unwrap();
    }
    (faulty, hedged)
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_is_asked_for_again() {
    let (faulty, hedged) = bucket().await;
    faulty.add(Rule::next(Operation::GetRange, Fault::Hang));
    let started = Instant::now();
    assert_eq!(hedged.get_range("a", 0, 10).await.unwrap().bytes.len(), 10);
    assert!(
        started.elapsed() <= Duration::from_millis(65),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(hedged.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_twice_that_comes_in_time() {
    let (faulty, hedged) = bucket().await;
    let before = faulty.count(Operation::GetRange);
    for _ in 0..200 {
        hedged.get_range("a", 0, 10).await.unwrap();
    }
    assert_eq!(faulty.count(Operation::GetRange) - before, 200);
    assert_eq!(hedged.counts().0, 0);
}

#[tokio::test(start_paused = true)]
async fn second_requests_are_few() {
    let (faulty, hedged) = bucket().await;
    for n in 0..400 {
        // Every read is slower than the last ones were.
        faulty.set_latency(Duration::from_millis(100 + n * 20));
        hedged.get_range("a", 0, 10).await.unwrap();
    }
    let hedges = hedged.counts().0;
    assert!((10..=31).contains(&hedges), "{hedges}");
}

#[tokio::test(start_paused = true)]
async fn after_an_error_there_are_none_for_a_while() {
    let (faulty, hedged) = bucket().await;
    faulty.add(Rule::next(
        Operation::GetRange,
        Fault::Error(ErrorKind::Throttled),
    ));
    assert!(hedged.get_range("a", 0, 10).await.is_err());
    faulty.set_latency(Duration::from_secs(1));
    hedged.get_range("a", 0, 10).await.unwrap();
    assert_eq!(hedged.counts().0, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_the_other() {
    let (faulty, hedged) = bucket().await;
    faulty.add(Rule::next(Operation::GetRange, Fault::Hang));
    faulty.add(Rule::next(
        Operation::GetRange,
        Fault::Error(ErrorKind::Unavailable),
    ));
    let asked = tokio::time::timeout(Duration::from_secs(5), hedged.get_range("a", 0, 10)).await;
    assert!(asked.is_err(), "the first one still may come");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_bucket_like_any_other() {
    let memory: SharedBucket = Arc::new(MemoryBucket::new("b"));
    conformance::run(sabre_objstore::hedged(memory, 0.9, &Registry::new())).await;
}
