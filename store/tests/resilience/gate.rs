//! How many calls run at once, and what one call costs in requests.

use std::{sync::Arc, time::Duration};

use sabre_model::MatchKind::{Eq, Re};
use sabre_objstore::{MemoryBucket, Operation, SharedBucket};
use sabre_proto::thanos::{LabelNamesRequest, LabelValuesRequest, SeriesRequest};
use sabre_runtime::budget::Budget;
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

use crate::{
    common::{TestStore, request, start_with},
    data::{Truth, block, everything, put, samples, truth},
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

/// A few of the series, by a matcher that says how many there are at most.
fn few() -> SeriesRequest {
    SeriesRequest {
        matchers: request(&[(Eq, "pod", "pod-00007")]).matchers,
        ..everything()
    }
}

/// All of them, by a matcher that does not.
fn any_number() -> SeriesRequest {
    SeriesRequest {
        matchers: request(&[(Re, "__name__", "requests_.+")]).matchers,
        ..everything()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_call_does_not_wait_for_large_ones_to_end() {
    let (bucket, store) = store(5).await;
    // An index-header that is open tells what is small.
    store.series(few()).await.unwrap();
    bucket.add(
        Rule::next(Operation::GetRange, Fault::Hang)
            .on("chunks/")
            .times(4),
    );
    let mut large = Vec::new();
    for calls in 1..=5 {
        let its_store = Arc::clone(&store);
        large.push(tokio::spawn(async move { its_store.series(any_number()).await }));
        eventually("a call under way", || in_flight(&store, calls.min(4))).await;
    }
    eventually("four stalled reads", || bucket.triggered() == 4).await;
    let answer = store.series(few()).await.unwrap();
    assert!(samples(&answer).unwrap() == truth_of(1, SERIES, |pod| pod == "pod-00007"));
    let fifth = large.pop().unwrap();
    eventually("the end of the small one", || in_flight(&store, 4)).await;
    assert!(!fifth.is_finished());
    large.iter().for_each(|call| call.abort());
    assert!(samples(&fifth.await.unwrap().unwrap()).unwrap() == truth(1, SERIES));
    eventually("the end of all", || in_flight(&store, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_call_has_memory_while_large_ones_wait_for_theirs() {
    const LIMIT_BYTES: u64 = 128 << 20;
    // More series than a small call may have, and of a hundred of them more chunks than go into one small batch.
    let (slots, series) = (4, 300);
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, slots, series)).await;
    let budget = Budget::new(LIMIT_BYTES, "--sabre.memory-budget");
    let store = Arc::new(start_with(memory, budget, |_| {}).await);
    let hundred = SeriesRequest {
        matchers: request(&[(Re, "pod", "pod-000.+")]).matchers,
        ..everything()
    };
    let free_bytes = |store: &TestStore| LIMIT_BYTES - store.budget.usage().used_bytes;
    store.series(hundred.clone()).await.unwrap();
    eventually("all that is free", || {
        store.budget.try_reserve(free_bytes(&store)).is_some()
    })
    .await;
    let held = store.budget.try_reserve(free_bytes(&store)).unwrap();
    let large = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.series(everything()).await }
    });
    eventually("a large call that waits", || store.budget.usage().waiting == 1).await;
    let answer = store.series(hundred).await.unwrap();
    let of_hundred = truth_of(slots, series, |pod| pod < "pod-00100");
    assert!(of_hundred.len() == 100 && samples(&answer).unwrap() == of_hundred);
    assert!(store.budget.usage().waiting == 1 && !large.is_finished());
    // Calls for labels wait with all, and are not refused.
    let labels = tokio::spawn({
        let store = Arc::clone(&store);
        async move { labels(&store).await }
    });
    eventually("a call for labels that waits", || {
        store.budget.usage().waiting == 2
    })
    .await;
    drop(held);
    assert_eq!(labels.await.unwrap(), (3, 1));
    let answer = large.await.unwrap().unwrap();
    assert!(samples(&answer).unwrap() == truth(slots, series));
    assert!(store.budget.usage().high_water_bytes <= LIMIT_BYTES);
}

/// How many names one series has, and how many values of a label.
async fn labels(store: &TestStore) -> (usize, usize) {
    let matchers = request(&[(Eq, "pod", "pod-00001")]).matchers;
    let names = LabelNamesRequest {
        end: i64::MAX,
        matchers: matchers.clone(),
        ..LabelNamesRequest::default()
    };
    let values = LabelValuesRequest {
        label: "pod".to_owned(),
        end: i64::MAX,
        matchers,
        ..LabelValuesRequest::default()
    };
    let names = store.client().label_names(names).await.unwrap();
    let values = store.client().label_values(values).await.unwrap();
    (names.into_inner().names.len(), values.into_inner().values.len())
}

fn truth_of(slots: i64, series: usize, is_wanted: impl Fn(&str) -> bool) -> Truth {
    let mut wanted = truth(slots, series);
    wanted.retain(|lset, _| lset.get("pod").is_some_and(&is_wanted));
    wanted
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
