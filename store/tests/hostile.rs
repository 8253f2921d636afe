//! Many large queries at once in a small budget. Alone in its process: the memory measured is its own, and that of the
//! callers, who keep their answers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it measured, and fails by panicking"
)]

mod common;
#[path = "resilience/data.rs"]
#[expect(dead_code, reason = "each test uses its part of it")]
mod data;

use std::{sync::Arc, time::Duration};

use sabre_model::MatchKind::{Eq, Re};
use sabre_objstore::{MemoryBucket, SharedBucket};
use sabre_proto::thanos::SeriesRequest;
use sabre_runtime::budget::Budget;
use sabre_testkit::series::SeriesAnswer;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    common::{TestStore, request, start_with},
    data::{Truth, block, everything, put, samples, truth},
};

const BUDGET_BYTES: u64 = 128 << 20;
/// What callers keep: the answers of the twenty calls that run at once, two or three MiB each, and the samples of the four that
/// are compared. Besides, the blocks, and threads with their allocators. In all, 119 to 172 MiB were seen.
const BESIDES_BYTES: u64 = 128 << 20;
const HOSTILE: usize = 64;
const SMALL: usize = 40;
/// How often a small one may be refused, which has waited for memory each time.
const SMALL_TRIES: usize = 10;
const BLOCKS: u64 = 6;
const SERIES: usize = 200;

/// Anonymous memory of this process.
fn held_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

fn small() -> SeriesRequest {
    request(&[(Eq, "__name__", "requests_total"), (Eq, "pod", "pod-00007")])
}

/// A refusal says what it lacks.
fn is_for_memory(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--sabre.memory-budget"), "{status}");
}

/// The answer to a small one, which may be refused while large ones have the memory, and gets it in the end.
async fn small_answer(store: &TestStore) -> SeriesAnswer {
    for _ in 0..SMALL_TRIES {
        match store.series(small()).await {
            Ok(answer) => return answer,
            Err(status) => is_for_memory(&status),
        }
    }
    panic!("a small query was refused {SMALL_TRIES} times");
}

/// Whether a hostile one is answered. The answer is compared and dropped here: what is measured is the store's.
async fn is_answered(store: Arc<TestStore>, number: usize, expected: Arc<Truth>) -> bool {
    match store.series(hostile(number)).await {
        Ok(answer) => {
            let is_whole = number % 4 == 2 || samples(&answer).unwrap() == *expected;
            assert!(is_whole, "an answer that is not whole");
            true
        }
        Err(status) => {
            is_for_memory(&status);
            false
        }
    }
}

/// Selects everything by expressions that match everything, in many ways.
fn hostile(number: usize) -> SeriesRequest {
    let batches = SeriesRequest {
        response_batch_size: 64,
        ..everything()
    };
    match number % 4 {
        0 => batches,
        1 => SeriesRequest {
            matchers: request(&[(Re, "__name__", ".+"), (Re, "pod", "(pod-)?.*[0-9]")]).matchers,
            ..batches
        },
        // Without a label that sorts before others, everything has to be sorted.
        2 => SeriesRequest {
            without_replica_labels: vec!["pod".to_owned()],
            ..batches
        },
        _ => everything(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_kill_nothing_and_small_ones_still_answer() {
    let memory = Arc::new(MemoryBucket::new("test"));
    for number in 0..BLOCKS {
        put(&*memory, block(number + 1, number as i64, 1, SERIES)).await;
    }
    let budget = Budget::new(BUDGET_BYTES, "--sabre.memory-budget");
    let store = Arc::new(start_with(memory as SharedBucket, budget, |_| {}).await);
    let before = store.budget.usage().used_bytes;
    let mut alone = Vec::new();
    for _ in 0..SMALL {
        let started = Instant::now();
        store.series(small()).await.unwrap();
        alone.push(started.elapsed());
    }
    let expected = Arc::new(truth(BLOCKS as i64, SERIES));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..HOSTILE {
        tasks.spawn(is_answered(Arc::clone(&store), number, Arc::clone(&expected)));
    }
    let (mut beside, mut most_held) = (Vec::new(), 0);
    for _ in 0..SMALL {
        most_held = most_held.max(held_bytes());
        let started = Instant::now();
        let answer = small_answer(&store).await;
        assert_eq!(answer.by_labels().len(), 1);
        beside.push(started.elapsed());
    }
    let (mut whole, mut refused) = (0, 0);
    while let Some(done) = tasks.join_next().await {
        most_held = most_held.max(held_bytes());
        match done.unwrap() {
            true => whole += 1,
            false => refused += 1,
        }
    }
    let usage = store.budget.usage();
    eprintln!(
        "{HOSTILE} hostile queries at once: {whole} answered, {refused} refused; high water {} of {} MiB, RssAnon {} MiB; p99 of small \
         ones {:?} alone, {:?} beside them",
        usage.high_water_bytes >> 20,
        BUDGET_BYTES >> 20,
        most_held >> 20,
        p99(alone),
        p99(beside)
    );
    assert!(usage.high_water_bytes <= BUDGET_BYTES);
    assert!(
        most_held <= BUDGET_BYTES + BESIDES_BYTES,
        "{most_held} bytes are held"
    );
    for _ in 0..500 {
        if store.budget.usage().used_bytes <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} bytes are still held", store.budget.usage().used_bytes);
}
