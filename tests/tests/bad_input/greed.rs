//! Requests for ten years of everything, and clients that ask for much and stop reading.

use std::{sync::Arc, time::Duration};

use sabre_objstore::MemoryBucket;
use sabre_proto::{
    prometheus::{Chunk, ChunkedReadResponse, ChunkedSeries},
    remote_read::encode_frame,
    thanos::{Label, SeriesRequest},
};
use sabre_runtime::budget::Budget;
use sabre_testkit::{blocks::BlockBuilder, s3::Answer, series::series};
use sabre_tsdb::chunk::{EncodedChunk, Encoding};
use tonic::Code;

use super::{
    sidecar::Sidecar,
    support::{BUDGET_FLAG, NOW_MS, Store, assert_says, eventually, everything},
};

const DAY_MS: i64 = 86_400_000;
const TEN_YEARS_MS: i64 = 3653 * DAY_MS;

/// Ten years in blocks of two weeks, with 20 series that have a sample every three hours.
async fn ten_years() -> Arc<MemoryBucket> {
    let memory = Arc::new(MemoryBucket::new("test"));
    let starts = (0..TEN_YEARS_MS).step_by(14 * DAY_MS as usize);
    for (number, start) in (1..).zip(starts) {
        let times = start..start + 14 * DAY_MS;
        let builder = BlockBuilder::new(number).ext_labels(&[("cluster", "eu1")]);
        let block = builder.counters(20, times, 3 * 3_600_000).build().unwrap();
        block.put_into(&*memory).await.unwrap();
    }
    memory
}

