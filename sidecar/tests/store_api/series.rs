//! What a `Series` call answers.

use std::time::Duration;

use sabre_model::{
    Labels,
    MatchKind::{Eq, Neq, Re},
};
use sabre_proto::{
    convert::matchers_from_wire,
    thanos::{SeriesRequest, ShardInfo},
};
use sabre_testkit::{prometheus::ReadMode, s3::Answer};
use sabre_tsdb::{
    chunk::{Sample, Value},
    histogram::Histogram,
};
use tonic::{Code, Request};

use super::support::{
    Sidecar, decode, eventually, everything, float_samples, floats, labels, matcher, prometheus, request,
    samples, shape,
};

const UP: (&str, &str) = ("__name__", "up");

/// 1,000 samples in nine chunks, ten samples in one, and one sample that is older than both.
async fn three_series() -> Sidecar {
    let prometheus = prometheus().await;
    prometheus.floats(&[UP, ("job", "a")], floats(0, 1000));
    prometheus.floats(&[UP, ("job", "b")], floats(30_000, 10));
    prometheus.floats(&[("__name__", "old"), ("job", "a")], [(-1000, 7.0)]);
    Sidecar::start(prometheus, &[]).await
}

fn answered(pairs: &[(&str, &str)]) -> Labels {
    labels(&[pairs, &[("cluster", "eu1"), ("replica", "a")]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_and_sampled_reads_give_the_same_samples_under_the_external_labels() {
    for mode in [
        ReadMode::Streamed { chunks_per_frame: 1 },
        ReadMode::Streamed {
            chunks_per_frame: 100,
        },
        ReadMode::Sampled,
    ] {
        let sidecar = three_series().await;
        sidecar.prometheus.set_read_mode(mode);
        let answer = sidecar.series(everything()).await.unwrap();
        assert_eq!(answer.disorder(), None, "{mode:?}");
        assert_eq!(answer.series.len(), 3, "{mode:?}");
        let long = answered(&[UP, ("job", "a")]);
        assert_eq!(samples(&answer, &long), float_samples(0, 1000), "{mode:?}");
        let short = answered(&[UP, ("job", "b")]);
        assert_eq!(samples(&answer, &short), float_samples(30_000, 10), "{mode:?}");
        sidecar.all_memory_is_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_and_stale_markers_pass_as_they_are() {
    let prometheus = prometheus().await;
    let mut first = Histogram::stale();
    first.sum = 3.5;
    first.count = 4;
    first.zero_count = 4;
    let mut second = first.clone();
    second.count = 9;
    second.zero_count = 9;
    let all = [(1000, first), (16_000, second), (31_000, Histogram::stale())];
    let written = all.map(|(t, histogram)| Sample {
        t,
        value: Value::Histogram(Box::new(histogram)),
    });
    prometheus.samples(labels(&[("__name__", "h")]), written.clone());
    let sidecar = Sidecar::start(prometheus, &[]).await;
    let answer = sidecar.series(everything()).await.unwrap();
    let read: Vec<Sample> = answer.series[0].1.iter().flat_map(decode).collect();
    let seen: Vec<_> = read
        .iter()
        .map(|sample| match &sample.value {
            Value::Histogram(histogram) => (sample.t, histogram.count, histogram.is_stale()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seen, [(1000, 4, false), (16_000, 9, false), (31_000, 0, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn matchers_on_external_labels_are_judged_here_and_not_asked_of_prometheus() {
    let sidecar = three_series().await;
    let hit = request(&[
        (Eq, "__name__", "up"),
        (Re, "cluster", "eu.*"),
        (Neq, "replica", "b"),
    ]);
    assert_eq!(sidecar.series(hit).await.unwrap().series.len(), 2);
    let asked = matchers_from_wire(&sidecar.queries()[0].matchers).unwrap();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].name(), "__name__");

    let miss = request(&[(Eq, "__name__", "up"), (Eq, "cluster", "us1")]);
    assert_eq!(sidecar.series(miss).await.unwrap().series.len(), 0);
    let only_external = request(&[(Eq, "cluster", "eu1")]);
    let status = sidecar.series(only_external).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("no matchers specified"), "{status}");
    assert_eq!(sidecar.queries().len(), 1, "neither call asked Prometheus");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_label_wins_over_one_of_the_series_and_the_order_is_mended() {
    let prometheus = prometheus().await;
    // In the TSDB {cluster="z"} comes last; under the external label it comes first.
    prometheus.floats(&[UP, ("cluster", "z"), ("job", "a")], floats(0, 3));
    prometheus.floats(&[UP, ("cluster", "b"), ("job", "b")], floats(0, 3));
    let sidecar = Sidecar::start(prometheus, &[]).await;
    let answer = sidecar.series(everything()).await.unwrap();
    assert_eq!(answer.disorder(), None);
    let want = [answered(&[UP, ("job", "a")]), answered(&[UP, ("job", "b")])];
    assert_eq!(shape(&answer), want.map(|labels| (labels.to_string(), 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_label_flips_neighbours_and_the_answer_is_sorted_all_the_same() {
    let prometheus = prometheus().await;
    // {up} is before {up, instance} in the TSDB, and behind it once replica="a" stands at its end.
    prometheus.floats(&[UP], floats(0, 3));
    prometheus.floats(&[UP, ("instance", "1")], floats(0, 3));
    prometheus.floats(&[UP, ("instance", "1"), ("zone", "z")], floats(0, 3));
    prometheus.floats(&[UP, ("zone", "z")], floats(0, 3));
    let sidecar = Sidecar::start(prometheus, &[]).await;
    let answer = sidecar.series(everything()).await.unwrap();
    assert_eq!((answer.disorder(), answer.series.len()), (None, 4));
    assert_eq!(answer.series[0].0, answered(&[UP, ("instance", "1")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_labels_go_also_those_of_the_series_which_are_merged() {
    let prometheus = prometheus().await;
    prometheus.floats(&[UP, ("pod", "x")], floats(0, 3));
    prometheus.floats(&[UP, ("pod", "y")], floats(60_000, 3));
    let sidecar = Sidecar::start(prometheus, &[]).await;
    let without = |names: &[&str]| SeriesRequest {
        without_replica_labels: names.iter().map(|name| (*name).to_owned()).collect(),
        ..everything()
    };
    let answer = sidecar.series(without(&["replica"])).await.unwrap();
    assert_eq!(answer.series.len(), 2);
    assert_eq!(
        answer.series[0].0,
        labels(&[UP, ("cluster", "eu1"), ("pod", "x")])
    );
    let answer = sidecar.series(without(&["replica", "pod"])).await.unwrap();
    let merged = labels(&[UP, ("cluster", "eu1")]);
    assert_eq!(shape(&answer), [(merged.to_string(), 2)]);
    let times: Vec<i64> = samples(&answer, &merged).iter().map(|sample| sample.t).collect();
    assert_eq!(times, [0, 15_000, 30_000, 60_000, 75_000, 90_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_alone_come_from_the_series_api() {
    let sidecar = three_series().await;
    let answer = sidecar
        .series(SeriesRequest {
            skip_chunks: true,
            ..request(&[(Eq, "__name__", "up")])
        })
        .await
        .unwrap();
    let want = [answered(&[UP, ("job", "a")]), answered(&[UP, ("job", "b")])];
    assert_eq!(shape(&answer), want.map(|labels| (labels.to_string(), 0)));
    assert!(sidecar.queries().is_empty());
    assert_eq!(sidecar.prometheus.requests("/api/v1/series").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_batches_and_shards() {
    let sidecar = three_series().await;
    let ask = |change: fn(&mut SeriesRequest)| {
        let mut request = everything();
        change(&mut request);
        request
    };
    let limited = sidecar.series(ask(|request| request.limit = 2)).await.unwrap();
    assert_eq!(limited.series.len(), 2);
    let batched = sidecar
        .series(ask(|request| request.response_batch_size = 2))
        .await
        .unwrap();
    assert_eq!(batched.message_series, [2, 1]);

    let mut seen = Vec::new();
    for shard_index in 0..2 {
        let shard = ShardInfo {
            shard_index,
            total_shards: 2,
            by: false,
            labels: Vec::new(),
        };
        let request = SeriesRequest {
            shard_info: Some(shard),
            ..everything()
        };
        seen.extend(shape(&sidecar.series(request).await.unwrap()));
    }
    seen.sort();
    let mut whole = shape(&sidecar.series(everything()).await.unwrap());
    whole.sort();
    assert_eq!(seen, whole, "every series is in one shard");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_min_time_is_neither_shown_nor_asked_for() {
    let prometheus = prometheus().await;
    prometheus.floats(&[UP], floats(0, 1000));
    let sidecar = Sidecar::start(prometheus, &["--min-time=1970-01-01T01:00:00Z"]).await;
    let store = sidecar.info().await.unwrap().store.unwrap();
    assert_eq!((store.min_time, store.max_time), (3_600_000, i64::MAX));
    let answer = sidecar.series(everything()).await.unwrap();
    assert_eq!(sidecar.queries()[0].start_timestamp_ms, 3_600_000);
    assert_eq!(answer.series[0].1[0].min_time, 3_600_000);
    let before = SeriesRequest {
        max_time: 3_599_999,
        ..everything()
    };
    assert!(sidecar.series(before).await.unwrap().series.is_empty());
    assert_eq!(sidecar.queries().len(), 1, "nothing that old is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn info_shows_labels_and_a_range_that_is_open_to_the_future() {
    let sidecar = three_series().await;
    let info = sidecar.info().await.unwrap();
    assert_eq!(info.component_type, "sidecar");
    let set = sabre_proto::convert::labels_from_wire(&info.label_sets[0].labels).unwrap();
    assert_eq!(set, answered(&[]));
    let store = info.store.unwrap();
    // The metrics page says -1 s, which the fake tells as it is and a TSDB never would: unknown is open too.
    assert_eq!(store.max_time, i64::MAX);
    assert!(store.supports_sharding && store.supports_without_replica_labels);
    assert_eq!(store.tsdb_infos.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_takes_the_question_to_prometheus_with_it() {
    let sidecar = three_series().await;
    let pieces = [
        (
            "half an answer and silence",
            Answer::new(200)
                .header(
                    "content-type",
                    "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse",
                )
                .body(vec![1_u8; 1000])
                .hang_after(0),
        ),
        ("silence", Answer::silence()),
    ];
    for (what, answer) in pieces {
        sidecar.prometheus.fail("/api/v1/read", 1, answer);
        let mut client = sidecar.client();
        let call =
            tokio::spawn(async move { client.series(everything()).await?.into_inner().message().await });
        eventually(what, || sidecar.prometheus.waiting() == 1).await;
        call.abort();
        eventually("the end of the question", || sidecar.prometheus.waiting() == 0).await;
        sidecar.all_memory_is_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_call_that_prometheus_does_not_answer() {
    let sidecar = three_series().await;
    sidecar.prometheus.fail("/api/v1/read", 1, Answer::silence());
    let mut request = Request::new(everything());
    request.set_timeout(Duration::from_millis(200));
    let mut messages = match sidecar.client().series(request).await {
        Ok(messages) => messages.into_inner(),
        Err(status) => return assert_eq!(status.code(), Code::DeadlineExceeded),
    };
    let status = messages.message().await.unwrap_err();
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()),
        "{status}"
    );
    eventually("the end of the question", || sidecar.prometheus.waiting() == 0).await;
    sidecar.all_memory_is_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matcher_that_is_none_is_refused_before_prometheus_is_asked() {
    let sidecar = three_series().await;
    for (bad, says) in [
        (matcher(Re, "job", "a("), "matcher 0"),
        (
            sabre_proto::thanos::LabelMatcher {
                r#type: 9,
                ..matcher(Eq, "job", "a")
            },
            "type 9",
        ),
    ] {
        let request = SeriesRequest {
            matchers: vec![bad],
            ..everything()
        };
        let status = sidecar.series(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(says), "{status}");
    }
    assert!(sidecar.queries().is_empty());
}
