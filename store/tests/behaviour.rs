//! What a store does beside giving right answers: aggregates, limits, memory, bad blocks, blocks that come and go.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed step fails the test"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{TestBlock, TestChunk, chunk, id, request, start, start_with};
use sabre_model::MatchKind::{Eq, Neq, Re};
use sabre_objstore::{Bucket, ErrorKind, MemoryBucket, Operation, SharedBucket};
use sabre_proto::thanos::{
    AggrChunk, PartialResponseStrategy, SeriesRequest, info, store_client::StoreClient,
};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{LimitSettings, StoreConfig, StoreGateway};
use sabre_testkit::fault::{Fault, FaultBucket, Rule};
use sabre_tsdb::chunk::{
    Encoding,
    aggregate::{Aggregate, AggregateChunk, SubChunk},
};
use tonic::{Code, Request, service::Routes};

const FLAG: &str = "--sabre.memory-budget";

fn everything() -> SeriesRequest {
    request(&[(Re, "__name__", ".*")])
}

fn aggregates(data: &[u8], of: &[Aggregate]) -> TestChunk {
    let mut all = AggregateChunk::default();
    for &aggregate in of {
        all.set(
            aggregate,
            Some(SubChunk {
                encoding: Encoding::Xor,
                data,
            }),
        );
    }
    TestChunk {
        mint: 0,
        maxt: 9,
        encoding: 0xff,
        data: all.encode(),
    }
}

