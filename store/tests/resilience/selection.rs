//! Which blocks a store serves, and what of them: what its flags say, as they stand on the command line.

use std::sync::Arc;

use sabre_model::{BlockId, MatchKind};
use sabre_objstore::{Bucket, MemoryBucket};
use sabre_proto::thanos::{
    info::{InfoRequest, info_client::InfoClient},
    store_client::StoreClient,
};
use sabre_runtime::{budget::Budget, flags::parse_groups, metrics::Registry};
use sabre_store::{StoreConfig, StoreGateway};
use sabre_testkit::{grpc::serve, series::series};
use sabre_tsdb::meta::DeletionMark;
use tonic::service::Routes;

use crate::common::{TestBlock, chunk, request};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// When the store looks at the bucket.
const NOW_MS: i64 = 1000 * HOUR_MS;

/// Of block n, which has the ten seconds from 10 n on.
const AGES_MS: [i64; 5] = [
    50 * HOUR_MS,
    50 * HOUR_MS,
    50 * HOUR_MS,
    40 * MINUTE_MS,
    10 * MINUTE_MS,
];

/// How long ago block 0 and block 1 were marked.
const MARKED_MS: [i64; 2] = [30 * HOUR_MS, HOUR_MS];

/// Each block has two chunks of five seconds.
async fn put(bucket: &dyn Bucket, number: u8) {
    let from = i64::from(number) * 10_000;
    let mut block = TestBlock::new(number, from, from + 10_000, &[("shard", &number.to_string())]).with(
        &[("a", "1")],
        &[
            chunk(from, from + 4_999, &[number; 20]),
            chunk(from + 5_000, from + 9_999, &[number; 20]),
        ],
    );
    let created_ms = NOW_MS - AGES_MS[usize::from(number)];
    block.id = BlockId::from_parts(created_ms as u64, [number; 10]);
    block.put(bucket).await;
    if let Some(ago_ms) = MARKED_MS.get(usize::from(number)) {
        let mark = DeletionMark {
            id: block.id,
            details: String::new(),
            deletion_time_s: (NOW_MS - ago_ms) / 1000,
        };
        let key = format!("{}/deletion-mark.json", block.id);
        bucket.put(&key, mark.to_json().into()).await.unwrap();
    }
}

/// What a store does with its five blocks, all times in seconds.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// So many blocks are loaded.
    served: usize,
    /// From when to when it says to have data.
    advertised: (i64, i64),
    /// Begins of the chunks of an answer for all times.
    chunks: Vec<i64>,
}

fn seen(served: usize, advertised: (i64, i64), chunks: &[i64]) -> Seen {
    Seen {
        served,
        advertised,
        chunks: chunks.to_vec(),
    }
}

async fn store_with(more: &[&str]) -> Seen {
    let bucket = Arc::new(MemoryBucket::new("test"));
    for number in 0..5 {
        put(&*bucket, number).await;
    }
    let data_dir = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", data_dir.path().display());
    let arguments = [["--objstore.config=type: FILESYSTEM", &data].as_slice(), more].concat();
    let flags = parse_groups(&sabre_store::flags::command().groups, &arguments).unwrap();
    let config = StoreConfig::from_flags(&flags).unwrap();
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let gateway = StoreGateway::new(bucket, config, budget, &Registry::new());
    let outcome = gateway.sync(NOW_MS).await.unwrap();
    let routes = Routes::new(gateway.store_service()).add_service(gateway.info_service());
    let server = serve(routes).await.unwrap();
    let info = InfoClient::new(server.channel.clone()).info(InfoRequest {}).await;
    let info = info.unwrap().into_inner().store.unwrap();
    let everything = request(&[(MatchKind::Eq, "a", "1")]);
    let answer = series(&mut StoreClient::new(server.channel.clone()), everything).await;
    let chunks = answer.unwrap().series.into_iter().flat_map(|(_, chunks)| chunks);
    let mut begins: Vec<i64> = chunks.map(|chunk| chunk.min_time / 1000).collect();
    begins.sort_unstable();
    Seen {
        served: outcome.served,
        advertised: (info.min_time / 1000, info.max_time / 1000),
        chunks: begins,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_flags_all_blocks_are_served_but_those_that_will_soon_be_deleted() {
    let all = seen(4, (10, 50), &[10, 15, 20, 25, 30, 35, 40, 45]);
    assert_eq!(store_with(&[]).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_outside_the_times_of_the_flags_are_left_out_and_others_cut() {
    let from = store_with(&["--min-time=1970-01-01T00:00:26Z"]).await;
    assert_eq!(from, seen(3, (26, 50), &[25, 30, 35, 40, 45]));
    let until = store_with(&["--max-time=1970-01-01T00:00:34Z"]).await;
    assert_eq!(until, seen(3, (10, 34), &[10, 15, 20, 25, 30]));
    let both = [
        "--min-time=1970-01-01T00:00:26Z",
        "--max-time=1970-01-01T00:00:34Z",
    ];
    assert_eq!(store_with(&both).await, seen(2, (26, 34), &[25, 30]));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_the_relabelling_of_the_flag_drops_are_left_out() {
    let odd = "--selector.relabel-config=[{action: keep, source_labels: [shard], regex: '[13]'}]";
    assert_eq!(store_with(&[odd]).await, seen(2, (10, 40), &[10, 15, 30, 35]));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_younger_than_the_flag_says_are_left_out() {
    let half_an_hour = store_with(&["--consistency-delay=30m"]).await;
    assert_eq!(half_an_hour, seen(3, (10, 40), &[10, 15, 20, 25, 30, 35]));
    let an_hour = store_with(&["--consistency-delay=1h"]).await;
    assert_eq!(an_hour, seen(2, (10, 30), &[10, 15, 20, 25]));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_marked_for_longer_than_the_flag_says_are_left_out() {
    let rest = [20, 25, 30, 35, 40, 45];
    let half_an_hour = store_with(&["--ignore-deletion-marks-delay=30m"]).await;
    assert_eq!(half_an_hour, seen(3, (20, 50), &rest));
    let two_days = store_with(&["--ignore-deletion-marks-delay=48h"]).await;
    let all = [[0, 5, 10, 15].as_slice(), &rest].concat();
    assert_eq!(two_days, seen(5, (0, 50), &all));
}
