//! Many large queries at once in a small budget. Alone in its process: the memory measured is its own, and that of callers
//! who drop what comes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what it measured, and fails by panicking"
)]

mod common;

use std::{process::Command, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sabre_model::MatchKind::{Eq, Re};
use sabre_objstore::{Bucket, FilesystemBucket};
use sabre_proto::thanos::{SeriesRequest, SeriesResponse, series_response::Result as Part};
use sabre_runtime::budget::Budget;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::common::{TestBlock, TestChunk, TestStore, request, start_with};

const BUDGET_BYTES: u64 = 128 << 20;
/// What is held beside the budget at most: threads with their stacks, connections, and messages that callers decode. In all,
/// 94 MiB were seen: what is reserved is not always used.
const BESIDES_BYTES: u64 = 48 << 20;
const HOSTILE: usize = 64;
const SMALL: usize = 40;
/// How often a small one may be refused, which has waited for memory for half a minute each time.
const SMALL_TRIES: usize = 10;
/// How often all of them together may be: after half a minute no hostile one waits any more.
const SMALL_REFUSALS: usize = 5;

const BLOCKS: u8 = 6;
const SERIES: usize = 96;
const CHUNKS: usize = 5;
const CHUNK_BYTES: usize = 12 << 10;
const SPAN_MS: i64 = 1_000_000;

/// What each hostile one is answered: 33 MiB.
const ALL: Sum = Sum {
    chunks: BLOCKS as usize * SERIES * CHUNKS,
    bytes: BLOCKS as usize * SERIES * CHUNKS * CHUNK_BYTES,
    wrong: 0,
};

/// What came, and was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    chunks: usize,
    bytes: usize,
    /// Chunks that are not as they were written.
    wrong: usize,
}

impl Sum {
    fn add(&mut self, message: SeriesResponse) {
        let series = match message.result {
            Some(Part::Series(series)) => vec![series],
            Some(Part::Batch(batch)) => batch.series,
            _ => Vec::new(),
        };
        for chunk in series.into_iter().flat_map(|series| series.chunks) {
            let data = chunk.raw.unwrap().data;
            self.chunks += 1;
            self.bytes += data.len();
            self.wrong += usize::from(data != content(chunk.min_time));
        }
    }
}

/// The data of the chunk that begins then: no two are alike.
fn content(mint: i64) -> Vec<u8> {
    let word = mint
        .unsigned_abs()
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_le_bytes();
    word.repeat(CHUNK_BYTES / word.len())
}

fn block(number: u8) -> TestBlock {
    let start = i64::from(number) * SPAN_MS;
    let mut block = TestBlock::new(number, start, start + SPAN_MS, &[("cluster", "eu")]);
    for series in 0..SERIES {
        let chunks: Vec<TestChunk> = (0..CHUNKS)
            .map(|chunk| {
                let mint = start + (series * CHUNKS + chunk) as i64 * 1000;
                common::chunk(mint, mint + 999, &content(mint))
            })
            .collect();
        let pod = format!("pod-{series:05}");
        block = block.with(&[("__name__", "requests_total"), ("pod", &pod)], &chunks);
    }
    block
}

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

fn everything() -> SeriesRequest {
    request(&[(Eq, "__name__", "requests_total"), (Re, "pod", ".+")])
}

fn small() -> SeriesRequest {
    let end = SPAN_MS - 1;
    SeriesRequest {
        max_time: end,
        ..request(&[(Eq, "__name__", "requests_total"), (Eq, "pod", "pod-00007")])
    }
}

/// A refusal says what it lacks.
fn is_for_memory(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--sabre.memory-budget"), "{status}");
}

/// Asks and drops what comes, message by message.
async fn ask(store: &TestStore, request: SeriesRequest) -> Result<Sum, Status> {
    let mut answer = store.client().series(request).await?.into_inner();
    let mut sum = Sum::default();
    while let Some(message) = answer.message().await? {
        sum.add(message);
    }
    Ok(sum)
}

/// Asks a small one until it is answered, and says how often it was refused while large ones had the memory.
async fn small_answer(store: &TestStore) -> usize {
    for refusals in 0..SMALL_TRIES {
        match ask(store, small()).await {
            Ok(sum) => {
                assert_eq!((sum.chunks, sum.wrong), (CHUNKS, 0));
                return refusals;
            }
            Err(status) => is_for_memory(&status),
        }
    }
    panic!("a small query was refused {SMALL_TRIES} times");
}