fn ten_years_of_everything() -> SeriesRequest {
    SeriesRequest {
        min_time: NOW_MS - TEN_YEARS_MS,
        max_time: i64::MAX,
        ..everything()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_answers_ten_years_within_its_budget_or_says_what_it_would_take() {
    let memory = ten_years().await;
    let (enough, too_little) = (192_u64 << 20, 32_u64 << 20);
    let store = Store::with(&memory, Budget::new(enough, BUDGET_FLAG), |_| {}).await;
    store.gateway.sync(NOW_MS).await.unwrap();
    let idle_bytes = store.held_bytes();
    let answer = store.series(ten_years_of_everything()).await.unwrap();
    // A series that is larger than a batch comes in parts.
    assert_eq!(answer.by_labels().len(), 20);
    assert!(answer.series.is_sorted_by_key(|(labels, _)| labels.clone()));
    let samples = answer.series.iter().flat_map(|(_, chunks)| chunks).map(|chunk| {
        let data = &chunk.raw.as_ref().unwrap().data;
        usize::from(u16::from_be_bytes([data[0], data[1]]))
    });
    assert_eq!(
        samples.sum::<usize>(),
        20 * 261 * 14 * 8,
        "every sample of every block"
    );
    store.memory_is_back(idle_bytes).await;
    assert!(store.budget.usage().high_water_bytes <= enough);

    let store = Store::with(&memory, Budget::new(too_little, BUDGET_FLAG), |_| {}).await;
    store.gateway.sync(NOW_MS).await.unwrap();
    let idle_bytes = store.held_bytes();
    let status = store.series(ten_years_of_everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_says(
        "too little memory",
        &status,
        &[BUDGET_FLAG, "33554432", "ask for less"],
    );
    store.memory_is_back(idle_bytes).await;
    let one_month = SeriesRequest {
        max_time: 30 * DAY_MS,
        ..everything()
    };
    assert_eq!(store.series(one_month).await.unwrap().series.len(), 20);
    assert!(store.budget.usage().high_water_bytes <= too_little);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_stop_ten_years_and_name_their_flag() {
    let memory = ten_years().await;
    type Change = fn(&mut sabre_store::StoreConfig);
    let table: [(Change, &str); 3] = [
        (
            |config| config.limits.series = 1000,
            "--store.limits.request-series",
        ),
        (
            |config| config.limits.samples = 10_000,
            "--store.limits.request-samples",
        ),
        (
            |config| config.limits.downloaded_bytes = 500_000,
            "--store.grpc.downloaded-bytes-limit",
        ),
    ];
    for (change, flag) in table {
        let store = Store::with(&memory, Budget::new(256 << 20, BUDGET_FLAG), change).await;
        store.gateway.sync(NOW_MS).await.unwrap();
        let idle_bytes = store.held_bytes();
        let status = store.series(ten_years_of_everything()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert_says(flag, &status, &[flag, "limit", "narrow"]);
        store.memory_is_back(idle_bytes).await;
        let one_month = SeriesRequest {
            max_time: 30 * DAY_MS,
            ..everything()
        };
        assert_eq!(store.series(one_month).await.unwrap().series.len(), 20, "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_streams_ten_years_within_its_budget() {
    let sidecar = Sidecar::start(&["--sabre.memory-budget=16MB"]).await;
    for pod in 0..20 {
        let times = (0..TEN_YEARS_MS).step_by(3_600_000);
        let pod = format!("pod-{pod:02}");
        sidecar.prometheus.floats(
            &[("__name__", "up"), ("pod", &pod)],
            times.map(|t| (t, t as f64 * 1.1)),
        );
    }
    let answer = series(&mut sidecar.client(), ten_years_of_everything())
        .await
        .unwrap();
    assert_eq!((answer.series.len(), answer.disorder()), (20, None));
    let bytes: usize = answer
        .series
        .iter()
        .flat_map(|(_, chunks)| chunks)
        .map(|chunk| chunk.raw.as_ref().unwrap().data.len())
        .sum();
    assert!(bytes > 5 << 20, "{bytes} bytes are an answer of some size");
    sidecar.memory_is_back().await;
    assert!(sidecar.budget_bytes("high_water") <= 16 << 20);
}

/// 60 MB in 300 series.
async fn large_bucket() -> Arc<MemoryBucket> {
    let memory = Arc::new(MemoryBucket::new("test"));
    let mut builder = BlockBuilder::new(1).ext_labels(&[("cluster", "eu1")]);
    for n in 0..300 {
        let chunk = |at: i64| EncodedChunk {
            mint: at * 10,
            maxt: at * 10 + 9,
            encoding: Encoding::Xor,
            num_samples: 1,
            data: vec![7; 4000],
        };
        let labels = sabre_model::Labels::from_pairs([("__name__", format!("m{n:03}"))]).unwrap();
        builder = builder.chunks(labels, (0..50).map(chunk).collect());
    }
    builder.build().unwrap().put_into(&*memory).await.unwrap();
    memory
}

/// Waits until a figure does not change any more.
async fn settled(mut figure: impl FnMut() -> u64) -> u64 {
    let (mut last, mut same) = (u64::MAX, 0);
    while same < 5 {
        let now = figure();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_store_that_stops_reading_holds_a_window_and_blocks_nobody() {
    let memory = large_bucket().await;
    let store = Store::with(&memory, Budget::new(64 << 20, BUDGET_FLAG), |_| {}).await;
    store.gateway.sync(NOW_MS).await.unwrap();
    let idle_bytes = store.held_bytes();
    let mut messages = store.client().series(everything()).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().is_some());
    let reads = || store.bucket.requests().len() as u64;
    let before = settled(reads).await;
    let held_bytes = store.held_bytes() - idle_bytes;
    assert!(held_bytes < 32 << 20, "{held_bytes} bytes of an answer of 60 MB");

    // Another connection, as other clients have.
    let mut other = sabre_proto::thanos::store_client::StoreClient::new(
        sabre_testkit::grpc::connect(store.served.address).await.unwrap(),
    );
    let one = SeriesRequest {
        matchers: vec![super::support::matcher(
            sabre_model::MatchKind::Eq,
            "__name__",
            "m007",
        )],
        ..everything()
    };
    assert_eq!(series(&mut other, one).await.unwrap().series.len(), 1);
    assert!(reads() < before + 10, "the reader that stopped is not read for");
    drop(messages);
    store.memory_is_back(idle_bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_sidecar_that_stops_reading_holds_a_window() {
    let sidecar = Sidecar::start(&["--sabre.memory-budget=32MB"]).await;
    let frame = |n: u32| {
        let chunk = Chunk {
            min_time_ms: 0,
            max_time_ms: 1,
            r#type: 1,
            data: vec![7_u8; 100_000].into(),
        };
        let label = Label {
            name: "__name__".to_owned(),
            value: format!("m{n:04}"),
        };
        let chunked_series = vec![ChunkedSeries {
            labels: vec![label],
            chunks: vec![chunk],
        }];
        encode_frame(&prost::Message::encode_to_vec(&ChunkedReadResponse {
            chunked_series,
            query_index: 0,
        }))
    };
    let body: Vec<u8> = (0..600).flat_map(frame).collect();
    let streamed = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    let answer = Answer::new(200).header("content-type", streamed).body(body);
    sidecar.prometheus.fail("/api/v1/read", 1, answer);
    let mut messages = sidecar.client().series(everything()).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().is_some());
    let held_bytes = settled(|| sidecar.budget_bytes("used")).await;
    assert!(
        held_bytes > 0 && held_bytes <= 8 << 20,
        "{held_bytes} bytes of an answer of 60 MB"
    );
    drop(messages);
    eventually("the release of memory", || sidecar.budget_bytes("used") == 0).await;
}
