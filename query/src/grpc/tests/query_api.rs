//! `thanos.Query` over stores with real samples: each field of a request changes what is answered.

use sabre_proto::{
    convert::{label_set, labels_to_wire},
    thanos::{
        AggrChunk, Chunk, QueryRangeRequest, QueryRequest, Series, ShardInfo, StoreMatchers,
        query_client::QueryClient, query_range_response, query_response,
    },
};
use sabre_tsdb::chunk::xor::XorAppender;

use super::*;

/// The last sample.
const LAST_SECONDS: i64 = 60;

/// A series with samples of 1 up to the last second.
fn up(more: &str) -> Step {
    let mut appender = XorAppender::new();
    for seconds in (0..=LAST_SECONDS).step_by(15) {
        appender.append(seconds * 1000, 1.0).unwrap();
    }
    let chunk = AggrChunk {
        min_time: 0,
        max_time: LAST_SECONDS * 1000,
        raw: Some(Chunk {
            data: appender.finish().into(),
            ..Chunk::default()
        }),
        ..AggrChunk::default()
    };
    Step::Series(Series {
        labels: labels_to_wire(&labels(&format!(r#"__name__="up",{more}"#))),
        chunks: vec![chunk],
    })
}

/// A store that leaves shards and replica labels to the querier.
fn store(dc: &str, steps: Vec<Step>) -> FakeStore {
    let mut info = modern();
    info.label_sets = vec![label_set(&labels(&format!(r#"dc="{dc}""#)))];
    let facts = info.store.as_mut().unwrap();
    facts.supports_sharding = false;
    facts.supports_without_replica_labels = false;
    FakeStore {
        info: Some(info),
        ..FakeStore::new(steps)
    }
}

/// Two stores that share one series but for its replica label.
fn stores() -> Vec<FakeStore> {
    vec![
        store("1", vec![up(r#"a="1",replica="x""#), up(r#"a="2",replica="x""#)]),
        store("2", vec![up(r#"a="1",replica="y""#), up(r#"a="3",replica="y""#)]),
    ]
}

fn count() -> QueryRequest {
    QueryRequest {
        query: "count(up)".to_owned(),
        time_seconds: LAST_SECONDS,
        enable_partial_response: true,
        ..QueryRequest::default()
    }
}

/// The only value, if there is one, and the warnings.
async fn value(served: &Served, request: QueryRequest) -> Result<(Option<f64>, Vec<String>), Status> {
    let mut client = QueryClient::new(served.channel.clone());
    let mut answer = client.query(request).await?.into_inner();
    let (mut value, mut warnings, mut is_over) = (None, Vec::new(), false);
    while let Some(message) = answer.message().await? {
        assert!(!is_over, "what it cost comes last");
        match message.result.unwrap() {
            query_response::Result::Timeseries(series) => {
                assert_eq!(value, None, "one series");
                value = Some(series.samples[0].value);
            }
            query_response::Result::TimeseriesBatch(_) => panic!("no batch was asked for"),
            query_response::Result::Warnings(text) => warnings.push(text),
            query_response::Result::Stats(_) => is_over = true,
        }
    }
    assert!(is_over);
    Ok((value, warnings))
}

async fn count_of(served: &Served, request: QueryRequest) -> Option<f64> {
    let (value, warnings) = value(served, request).await.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    value
}

#[tokio::test]
async fn replicas_are_one_where_dedup_and_their_labels_are_asked_for() {
    let (served, _stores) = querier(stores(), ServiceOptions::default()).await;
    for (enable_dedup, replica_labels, expected) in [
        (false, vec![], 4.0),
        (true, vec![], 4.0),
        (false, vec!["replica"], 4.0),
        (true, vec!["replica"], 3.0),
        (true, vec!["other"], 4.0),
    ] {
        let told = format!("{enable_dedup} {replica_labels:?}");
        let request = QueryRequest {
            enable_dedup,
            replica_labels: replica_labels.into_iter().map(str::to_owned).collect(),
            ..count()
        };
        assert_eq!(count_of(&served, request).await, Some(expected), "{told}");
    }
}

#[tokio::test]
async fn stores_are_picked_by_their_labels() {
    let (served, _stores) = querier(stores(), ServiceOptions::default()).await;
    let picked = |name: &str, value: &str| QueryRequest {
        store_matchers: vec![StoreMatchers {
            label_matchers: vec![LabelMatcher {
                r#type: 0,
                name: name.to_owned(),
                value: value.to_owned(),
            }],
        }],
        query: "count(up{a=~\".+\"})".to_owned(),
        ..count()
    };
    assert_eq!(count_of(&served, picked("dc", "1")).await, Some(2.0));
    assert_eq!(count_of(&served, picked("__address__", "s1")).await, Some(2.0));
    assert_eq!(count_of(&served, picked("dc", "3")).await, None);
}

#[tokio::test]
async fn shards_have_all_series_together_and_each_once() {
    let (served, _stores) = querier(stores(), ServiceOptions::default()).await;
    let mut sum = 0.0;
    for shard_index in 0..3 {
        let request = QueryRequest {
            shard_info: Some(ShardInfo {
                shard_index,
                total_shards: 3,
                by: false,
                labels: Vec::new(),
            }),
            ..count()
        };
        let of_shard = count_of(&served, request).await.unwrap_or_default();
        assert!(of_shard < 4.0, "a shard has not all of them");
        sum += of_shard;
    }
    assert_eq!(sum, 4.0);
}

#[tokio::test]
async fn a_store_that_fails_is_a_warning_or_ends_the_query() {
    let mut stores = stores();
    stores.push(store("3", vec![Step::Fail(Status::internal("out of order"))]));
    let (served, _stores) = querier(stores, ServiceOptions::default()).await;
    let (value_, warnings) = value(&served, count()).await.unwrap();
    assert_eq!(value_, Some(4.0));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("receive series from s2: "), "{warnings:?}");
    let strict = QueryRequest {
        enable_partial_response: false,
        ..count()
    };
    let status = value(&served, strict).await.unwrap_err();
    assert!(status.message().contains("receive series from s2: "), "{status}");
}

#[tokio::test]
async fn a_sample_stands_for_its_series_as_long_as_asked() {
    let (served, _stores) = querier(stores(), ServiceOptions::default()).await;
    let later = |lookback_delta_seconds| QueryRequest {
        time_seconds: LAST_SECONDS + 100,
        lookback_delta_seconds,
        ..count()
    };
    assert_eq!(count_of(&served, later(0)).await, Some(4.0), "five minutes");
    assert_eq!(count_of(&served, later(101)).await, Some(4.0));
    assert_eq!(count_of(&served, later(99)).await, None);
}

#[tokio::test]
async fn ranges_are_made_of_the_same_fields() {
    let (served, _stores) = querier(stores(), ServiceOptions::default()).await;
    let mut client = QueryClient::new(served.channel.clone());
    let request = QueryRangeRequest {
        query: "count(up)".to_owned(),
        start_time_seconds: 30,
        end_time_seconds: LAST_SECONDS + 120,
        interval_seconds: 30,
        enable_dedup: true,
        replica_labels: vec!["replica".to_owned()],
        lookback_delta_seconds: 45,
        store_matchers: vec![StoreMatchers {
            label_matchers: vec![LabelMatcher {
                r#type: 0,
                name: "dc".to_owned(),
                value: "2".to_owned(),
            }],
        }],
        ..QueryRangeRequest::default()
    };
    let mut range = async |request: QueryRangeRequest| {
        let mut answer = client.query_range(request).await.unwrap().into_inner();
        let first = answer.message().await.unwrap().unwrap().result.unwrap();
        let query_range_response::Result::Timeseries(series) = first else {
            panic!("{first:?}");
        };
        let samples = series.samples.iter();
        samples
            .map(|sample| (sample.timestamp / 1000, sample.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(range(request.clone()).await, [(30, 2.0), (60, 2.0), (90, 2.0)]);
    let all = QueryRangeRequest {
        store_matchers: Vec::new(),
        ..request
    };
    assert_eq!(range(all.clone()).await, [(30, 3.0), (60, 3.0), (90, 3.0)]);
    let replicas = QueryRangeRequest {
        enable_dedup: false,
        ..all
    };
    assert_eq!(range(replicas).await, [(30, 4.0), (60, 4.0), (90, 4.0)]);
}