/// Whether a hostile one is answered.
async fn is_answered(store: Arc<TestStore>, number: usize) -> bool {
    match ask(&store, hostile(number)).await {
        Ok(sum) => {
            assert_eq!(sum, ALL, "query {number}");
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

/// As the program does, which is built with one arena that gives memory back: the allocator of tests has one for each
/// thread, and twice the memory for the same work.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Runs a test in a process of its own, which `said` has to be heard of, and shows what it prints.
fn in_its_own_process(test: &str, said: &str, future: impl Future<Output = ()>) {
    if ALLOCATOR.iter().all(|(name, _)| std::env::var_os(name).is_some()) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(4).enable_all().build().unwrap();
        return runtime.block_on(future);
    }
    // One after the other: of the other one's processor time this one would be short.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this)
        .args([test, "--exact", "--nocapture"])
        .envs(ALLOCATOR)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&child.stderr);
    eprintln!("{printed}");
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    assert!(printed.contains(said), "it was not run");
}

#[test]
fn sixty_four_at_once_kill_nothing_and_small_ones_still_answer() {
    let test = "sixty_four_at_once_kill_nothing_and_small_ones_still_answer";
    in_its_own_process(test, "hostile queries", sixty_four_at_once());
}

#[test]
fn long_labels_take_no_more_memory_than_short_ones() {
    let test = "long_labels_take_no_more_memory_than_short_ones";
    in_its_own_process(test, "long labels", long_labels());
}

const LONG_SERIES: usize = 600;
const LONG_VALUE_BYTES: usize = 8 << 10;
const LONG_BUDGET_BYTES: u64 = 32 << 20;
/// Of 29 MB of labels a few hundred kB are held for each block.
const LONG_HELD_BYTES: u64 = 24 << 20;

/// Each series has a value of 8 KiB that no other has, and one that all have.
fn block_of_long_labels(number: u8) -> TestBlock {
    let rest = "x".repeat(LONG_VALUE_BYTES);
    let mut block = TestBlock::new(number, 0, SPAN_MS, &[("block", &number.to_string())]);
    for series in 0..LONG_SERIES {
        let own = format!("{series:05}-{rest}");
        block = block.with(
            &[("own", &own), ("shared", &rest)],
            &[common::chunk(0, 999, &[7; 20])],
        );
    }
    block
}

async fn long_labels() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = FilesystemBucket::new(dir.path());
    for number in 0..BLOCKS {
        block_of_long_labels(number).put(&bucket as &dyn Bucket).await;
    }
    let budget = Budget::new(LONG_BUDGET_BYTES, "--sabre.memory-budget");
    let store = start_with(Arc::new(bucket), budget, |_| {}).await;
    let before = held_bytes();
    let mut answer = store
        .client()
        .series(request(&[(Re, "own", ".+")]))
        .await
        .unwrap()
        .into_inner();
    let (mut series, mut most_held) = (0, 0);
    while let Some(message) = answer.message().await.unwrap() {
        series += usize::from(matches!(message.result, Some(Part::Series(_))));
        most_held = most_held.max(held_bytes());
    }
    assert_eq!(series, usize::from(BLOCKS) * LONG_SERIES);
    let more = most_held.saturating_sub(before);
    eprintln!(
        "{series} series with {} KiB of long labels each: {} MiB were held, budget {} of {} MiB",
        (LONG_VALUE_BYTES * 2) >> 10,
        more >> 20,
        store.budget.usage().high_water_bytes >> 20,
        LONG_BUDGET_BYTES >> 20,
    );
    assert!(more <= LONG_HELD_BYTES, "{more} bytes are held");
}

async fn sixty_four_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = FilesystemBucket::new(dir.path());
    for number in 0..BLOCKS {
        block(number).put(&bucket as &dyn Bucket).await;
    }
    let budget = Budget::new(BUDGET_BYTES, "--sabre.memory-budget");
    let store = Arc::new(start_with(Arc::new(bucket), budget, |_| {}).await);
    let before = store.budget.usage().used_bytes;
    let mut alone = Vec::new();
    for _ in 0..SMALL {
        let started = Instant::now();
        assert_eq!(small_answer(&store).await, 0, "alone");
        alone.push(started.elapsed());
    }
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..HOSTILE {
        tasks.spawn(is_answered(Arc::clone(&store), number));
    }
    let (mut beside, mut small_refused, mut most_held) = (Vec::new(), 0, 0);
    for _ in 0..SMALL {
        most_held = most_held.max(held_bytes());
        let started = Instant::now();
        small_refused += small_answer(&store).await;
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
        "{HOSTILE} hostile queries of {} MiB each at once, {:?} in all: {whole} answered, {refused} refused; high water {} of {} MiB, \
         RssAnon {} MiB; {SMALL} small ones: {small_refused} refusals, p99 {:?} alone, {:?} beside them",
        ALL.bytes >> 20,
        started.elapsed(),
        usage.high_water_bytes >> 20,
        BUDGET_BYTES >> 20,
        most_held >> 20,
        p99(alone),
        p99(beside)
    );
    assert!(ALL.bytes >= 32 << 20 && whole > 0);
    assert!(usage.high_water_bytes <= BUDGET_BYTES);
    assert!(
        most_held <= BUDGET_BYTES + BESIDES_BYTES,
        "{most_held} bytes are held"
    );
    assert!(small_refused <= SMALL_REFUSALS, "{small_refused} refusals");
    for _ in 0..500 {
        if store.budget.usage().used_bytes <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} bytes are still held", store.budget.usage().used_bytes);
}
