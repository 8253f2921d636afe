//! Every request of a query goes wrong in every way: no wrong sample, nothing missing without an error, no leak.

use std::{sync::Arc, time::Duration};

use sabre_objstore::{ErrorKind, MemoryBucket, RetryPolicy, Retrying, SharedBucket};
use sabre_proto::thanos::PartialResponseStrategy;
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

use crate::{
    common::{NOW_MS, TestStore, start_with},
    data::{Truth, block, everything, everything_or_warn, put, samples, truth},
};

const SERIES: usize = 60;

pub(crate) const FAULTS: [Fault; 8] = [
    Fault::Error(ErrorKind::Unavailable),
    Fault::Error(ErrorKind::Timeout),
    Fault::Error(ErrorKind::AccessDenied),
    Fault::Error(ErrorKind::NotFound),
    Fault::Truncate,
    Fault::BitFlip(3),
    Fault::BitFlip(1001),
    Fault::BitFlip(54_321),
];

/// Blocks in memory, and a store of them whose requests can go wrong from now on.
async fn store(retries: bool) -> (FaultBucket, TestStore, u64) {
    store_of(retries, StoreConfig::new("").series_concurrency).await
}

/// The same, which answers so many calls at once.
async fn store_of(retries: bool, concurrency: usize) -> (FaultBucket, TestStore, u64) {
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, 1, SERIES)).await;
    put(&*memory, block(2, 1, 1, SERIES).segment_bytes(40_000)).await;
    let faulty = FaultBucket::new(memory as SharedBucket);
    let bucket: SharedBucket = match retries {
        false => Arc::new(faulty.clone()),
        true => {
            let policy = RetryPolicy {
                first_pause: Duration::from_millis(1),
                ..RetryPolicy::default()
            };
            Arc::new(Retrying::new(faulty.clone(), policy))
        }
    };
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let store = start_with(bucket, budget, |config| config.series_concurrency = concurrency).await;
    faulty.heal();
    let used = store.budget.usage().used_bytes;
    (faulty, store, used)
}

/// Whatever was held for a call is given back, if not at once then soon.
pub(crate) async fn no_leak(store: &TestStore, before: u64, what: &str) {
    for _ in 0..500 {
        if store.budget.usage().used_bytes <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{what}: {} bytes are held, {before} were before",
        store.budget.usage().used_bytes
    );
}