async fn one_aggregated(aggregate: TestChunk) -> common::TestStore {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let mut block = TestBlock::new(1, 0, 100, &[]).with(&[("a", "1")], &[aggregate]);
    block.resolution = 300_000;
    block.put(&*bucket).await;
    start(bucket as SharedBucket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn downsampled_chunks_yield_the_aggregates_asked_for() {
    let store = one_aggregated(aggregates(b"xyz", &Aggregate::ALL)).await;
    let ask = SeriesRequest {
        max_resolution_window: 300_000,
        aggregates: vec![1, 4],
        ..everything()
    };
    let answer = store.series(ask.clone()).await.unwrap();
    let AggrChunk {
        raw,
        count,
        sum,
        min,
        max,
        counter,
        ..
    } = answer.series[0].1[0].clone();
    assert_eq!(count.unwrap().data, &b"xyz"[..]);
    assert!(max.is_some() && raw.is_none() && sum.is_none() && min.is_none() && counter.is_none());
    let raw_only = SeriesRequest {
        max_resolution_window: 0,
        ..ask
    };
    assert!(store.series(raw_only).await.unwrap().series.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_aggregate_fails_the_request_with_unknown() {
    let store = one_aggregated(aggregates(b"xyz", &[Aggregate::Count])).await;
    let ask = SeriesRequest {
        max_resolution_window: 300_000,
        aggregates: vec![3],
        ..everything()
    };
    let status = store.series(ask).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().contains("no aggregate Min"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_of_newer_prometheus_is_named() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let xor2 = TestChunk {
        mint: 0,
        maxt: 1,
        encoding: 4,
        data: vec![0, 1],
    };
    TestBlock::new(1, 0, 100, &[])
        .with(&[("a", "1")], &[xor2])
        .put(&*bucket)
        .await;
    let ask = SeriesRequest {
        partial_response_strategy: PartialResponseStrategy::Abort.into(),
        ..everything()
    };
    let status = start(bucket as SharedBucket).await.series(ask).await.unwrap_err();
    assert!(
        status.message().contains("XOR2") && status.message().contains("chunks/000001"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_entries_longer_than_expected_are_read_again() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    // The last chunk of a segment is longer than what is asked for unseen, and so is the last entry of the index.
    let many: Vec<TestChunk> = (0..3000).map(|n| chunk(n * 10, n * 10 + 1, &[7; 20])).collect();
    let block = TestBlock::new(1, 0, 100_000, &[])
        .with(&[("a", "1")], &[chunk(0, 1, &[1; 50_000])])
        .with(&[("a", "2")], &many)
        .with(&[("a", "3")], &[chunk(0, 1, &[3; 100_000])]);
    block.put(&*bucket).await;
    let store = start(bucket as SharedBucket).await;
    let answer = store.series(everything()).await.unwrap();
    assert_eq!(answer.series.len(), 3);
    assert_eq!(answer.series[0].1[0].raw.as_ref().unwrap().data.len(), 50_000);
    assert_eq!(answer.series[1].1.len(), 3000);
    assert_eq!(answer.series[2].1[0].raw.as_ref().unwrap().data.len(), 100_000);
    let text = store.registry.classic();
    assert!(
        text.contains("thanos_bucket_store_chunk_refetches_total{tenant=\"default-tenant\"} 1\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_of_many_batches_comes_in_order_and_whole() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let all = |data: u8| -> Vec<TestChunk> {
        (0..6000)
            .map(|n| chunk(n * 10, n * 10 + 1, &[data; 1000]))
            .collect()
    };
    TestBlock::new(1, 0, 60_000, &[])
        .with(&[("a", "1")], &all(1))
        .put(&*bucket)
        .await;
    TestBlock::new(2, 0, 60_000, &[])
        .with(&[("a", "1")], &all(2))
        .put(&*bucket)
        .await;
    let store = start(bucket as SharedBucket).await;
    let answer = store.series(everything()).await.unwrap();
    let chunks: Vec<&AggrChunk> = answer.series.iter().flat_map(|(_, chunks)| chunks).collect();
    assert_eq!(chunks.len(), 12_000);
    assert!(chunks.is_sorted_by_key(|chunk| chunk.min_time));
    assert_eq!(answer.by_labels().len(), 1);
    let longest = answer
        .series
        .iter()
        .map(|(_, chunks)| chunks.len())
        .max()
        .unwrap();
    assert!(
        longest <= 2200,
        "a message holds about two MiB, not {longest} chunks of a kB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_answer_resource_exhausted_and_name_their_flags() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let mut block = TestBlock::new(1, 0, 100, &[]);
    for n in 0..10 {
        block = block.with(&[("a", &n.to_string())], &[chunk(0, 5, &[1; 100])]);
    }
    block.put(&*bucket).await;
    let cases = [
        (
            LimitSettings {
                series: 9,
                ..LimitSettings::default()
            },
            "--store.limits.request-series",
            "series",
        ),
        (
            LimitSettings {
                samples: 9 * 120,
                ..LimitSettings::default()
            },
            "--store.limits.request-samples",
            "chunks",
        ),
        (
            LimitSettings {
                downloaded_bytes: 200,
                ..LimitSettings::default()
            },
            "--store.grpc.downloaded-bytes-limit",
            "bytes",
        ),
    ];
    for (limits, flag, reason) in cases {
        let shared = Arc::clone(&bucket) as SharedBucket;
        let store = start_with(shared, Budget::new(1 << 30, FLAG), |config| {
            config.limits = limits;
        })
        .await;
        let status = store.series(everything()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains(flag), "{status}");
        let line = format!(
            "thanos_bucket_store_queries_dropped_total{{reason=\"{reason}\",tenant=\"default-tenant\"}} 1\n"
        );
        assert!(store.registry.classic().contains(&line));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_never_fit_is_refused_and_names_the_flag() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    TestBlock::new(1, 0, 100, &[])
        .with(&[("a", "1")], &[chunk(0, 5, b"x")])
        .put(&*bucket)
        .await;
    let store = start_with(bucket as SharedBucket, Budget::new(1 << 20, FLAG), |_| {}).await;
    let status = store.series(everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains(FLAG), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_invalid_arguments() {
    let store = start(Arc::new(MemoryBucket::new("test"))).await;
    assert_eq!(
        store.series(request(&[(Re, "a", "(")])).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let mut unknown = everything();
    unknown.matchers[0].r#type = 9;
    assert_eq!(
        store.series(unknown).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

/// 200 series of 40 chunks of 4 kB: 32 MB.
async fn large_bucket() -> FaultBucket {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let mut block = TestBlock::new(1, 0, 1000, &[("replica", "a")]);
    block.segment_bytes = 4 << 20;
    let chunks: Vec<TestChunk> = (0..40)
        .map(|n| chunk(n * 10, n * 10 + 1, &[n as u8; 4000]))
        .collect();
    for n in 0..200 {
        block = block.with(&[("a", &format!("{n:03}"))], &chunks);
    }
    block.put(&*bucket).await;
    FaultBucket::new(bucket)
}

fn chunk_reads(bucket: &FaultBucket) -> usize {
    let requests = bucket.requests();
    requests
        .iter()
        .filter(|r| r.operation == Operation::GetRange && r.key.contains("/chunks/"))
        .count()
}

/// Waits until `condition` holds, for at most a minute.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_a_window_and_when_it_goes_nothing() {
    let bucket = large_bucket().await;
    let budget = Budget::new(64 << 20, FLAG);
    let store = start_with(Arc::new(bucket.clone()), budget.clone(), |_| {}).await;
    let idle = budget.usage().used_bytes;
    let mut client = StoreClient::new(store.served.channel.clone());
    let mut messages = client.series(everything()).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().is_some());
    // Reads stop once everything between bucket and reader is full.
    let mut before = usize::MAX;
    loop {
        let now = chunk_reads(&bucket);
        if now == before {
            break;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let all = 200 * 40 * 4000 / (2 << 20);
    assert!(
        before < all,
        "{before} reads of chunks although the reader stopped; all are {all}"
    );
    // Four wide batches, two more that are fetched ahead where the reader of the bucket is slow, and one stream.
    assert!(
        budget.usage().used_bytes < idle + (24 << 20),
        "{:?}",
        budget.usage()
    );
    drop(messages);
    eventually("the release of memory", || budget.usage().used_bytes == idle).await;
    let after = chunk_reads(&bucket);
    assert!(
        after <= before + 1,
        "{after} reads, {before} when the reader left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_while_the_bucket_hangs_leaves_nothing_behind() {
    let bucket = large_bucket().await;
    let budget = Budget::new(64 << 20, FLAG);
    let store = start_with(Arc::new(bucket.clone()), budget.clone(), |_| {}).await;
    let idle = budget.usage().used_bytes;
    bucket.add(
        Rule::next(Operation::GetRange, Fault::Hang)
            .on("/chunks/")
            .times(1000),
    );
    let mut client = StoreClient::new(store.served.channel.clone());
    let call = tokio::spawn(async move {
        client
            .series(everything())
            .await
            .unwrap()
            .into_inner()
            .message()
            .await
    });
    eventually("a read of chunks", || chunk_reads(&bucket) > 0).await;
    assert!(budget.usage().used_bytes > idle);
    call.abort();
    eventually("the release of memory", || budget.usage().used_bytes == idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_memory_and_all_are_answered() {
    let bucket = large_bucket().await;
    // Enough for one request at a time.
    let store = start_with(Arc::new(bucket), Budget::new(14 << 20, FLAG), |_| {}).await;
    let idle = store.budget.usage().used_bytes;
    let store = Arc::new(store);
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.series(everything()).await.unwrap().series.len() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(store.budget.usage().used_bytes, idle);
    assert!(store.budget.usage().high_water_bytes <= 14 << 20);
}

/// Two blocks of which the first is damaged: the second is served all the same.
async fn damaged(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> common::TestStore {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let bad = TestBlock::new(1, 0, 100, &[("cluster", "bad")]).with(&[("a", "1")], &[chunk(0, 5, &[5; 300])]);
    let good = TestBlock::new(2, 0, 100, &[("cluster", "good")]).with(&[("a", "1")], &[chunk(0, 5, b"x")]);
    let mut files: Vec<(String, Vec<u8>)> = bad.files().into_iter().map(|(f, b)| (f, b.to_vec())).collect();
    change(&mut files);
    for (file, bytes) in files {
        bucket
            .put(&format!("{}/{file}", bad.id), bytes.into())
            .await
            .unwrap();
    }
    good.put(&*bucket).await;
    let store = start(bucket as SharedBucket).await;
    let answer = store
        .series(request(&[(Re, "a", ".*"), (Eq, "cluster", "good")]))
        .await
        .unwrap();
    assert_eq!(answer.series.len(), 1);
    store
}

fn file<'a>(files: &'a mut [(String, Vec<u8>)], name: &str) -> &'a mut Vec<u8> {
    &mut files.iter_mut().find(|(file, _)| file == name).unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_with_block_file_and_place_and_other_blocks_are_served() {
    // What is damaged, the code, and what the error says.
    type Damage = fn(&mut Vec<(String, Vec<u8>)>);
    let table: [(&str, Damage, Code, &[&str]); 6] = [
        (
            "a bit in a chunk",
            |f| file(f, "chunks/000001")[100] ^= 1,
            Code::Unknown,
            &["chunks/000001", "crc32c"],
        ),
        (
            "a segment cut short",
            |f| file(f, "chunks/000001").truncate(100),
            Code::Unknown,
            &["chunks/000001", "offset 8"],
        ),
        (
            "a segment gone",
            |f| f.retain(|(name, _)| name != "chunks/000001"),
            Code::Unknown,
            &["segment 0"],
        ),
        (
            "a bit in a length",
            |f| file(f, "chunks/000001")[9] ^= 0x40,
            Code::Unknown,
            &["chunks/000001"],
        ),
        (
            "a bit in a series",
            |f| {
                let at = toc(file(f, "index"), 1).next_multiple_of(16) + 2;
                file(f, "index")[at] ^= 1;
            },
            Code::Unknown,
            &["index", "index series", "crc32c"],
        ),
        (
            "a bit in postings",
            |f| {
                let at = toc(file(f, "index"), 4).next_multiple_of(4) + 11;
                file(f, "index")[at] ^= 1;
            },
            Code::Aborted,
            &["index", "index postings", "crc32c"],
        ),
    ];
    for (what, change, code, texts) in table {
        let store = damaged(change).await;
        let ask = SeriesRequest {
            partial_response_strategy: PartialResponseStrategy::Abort.into(),
            ..request(&[(Re, "__name__", ".*")])
        };
        let status = store.series(ask).await.unwrap_err();
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(status.message().contains(&id(1).to_string()), "{what}: {status}");
        for text in texts {
            assert!(status.message().contains(text), "{what}: {status}");
        }
    }
}

/// An offset of the contents table of an index: 1 is that of the series, 4 that of the postings.
fn toc(index: &[u8], field: usize) -> usize {
    let at = index.len() - 52 + field * 8;
    u64::from_be_bytes(index[at..at + 8].try_into().unwrap()) as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_cannot_be_loaded_is_told_of_and_tried_again() {
    type Damage = fn(&mut Vec<(String, Vec<u8>)>);
    let table: [(&str, Damage); 4] = [
        ("index cut short", |f| file(f, "index").truncate(60)),
        ("index empty", |f| file(f, "index").clear()),
        ("a bit in the contents table", |f| {
            *file(f, "index").iter_mut().rev().nth(10).unwrap() ^= 1;
        }),
        ("a bit in the symbols", |f| file(f, "index")[14] ^= 1),
    ];
    for (what, change) in table {
        let store = damaged(change).await;
        let warn = request(&[(Re, "__name__", ".*")]);
        let abort = SeriesRequest {
            partial_response_strategy: PartialResponseStrategy::Abort.into(),
            ..warn.clone()
        };
        let bad = id(1).to_string();
        for _ in 0..2 {
            let answer = store.series(warn.clone()).await.unwrap();
            assert_eq!(answer.series.len(), 1, "{what}: only the good block answers");
            let [warning] = answer.warnings.as_slice() else {
                panic!("{what}: {:?}", answer.warnings);
            };
            assert!(
                warning.contains(&bad) && warning.contains("left out"),
                "{what}: {warning}"
            );
            let status = store.series(abort.clone()).await.unwrap_err();
            assert!(status.message().contains(&bad), "{what}: {status}");
        }
        let of_another_time = SeriesRequest {
            min_time: 1_000_000,
            ..abort.clone()
        };
        assert!(
            store.series(of_another_time).await.is_ok(),
            "{what}: it needs no block"
        );
        let outcome = store.gateway.sync(common::NOW_MS + 1).await.unwrap();
        assert_eq!(
            (outcome.served, outcome.failed, outcome.added),
            (1, 1, 0),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_lost_its_chunks_fails_requests_or_is_left_out() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let gone = TestBlock::new(1, 0, 100, &[("n", "1")]).with(&[("a", "1")], &[chunk(0, 5, b"x")]);
    gone.put(&*bucket).await;
    TestBlock::new(2, 0, 100, &[("n", "2")])
        .with(&[("a", "1")], &[chunk(0, 5, b"x")])
        .put(&*bucket)
        .await;
    let store = start(Arc::clone(&bucket) as SharedBucket).await;
    bucket
        .delete(&format!("{}/chunks/000001", gone.id))
        .await
        .unwrap();
    let abort = SeriesRequest {
        partial_response_strategy: PartialResponseStrategy::Abort.into(),
        ..everything()
    };
    for _ in 0..2 {
        let status = store.series(abort.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unknown);
        assert!(
            status
                .message()
                .starts_with(&format!("receive series from {}: ", gone.id)),
            "{status}"
        );
    }
    tokio::time::timeout(Duration::from_secs(60), store.gateway.resync_due())
        .await
        .unwrap();
    let answer = store.series(everything()).await.unwrap();
    assert_eq!((answer.series.len(), answer.warnings.len()), (1, 1));
    assert!(answer.warnings[0].contains(&gone.id.to_string()), "{answer:?}");
    // The bucket goes on to list it; once it does not, nobody misses it.
    for file in ["meta.json", "index"] {
        bucket.delete(&format!("{}/{file}", gone.id)).await.unwrap();
    }
    store.gateway.sync(common::NOW_MS).await.unwrap();
    let answer = store.series(abort).await.unwrap();
    assert_eq!((answer.series.len(), answer.warnings.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_come_and_go_with_syncs_and_a_partial_view_drops_none() {
    let inner = Arc::new(MemoryBucket::new("test"));
    let bucket = FaultBucket::new(Arc::clone(&inner) as SharedBucket);
    let block =
        |n: u8| TestBlock::new(n, 0, 100, &[("n", &n.to_string())]).with(&[("a", "1")], &[chunk(0, 5, b"x")]);
    block(1).put(&*inner).await;
    let store = start(Arc::new(bucket.clone())).await;
    assert_eq!(store.series(everything()).await.unwrap().series.len(), 1);

    // Block 1 goes, 2 comes, and the meta of 3 cannot be read: what is seen is added, nothing is dropped.
    for (key, _) in inner.objects() {
        inner.delete(&key).await.unwrap();
    }
    block(2).put(&*inner).await;
    block(3).put(&*inner).await;
    let meta = format!("{}/meta.json", id(3));
    bucket.add(
        Rule::next(Operation::Get, Fault::Error(ErrorKind::AccessDenied))
            .on(&meta)
            .times(1),
    );
    let outcome = store.gateway.sync(common::NOW_MS + 1).await.unwrap();
    assert_eq!((outcome.served, outcome.added, outcome.dropped), (2, 1, 0));

    let outcome = store.gateway.sync(common::NOW_MS + 2).await.unwrap();
    assert_eq!((outcome.served, outcome.added, outcome.dropped), (2, 1, 1));
    assert!(!store.data_dir.path().join(id(1).to_string()).exists());
    assert!(
        store
            .data_dir
            .path()
            .join(id(3).to_string())
            .join("index-header")
            .is_file()
    );
    assert_eq!(
        store
            .series(request(&[(Neq, "a", ""), (Eq, "n", "1")]))
            .await
            .unwrap()
            .series
            .len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_an_earlier_process_are_removed() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    TestBlock::new(1, 0, 100, &[])
        .with(&[("a", "1")], &[chunk(0, 5, b"x")])
        .put(&*bucket)
        .await;
    let data_dir = tempfile::tempdir().unwrap();
    let old = data_dir.path().join(id(9).to_string());
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(old.join("index-header"), b"x").unwrap();
    std::fs::create_dir_all(data_dir.path().join("other")).unwrap();
    let config = StoreConfig::new(data_dir.path());
    let gateway = StoreGateway::new(bucket, config, Budget::unlimited(), &Registry::new());
    gateway.sync(common::NOW_MS).await.unwrap();
    assert!(!old.exists());
    assert!(data_dir.path().join("other").exists());
    assert!(data_dir.path().join(id(1).to_string()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn info_is_unavailable_before_the_first_sync() {
    let bucket = Arc::new(MemoryBucket::new("test"));
    let data_dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(data_dir.path());
    let gateway = StoreGateway::new(bucket, config, Budget::unlimited(), &Registry::new());
    let routes = Routes::new(gateway.store_service()).add_service(gateway.info_service());
    let served = sabre_testkit::grpc::serve(routes).await.unwrap();
    let mut client = info::info_client::InfoClient::new(served.channel.clone());
    let status = client.info(info::InfoRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!gateway.is_ready());
    let series = StoreClient::new(served.channel.clone())
        .series(everything())
        .await;
    assert_eq!(series.unwrap_err().code(), Code::Unavailable);
    gateway.sync(common::NOW_MS).await.unwrap();
    let store = client
        .info(info::InfoRequest {})
        .await
        .unwrap()
        .into_inner()
        .store
        .unwrap();
    assert_eq!((store.min_time, store.max_time), (i64::MAX, i64::MIN));
    let old = StoreClient::new(served.channel.clone())
        .info(Request::new(sabre_proto::thanos::InfoRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(old.store_type, i32::from(sabre_proto::thanos::StoreType::Store));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hour_of_a_long_block_reads_little_more_than_it_sends() {
    let inner = Arc::new(MemoryBucket::new("test"));
    let mut block = TestBlock::new(1, 0, 100_000, &[]);
    block.segment_bytes = 64 << 20;
    // 20 series of 1,000 chunks of 1 kB: those of one time lie a MB apart.
    let chunks: Vec<TestChunk> = (0..1000).map(|n| chunk(n * 10, n * 10 + 9, &[1; 1000])).collect();
    for n in 0..20 {
        block = block.with(&[("a", &format!("{n:02}"))], &chunks);
    }
    block.put(&*inner).await;
    let store = start(inner as SharedBucket).await;
    let ask = SeriesRequest {
        min_time: 5000,
        max_time: 5099,
        ..everything()
    };
    let answer = store.series(ask).await.unwrap();
    assert_eq!(
        answer
            .series
            .iter()
            .map(|(_, chunks)| chunks.len())
            .sum::<usize>(),
        200
    );
    let fetched = metric(
        &store.registry,
        "thanos_bucket_store_series_data_size_fetched_bytes_sum",
        "chunks",
    );
    assert!(
        fetched < 1.2 * 200.0 * 1007.0,
        "fetched {fetched} bytes for 200 kB"
    );
}

fn metric(registry: &Registry, name: &str, data_type: &str) -> f64 {
    let text = registry.classic();
    let line = text
        .lines()
        .find(|line| line.starts_with(name) && line.contains(data_type))
        .unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_for_now_fails_the_request_and_keeps_the_block() {
    let inner = Arc::new(MemoryBucket::new("test"));
    TestBlock::new(1, 0, 100, &[])
        .with(&[("a", "1")], &[chunk(0, 5, b"x")])
        .put(&*inner)
        .await;
    let bucket = FaultBucket::new(inner as SharedBucket);
    let store = start(Arc::new(bucket.clone())).await;
    bucket.add(Rule::next(Operation::GetRange, Fault::Error(ErrorKind::Unavailable)).on("/chunks/"));
    assert_eq!(
        store.series(everything()).await.unwrap_err().code(),
        Code::Unknown
    );
    assert_eq!(store.series(everything()).await.unwrap().series.len(), 1);
}
