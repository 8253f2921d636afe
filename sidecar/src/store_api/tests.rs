//! How answers go out that are held before.

use std::time::Duration;

use sabre_model::MatchKind;
use sabre_proto::thanos::LabelMatcher;
use sabre_runtime::metrics::Registry;
use sabre_testkit::{prometheus::FakePrometheus, s3::Answer};
use url::Url;

use super::*;
use crate::{known::contact, prometheus::HttpClientConfig};

/// What a piece may have: it is handed on when it is full, and a batch may come on top.
const PIECE_BYTES: usize = 2 << 20;

fn api(prometheus: &FakePrometheus, budget: &Budget) -> SidecarApi {
    let http = HttpClientConfig::default().build().unwrap();
    let url = Url::parse(&prometheus.url()).unwrap();
    let client = PrometheusClient::new(http, url, Duration::from_secs(60)).charged_to(budget.clone());
    let (writer, reader) = contact();
    writer.up(Known {
        external_labels: sabre_model::Labels::from_pairs([("cluster", "eu1")]).unwrap(),
        label_names: Arc::new(["__name__", "n", "pod"].map(str::to_owned).into()),
        ..Known::default()
    });
    let min_time = TimeOrDuration::parse("0000-01-01T00:00:00Z").unwrap();
    SidecarApi::new(
        client,
        reader,
        min_time,
        budget.clone(),
        SidecarMetrics::new(&Registry::new()),
    )
}

fn all_series() -> SeriesRequest {
    SeriesRequest {
        min_time: 0,
        max_time: i64::MAX,
        matchers: vec![LabelMatcher {
            r#type: MatchKind::Re.to_wire(),
            name: "__name__".to_owned(),
            value: ".+".to_owned(),
        }],
        ..SeriesRequest::default()
    }
}

/// The rest of an answer, in bytes, of which no piece is too large.
async fn take_all(receiver: &mut FrameReceiver) -> usize {
    let mut bytes = 0;
    while let Some(piece) = receiver.recv().await {
        let piece = piece.unwrap();
        assert!(piece.len() < PIECE_BYTES, "{} bytes at once", piece.len());
        bytes += piece.len();
    }
    bytes
}

#[tokio::test]
async fn labels_without_chunks_come_in_pieces_and_stay_charged_until_they_are_taken() {
    let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap();
    let value = "v".repeat(100);
    let sets: Vec<String> = (0..60_000)
        .map(|n| format!(r#"{{"__name__":"up","n":"{value}{n:06}"}}"#))
        .collect();
    let page = format!(r#"{{"status":"success","data":[{}]}}"#, sets.join(","));
    let page_bytes = page.len() as u64;
    prometheus.fail("/api/v1/series", 1, Answer::new(200).body(page));
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let request = SeriesRequest {
        skip_chunks: true,
        ..all_series()
    };
    let api = api(&prometheus, &budget);
    let mut receiver = api.series_raw(Request::new(request), None).await.unwrap();
    let first = receiver.recv().await.unwrap().unwrap();
    assert!(first.len() < PIECE_BYTES, "{} bytes at once", first.len());
    let used_bytes = budget.usage().used_bytes;
    assert!(used_bytes > page_bytes, "{used_bytes} for a page of {page_bytes}");
    let all_bytes = first.len() + take_all(&mut receiver).await;
    assert!(all_bytes > 60_000 * 100, "{all_bytes}");
    drop((first, receiver));
    assert_eq!(budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn series_that_had_to_be_sorted_come_in_pieces() {
    let prometheus = FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap();
    let value = "v".repeat(4000);
    for n in 0..1500 {
        let n = format!("{value}{n:04}");
        prometheus.floats(&[("__name__", "up"), ("n", &n), ("pod", "p")], [(1000, 1.0)]);
    }
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    let request = SeriesRequest {
        without_replica_labels: vec!["pod".to_owned()],
        ..all_series()
    };
    let api = api(&prometheus, &budget);
    let mut receiver = api.series_raw(Request::new(request), None).await.unwrap();
    let all_bytes = take_all(&mut receiver).await;
    assert!(all_bytes > 1500 * 4000, "{all_bytes}");
    assert_eq!(budget.usage().used_bytes, 0);
}
