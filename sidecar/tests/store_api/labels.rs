//! `LabelNames` and `LabelValues`.

use sabre_model::MatchKind::{Eq, Re};
use sabre_proto::thanos::{LabelNamesRequest, LabelValuesRequest, LabelValuesResponse};
use sabre_testkit::s3::Answer;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};

use super::support::{Sidecar, eventually, everything, floats, matcher, prometheus};

async fn sidecar() -> Sidecar {
    let prometheus = prometheus().await;
    prometheus.floats(
        &[("__name__", "up"), ("job", "a"), ("http.status", "5xx")],
        floats(0, 3),
    );
    prometheus.floats(&[("__name__", "up"), ("job", "b"), ("zone", "z")], floats(0, 3));
    Sidecar::start(prometheus, &[]).await
}

fn names() -> LabelNamesRequest {
    LabelNamesRequest {
        start: 0,
        end: i64::MAX,
        ..LabelNamesRequest::default()
    }
}

fn values(label: &str) -> LabelValuesRequest {
    LabelValuesRequest {
        label: label.to_owned(),
        start: 0,
        end: i64::MAX,
        ..LabelValuesRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_those_of_the_series_and_the_external_ones() {
    let sidecar = sidecar().await;
    let ask = async |request: LabelNamesRequest| {
        sidecar
            .client()
            .label_names(request)
            .await
            .unwrap()
            .into_inner()
            .names
    };
    let all = ["__name__", "cluster", "http.status", "job", "replica", "zone"];
    assert_eq!(ask(names()).await, all);
    let of_b = LabelNamesRequest {
        matchers: vec![matcher(Eq, "job", "b"), matcher(Eq, "cluster", "eu1")],
        ..names()
    };
    assert_eq!(ask(of_b).await, ["__name__", "cluster", "job", "replica", "zone"]);
    let without_replica = LabelNamesRequest {
        without_replica_labels: vec!["replica".to_owned()],
        limit: 3,
        ..names()
    };
    assert_eq!(ask(without_replica).await, ["__name__", "cluster", "http.status"]);
    let of_none = LabelNamesRequest {
        matchers: vec![matcher(Eq, "job", "c")],
        ..names()
    };
    assert!(ask(of_none).await.is_empty(), "no series, no external labels");
    let of_others = LabelNamesRequest {
        matchers: vec![matcher(Re, "cluster", "us.*")],
        ..names()
    };
    assert!(ask(of_others).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_labels_of_series_of_external_labels_and_of_odd_names() {
    let sidecar = sidecar().await;
    let ask = async |request: LabelValuesRequest| {
        sidecar
            .client()
            .label_values(request)
            .await
            .unwrap()
            .into_inner()
            .values
    };
    assert_eq!(ask(values("job")).await, ["a", "b"]);
    assert_eq!(ask(values("cluster")).await, ["eu1"]);
    assert!(ask(values("nothing")).await.is_empty());
    let limited = LabelValuesRequest {
        limit: 1,
        ..values("job")
    };
    assert_eq!(ask(limited).await, ["a"]);
    let matched = |label: &str, job: &str| LabelValuesRequest {
        matchers: vec![matcher(Eq, "job", job)],
        ..values(label)
    };
    assert_eq!(ask(matched("zone", "b")).await, ["z"]);
    assert_eq!(
        ask(matched("cluster", "b")).await,
        ["eu1"],
        "there is such a series"
    );
    assert!(ask(matched("cluster", "c")).await.is_empty(), "there is none");
    let removed = LabelValuesRequest {
        without_replica_labels: vec!["replica".to_owned()],
        ..values("replica")
    };
    assert!(ask(removed).await.is_empty());
    // Prometheus wants such a name escaped in the path.
    ask(values("http.status")).await;
    assert_eq!(
        sidecar
            .prometheus
            .requests("/label/U__http_2e_status/values")
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_a_name_is_refused() {
    let sidecar = sidecar().await;
    let status = sidecar.client().label_values(values("")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// The caller may take long to read what Prometheus was quick to tell.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_charged_until_it_is_taken() {
    let sidecar = sidecar().await;
    let value = "v".repeat(100);
    let list: Vec<String> = (0..100_000).map(|n| format!("\"{value}{n:06}\"")).collect();
    let page = format!(r#"{{"status":"success","data":[{}]}}"#, list.join(","));
    let page_bytes = page.len() as f64;
    sidecar
        .prometheus
        .fail("/label/big/values", 1, Answer::new(200).body(page));
    let mut client = Grpc::new(sidecar.channel.clone()).max_decoding_message_size(1 << 30);
    client.ready().await.unwrap();
    // As a stream: its head comes before anybody reads the message, which is larger than what is sent ahead.
    let path = PathAndQuery::from_static("/thanos.Store/LabelValues");
    let codec = tonic_prost::ProstCodec::<LabelValuesRequest, LabelValuesResponse>::default();
    let answer = client
        .server_streaming(Request::new(values("big")), path, codec)
        .await;
    let mut answer = answer.unwrap().into_inner();
    assert!(sidecar.metric("sabre_memory_budget_used_bytes") >= page_bytes);
    let message = answer.message().await.unwrap().unwrap();
    assert_eq!(message.values.len(), 100_000);
    sidecar.all_memory_is_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_questions_are_asked_at_once_and_the_next_waits_for_its_turn() {
    let prometheus = prometheus().await;
    prometheus.floats(&[("__name__", "up"), ("job", "a")], floats(0, 3));
    let sidecar = Sidecar::start(prometheus, &["--sabre.remote-read-concurrency=2"]).await;
    sidecar
        .prometheus
        .fail("/label/slow/values", 1, Answer::silence());
    sidecar.prometheus.fail("/api/v1/series", 1, Answer::silence());
    let mut client = sidecar.client();
    let slow = tokio::spawn(async move { client.label_values(values("slow")).await });
    let mut client = sidecar.client();
    let labels_only = sabre_proto::thanos::SeriesRequest {
        skip_chunks: true,
        ..everything()
    };
    let series = tokio::spawn(async move { client.series(labels_only).await?.into_inner().message().await });
    eventually("two questions", || {
        sidecar.metric("sabre_sidecar_label_calls_in_flight") == 2.0
    })
    .await;
    let mut client = sidecar.client();
    let third = tokio::spawn(async move { client.label_values(values("job")).await });
    eventually("one that waits", || {
        sidecar.metric("sabre_sidecar_label_calls_waiting") == 1.0
    })
    .await;
    assert!(sidecar.prometheus.requests("/label/job/values").is_empty());
    // Remote reads do not wait with them.
    assert_eq!(sidecar.series(everything()).await.unwrap().series.len(), 1);
    slow.abort();
    assert_eq!(third.await.unwrap().unwrap().into_inner().values, ["a"]);
    series.abort();
    sidecar.all_memory_is_back().await;
}