/// All of the truth, or what a warning says is missing: then only whole samples that are true.
fn check(answer: &sabre_testkit::series::SeriesAnswer, truth: &Truth, what: &str) {
    let got = samples(answer).unwrap_or_else(|why| panic!("{what}: {why}"));
    if answer.warnings.is_empty() {
        assert!(got == *truth, "{what}: an answer without warning is not whole");
        return;
    }
    for (lset, samples) in got {
        let of = truth
            .get(&lset)
            .unwrap_or_else(|| panic!("{what}: {lset} is no series"));
        assert!(
            samples.iter().all(|(at, value)| of.get(at) == Some(value)),
            "{what}: a wrong sample in {lset}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_request_of_a_series_call() {
    let truth = truth(2, SERIES);
    let (mut runs, mut failed, mut warned) = (0, 0, 0);
    let asks = [everything(), everything_or_warn()];
    for (fault, ask) in FAULTS
        .iter()
        .flat_map(|fault| asks.iter().map(move |ask| (*fault, ask)))
    {
        let strategy = ask.partial_response_strategy();
        for number in 0.. {
            let (faulty, store, before) = store(false).await;
            faulty.add(Rule::nth(number, fault));
            let what = format!("{strategy:?}, {fault:?} at request {number}");
            match store.series(ask.clone()).await {
                Ok(answer) => {
                    check(&answer, &truth, &what);
                    let is_strict = strategy == PartialResponseStrategy::Abort;
                    assert!(!is_strict || answer.warnings.is_empty(), "{what}");
                    warned += usize::from(!answer.warnings.is_empty());
                }
                Err(status) => {
                    assert!(!status.message().is_empty(), "{what}");
                    failed += 1;
                }
            }
            no_leak(&store, before, &what).await;
            if faulty.triggered() == 0 {
                break;
            }
            runs += 1;
            faulty.heal();
            store.gateway.sync(NOW_MS).await.unwrap();
            let again = store.series(everything()).await;
            check(
                &again.unwrap_or_else(|status| panic!("{what}, then {status}")),
                &truth,
                &what,
            );
        }
    }
    eprintln!("{runs} runs with a fault at a request of a Series call: {failed} failed, {warned} warned");
    assert!(runs >= 80 && failed > 0);
}

/// Reading again does not help: what cannot be had is told, and what comes is true.
#[tokio::test(flavor = "multi_thread")]
async fn from_every_request_of_a_series_call_on() {
    let truth = truth(2, SERIES);
    let (mut runs, mut failed, mut warned) = (0, 0, 0);
    for fault in [Fault::Truncate, Fault::BitFlip(3), Fault::BitFlip(1001)] {
        for number in 0.. {
            let (faulty, store, before) = store(false).await;
            faulty.add(Rule::nth(number, fault).times(10_000));
            let what = format!("{fault:?} from request {number} on");
            match store.series(everything_or_warn()).await {
                Ok(answer) => {
                    check(&answer, &truth, &what);
                    warned += usize::from(!answer.warnings.is_empty());
                }
                Err(status) => {
                    assert!(!status.message().is_empty(), "{what}");
                    failed += 1;
                }
            }
            no_leak(&store, before, &what).await;
            if faulty.triggered() == 0 {
                break;
            }
            runs += 1;
        }
    }
    eprintln!("{runs} runs with faults from a request of a Series call on: {failed} failed, {warned} warned");
    assert!(runs >= 15 && warned > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_are_not_noticed_behind_retries() {
    let truth = truth(2, SERIES);
    let mut runs = 0;
    for fault in [
        Fault::Error(ErrorKind::Unavailable),
        Fault::Error(ErrorKind::Throttled),
        Fault::Truncate,
    ] {
        for number in 0.. {
            let (faulty, store, before) = store(true).await;
            faulty.add(Rule::nth(number, fault).times(2));
            let answer = store.series(everything()).await.unwrap();
            check(&answer, &truth, "behind retries");
            no_leak(&store, before, "behind retries").await;
            if faulty.triggered() == 0 {
                break;
            }
            runs += 1;
        }
    }
    eprintln!("{runs} runs with a fault that passes");
    assert!(runs > 0);
}

/// Waits until a request stalls, and a little longer.
pub(crate) async fn stalled(bucket: &FaultBucket) {
    while bucket.triggered() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_at_any_request_gives_back_its_memory_and_its_place() {
    let mut runs = 0;
    for number in 0.. {
        // The only place: the next call comes to its turn once it is free.
        let (faulty, store, before) = store_of(false, 1).await;
        faulty.add(Rule::nth(number, Fault::Hang));
        let is_answered = tokio::select! {
            answer = store.series(everything()) => answer.is_ok(),
            () = stalled(&faulty) => false,
        };
        no_leak(&store, before, "stalled").await;
        if faulty.triggered() == 0 {
            assert!(is_answered);
            break;
        }
        assert!(!is_answered, "request {number} stalls and the call does not");
        runs += 1;
        let again = tokio::time::timeout(Duration::from_secs(60), store.series(everything())).await;
        check(&again.unwrap().unwrap(), &truth(2, SERIES), "after a stall");
    }
    eprintln!("{runs} runs with a call that is given up");
    assert!(runs > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_goes_wrong_serves_what_it_can_and_never_less_than_before() {
    let mut runs = 0;
    for fault in FAULTS {
        for number in 0.. {
            let (faulty, store, _) = store(false).await;
            put(&faulty, block(3, 2, 1, SERIES)).await;
            faulty.heal();
            // Nothing tells that a bit of a meta is wrong.
            let part = if matches!(fault, Fault::BitFlip(_)) {
                "/index"
            } else {
                ""
            };
            faulty.add(Rule::nth(number, fault).on(part));
            let synced = store.gateway.sync(NOW_MS).await;
            let triggered = faulty.triggered();
            faulty.heal();
            let served = samples(&store.series(everything()).await.unwrap()).unwrap();
            let whole = served == truth(3, SERIES);
            assert!(
                whole || served == truth(2, SERIES),
                "{fault:?} at request {number}: {synced:?}"
            );
            let later = NOW_MS + 3_600_000;
            store.gateway.sync(later).await.unwrap();
            let healed = samples(&store.series(everything()).await.unwrap()).unwrap();
            assert_eq!(healed, truth(3, SERIES), "{fault:?} at request {number}");
            if triggered == 0 {
                break;
            }
            runs += 1;
        }
    }
    eprintln!("{runs} runs with a fault at a request of a sync");
    assert!(runs > 0);
}

/// What a dead process left in its data directory does not mislead the next one.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_of_its_start_it_is_followed_by_one_that_answers_right() {
    let mut runs = 0;
    for fault in [Fault::Crash, Fault::CrashAfter] {
        for number in 0.. {
            let memory = Arc::new(MemoryBucket::new("test"));
            put(&*memory, block(1, 0, 1, SERIES)).await;
            put(&*memory, block(2, 1, 1, SERIES).segment_bytes(40_000)).await;
            let faulty = FaultBucket::new(memory as SharedBucket);
            let data_dir = tempfile::tempdir().unwrap();
            let dying = StoreGateway::new(
                Arc::new(faulty.clone()),
                StoreConfig::new(data_dir.path()),
                Budget::unlimited(),
                &Registry::new(),
            );
            faulty.add(Rule::nth(number, fault));
            let start = async {
                let synced = dying.sync(NOW_MS).await;
                dying.warm(NOW_MS).await;
                synced
            };
            let has_died = faulty.until_crash(start).await.is_none();
            assert_eq!(has_died, faulty.triggered() > 0, "{fault:?} at request {number}");
            faulty.heal();
            let budget = Budget::new(1 << 30, "--sabre.memory-budget");
            let next = start_with(Arc::new(faulty), budget, |config| {
                config.data_dir = data_dir.path().to_owned();
            })
            .await;
            let answer = next.series(everything()).await.unwrap();
            assert!(
                samples(&answer).unwrap() == truth(2, SERIES),
                "{fault:?} at request {number}"
            );
            if !has_died {
                break;
            }
            runs += 1;
        }
    }
    eprintln!("{runs} runs with a kill at a request of a start");
    assert!(runs > 4);
}
