//! How many calls run at once, and what one call costs in requests.

use std::{sync::Arc, time::Duration};

use sabre_objstore::{MemoryBucket, Operation, SharedBucket};
use sabre_runtime::budget::Budget;
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

use crate::{
    common::{TestStore, start_with},
    data::{block, everything, put, samples, truth},
};

const SERIES: usize = 20;

async fn store(concurrency: usize) -> (FaultBucket, Arc<TestStore>) {
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, 1, SERIES)).await;
    let bucket = FaultBucket::new(memory as SharedBucket);
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let store = start_with(Arc::new(bucket.clone()), budget, |config| {
        config.series_concurrency = concurrency;
    })
    .await;
    (bucket, Arc::new(store))
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never comes");
}

fn in_flight(store: &TestStore, calls: usize) -> bool {
    let line = format!("thanos_bucket_store_series_gate_queries_in_flight {calls}\n");
    store.registry.classic().contains(&line)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_limit_wait_for_one_that_ends() {
    let (bucket, store) = store(2).await;
    bucket.add(
        Rule::next(Operation::GetRange, Fault::Hang)
            .on("chunks/")
            .times(2),
    );
    let mut running = Vec::new();
    for calls in 1..=2 {
        let store = Arc::clone(&store);
        running.push(tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.series(everything()).await }
        }));
        eventually("a call under way", || in_flight(&store, calls)).await;
    }
    eventually("two stalled reads", || bucket.triggered() == 2).await;
    let mut third = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.series(everything()).await }
    });
    // However long: nothing but the end of one of the two lets it in.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut third).await;
    assert!(early.is_err() && in_flight(&store, 2));
    let text = store.registry.classic();
    assert!(
        text.contains("thanos_bucket_store_series_gate_queries_max 2\n"),
        "{text}"
    );
    running.pop().unwrap().abort();
    let answer = third.await.unwrap().unwrap();
    assert!(samples(&answer).unwrap() == truth(1, SERIES));
    running.pop().unwrap().abort();
    eventually("the end of all", || in_flight(&store, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_the_bucket_are_counted_by_what_they_are_for() {
    let (bucket, store) = store(0).await;
    bucket.heal();
    let answer = store.series(everything()).await.unwrap();
    assert!(samples(&answer).unwrap() == truth(1, SERIES));
    eventually("the end of the call", || in_flight(&store, 0)).await;
    let asked = bucket.requests();
    let text = store.registry.classic();
    let mut counted = 0.0;
    for data in ["postings", "series", "chunks"] {
        let of = |suffix: &str| {
            let start = format!("sabre_store_request_bucket_requests_{suffix}{{data_type=\"{data}\"");
            let line = text.lines().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("{start} in {text}"));
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        assert_eq!(of("count"), 1.0, "{data}: one call");
        assert!(of("sum") >= 1.0, "{data}");
        counted += of("sum");
    }
    assert_eq!(counted, asked.len() as f64, "{asked:?}");
}
