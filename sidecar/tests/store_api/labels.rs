//! `LabelNames` and `LabelValues`.

use sabre_model::MatchKind::{Eq, Re};
use sabre_proto::thanos::{LabelNamesRequest, LabelValuesRequest};
use tonic::Code;

use super::support::{Sidecar, floats, matcher, prometheus};

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
