//! A Prometheus that is not there yet, goes, comes back, and is configured anew.

use sabre_testkit::{prometheus::FakePrometheus, s3::Answer};
use tonic::Code;

use super::support::{Sidecar, eventually, everything, floats, labels, prometheus, shape};

#[tokio::test(flavor = "multi_thread")]
async fn while_prometheus_is_away_calls_fail_and_when_it_is_back_they_are_answered() {
    let prometheus = prometheus().await;
    prometheus.floats(&[("__name__", "up")], floats(0, 3));
    let mut sidecar = Sidecar::start(prometheus, &[]).await;
    assert_eq!(sidecar.series(everything()).await.unwrap().series.len(), 1);
    assert_eq!(sidecar.metric("thanos_sidecar_prometheus_up"), 1.0);

    sidecar.prometheus.stop().await;
    let status = sidecar.series(everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(
        status
            .message()
            .contains("remote read: no answer from Prometheus"),
        "{status}"
    );
    eventually("the news that it is away", || {
        sidecar.metric("thanos_sidecar_prometheus_up") == 0.0
    })
    .await;
    assert_eq!(sidecar.info().await.unwrap_err().code(), Code::Unavailable);
    sidecar.all_memory_is_back().await;

    // It comes back under another label.
    sidecar.prometheus.set_external_labels(&[("cluster", "eu2")]);
    sidecar.prometheus.restart().await.unwrap();
    eventually("the news that it is back", || {
        sidecar.metric("thanos_sidecar_prometheus_up") == 1.0
    })
    .await;
    let answer = sidecar.series(everything()).await.unwrap();
    let want = labels(&[("__name__", "up"), ("cluster", "eu2")]);
    assert_eq!(shape(&answer), [(want.to_string(), 1)]);
    assert!(sidecar.info().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn before_prometheus_answered_once_calls_are_refused_at_once() {
    let prometheus = prometheus().await;
    prometheus.floats(&[("__name__", "up")], floats(0, 3));
    prometheus.fail(
        "/api/v1/status/config",
        1_000_000,
        Answer::new(503).body("starting up"),
    );
    let sidecar = Sidecar::start_unanswered(prometheus, &[]).await;
    // A querier that asks after a restart is told, and does not wait with its query.
    let status = sidecar.series(everything()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("not ready"), "{status}");
    assert_eq!(sidecar.info().await.unwrap_err().code(), Code::Unavailable);

    sidecar.prometheus.heal();
    eventually("the first contact", || {
        sidecar.metric("thanos_sidecar_prometheus_up") == 1.0
    })
    .await;
    assert_eq!(sidecar.series(everything()).await.unwrap().series.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_without_external_labels_ends_the_sidecar_with_advice() {
    let prometheus = FakePrometheus::start(&[]).await.unwrap();
    let mut sidecar = Sidecar::start(prometheus, &[]).await;
    let error = (&mut sidecar.task).await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("no external labels configured") && error.contains("global.external_labels"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_fails_does_not_stop_calls_that_work() {
    let prometheus = prometheus().await;
    prometheus.floats(&[("__name__", "up")], floats(0, 3));
    let sidecar = Sidecar::start(prometheus, &[]).await;
    assert_eq!(sidecar.series(everything()).await.unwrap().series.len(), 1);
    sidecar
        .prometheus
        .fail("/api/v1/status/config", 1_000_000, Answer::new(500));
    eventually("a failed heartbeat", || {
        sidecar.metric("thanos_sidecar_prometheus_up") == 0.0
    })
    .await;
    assert_eq!(sidecar.series(everything()).await.unwrap().series.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_vanish_from_the_configuration_are_a_failure_and_not_believed() {
    let prometheus = prometheus().await;
    prometheus.floats(&[("__name__", "up")], floats(0, 3));
    let sidecar = Sidecar::start(prometheus, &[]).await;
    sidecar.series(everything()).await.unwrap();
    sidecar.prometheus.set_external_labels(&[]);
    eventually("a failed heartbeat", || {
        sidecar.metric("thanos_sidecar_prometheus_up") == 0.0
    })
    .await;
    let answer = sidecar.series(everything()).await.unwrap();
    let want = labels(&[("__name__", "up"), ("cluster", "eu1"), ("replica", "a")]);
    assert_eq!(shape(&answer), [(want.to_string(), 1)]);
}
