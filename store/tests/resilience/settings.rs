//! What flags change of a sync.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sabre_model::MatchKind;
use sabre_objstore::{MemoryBucket, Operation, SharedBucket};
use sabre_runtime::{budget::Budget, flags::parse_groups, metrics::Registry};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};

use crate::{
    common::{NOW_MS, TestBlock, chunk, request, start_with},
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

/// A block of a series whose entry in the index has more than 10 kB, and whose last chunk 50 kB. No chunk behind it tells
/// how long that is, and the block does not say either.
fn long_ones() -> TestBlock {
    let mut chunks: Vec<_> = (0..3000).map(|n| chunk(n * 10, n * 10 + 1, &[7; 20])).collect();
    chunks.push(chunk(50_000, 50_001, &[1; 50_000]));
    TestBlock::new(1, 0, 100_000, &[]).with(&[("a", "1")], &chunks)
}

/// Whether a store with these settings had to read on, for series and for chunks.
async fn reads_on(change: impl FnOnce(&mut StoreConfig)) -> (bool, bool) {
    let bucket = Arc::new(MemoryBucket::new("test"));
    long_ones().put(&*bucket).await;
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let store = start_with(bucket, budget, change).await;
    let mut last_chunk = request(&[(MatchKind::Re, "a", ".+")]);
    (last_chunk.min_time, last_chunk.max_time) = (50_000, 50_001);
    let answer = store.series(last_chunk).await.unwrap();
    let chunks = &answer.series[0].1;
    assert_eq!(
        (chunks.len(), chunks[0].raw.as_ref().unwrap().data.len()),
        (1, 50_000)
    );
    let text = store.registry.classic();
    let counted = |name: &str| {
        let start = format!("thanos_bucket_store_{name}_refetches_total");
        text.lines()
            .any(|line| line.starts_with(&start) && !line.ends_with(" 0"))
    };
    (counted("series"), counted("chunk"))
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_and_chunks_longer_than_the_flags_estimate_are_read_twice() {
    for (series, chunk, is_read_on) in [
        (Some(40_000), 100_000, (false, false)),
        (Some(40_000), 1_000, (false, true)),
        (Some(1_000), 100_000, (true, false)),
        // Without the flag, and without a word of the block, entries are taken to be short.
        (None, 100_000, (true, false)),
    ] {
        let seen = reads_on(|config| {
            config.estimated_chunk_bytes = chunk;
            config.estimated_series_bytes = series;
        });
        assert_eq!(seen.await, is_read_on, "{series:?}, {chunk}");
    }
}

/// Lists left out of an answer, and bytes read of lists, by a store with these flags. Of its series one has `n="7"`, and
/// all but one have `job="x"`, which is a list of more than 64 KiB.
async fn postings_cost(more: &[&str]) -> (f64, f64) {
    let mut block =
        TestBlock::new(1, 0, 100_000, &[]).with(&[("job", "y"), ("n", "none")], &[chunk(0, 1, &[7; 20])]);
    for n in 0..17_000 {
        block = block.with(&[("job", "x"), ("n", &n.to_string())], &[chunk(0, 1, &[7; 20])]);
    }
    let bucket = Arc::new(MemoryBucket::new("test"));
    block.put(&*bucket).await;
    let arguments = [["--objstore.config=type: FILESYSTEM"].as_slice(), more].concat();
    let flags = parse_groups(&sabre_store::flags::command().groups, &arguments).unwrap();
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let store = start_with(bucket, budget, |config| {
        let data_dir = std::mem::take(&mut config.data_dir);
        *config = StoreConfig {
            data_dir,
            ..StoreConfig::from_flags(&flags).unwrap()
        };
    })
    .await;
    let asked = request(&[(MatchKind::Eq, "n", "7"), (MatchKind::Eq, "job", "x")]);
    assert_eq!(store.series(asked).await.unwrap().series.len(), 1);
    let text = store.registry.classic();
    let sum = |name: &str, labels: &str| -> f64 {
        let start = format!("thanos_bucket_store_{name}");
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&start) && line.contains(labels));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    };
    (
        sum("lazy_expanded_postings_total", ""),
        sum("series_data_size_fetched_bytes_sum", "postings"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_left_out_where_the_flag_says_so() {
    let (left_out, bytes) = postings_cost(&[]).await;
    assert!(left_out == 0.0 && bytes > 68_000.0, "{left_out}, {bytes}");
    let (left_out, bytes) = postings_cost(&["--store.enable-lazy-expanded-postings"]).await;
    assert!(left_out == 1.0 && bytes < 1_000.0, "{left_out}, {bytes}");
}
