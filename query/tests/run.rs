//! A querier as it is started: flags in, addresses out, and an orderly end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use sabre_query::run::run;
use sabre_runtime::{
    component::Listening,
    flags::{App, groups},
    metrics::Registry,
};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

struct Querier {
    at: Listening,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

async fn start(arguments: &[&str]) -> Result<Querier, String> {
    let app = App::new("sabre", "0", "")
        .global(groups::global())
        .command(sabre_query::flags::command());
    let common = [
        "sabre",
        "query",
        "--http-address=127.0.0.1:0",
        "--grpc-address=127.0.0.1:0",
        "--endpoint.info-timeout=200ms",
    ];
    let parsed = app
        .parse(common.iter().chain(arguments))
        .map_err(|error| error.text)?;
    let (stop, (listening, bound)) = (CancellationToken::new(), oneshot::channel());
    let token = stop.clone();
    let task = tokio::spawn(async move {
        let outcome = run(&parsed.flags, Registry::new(), token, Some(listening)).await;
        outcome.map_err(|error| error.to_string())
    });
    match bound.await {
        Ok(at) => Ok(Querier { at, stop, task }),
        Err(_) => Err(task.await.unwrap().unwrap_err()),
    }
}

impl Querier {
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.at.http))
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn queriers_stack_and_answer_and_end() {
    let below = start(&[]).await.unwrap();
    let address = format!("--endpoint={}", below.at.grpc);
    let above = start(&[&address, "--endpoint-strict=127.0.0.1:1"]).await.unwrap();
    assert_eq!(above.get("/-/ready").await, (200, "OK".to_owned()));
    let (status, body) = above.get("/api/v1/query?query=1%2B1&time=5").await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains(r#""value":[5,"2"]"#) || body.contains(r#""result":[5,"2"]"#),
        "{body}"
    );

    // Peers say who they are within a few rounds.
    let mut stores = String::new();
    for _ in 0..100 {
        stores = above.get("/api/v1/stores").await.1;
        if stores.contains(r#""query":["#) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(stores.contains(&below.at.grpc.to_string()), "{stores}");

    // The strict one is down: a warning with partial response, an error without.
    let (status, body) = above.get("/api/v1/query?query=up&time=5").await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains("127.0.0.1:1") && body.contains("warnings"),
        "{body}"
    );
    let (status, body) = above
        .get("/api/v1/query?query=up&time=5&partial_response=false")
        .await;
    assert_ne!(status, 200, "{body}");
    assert!(body.contains("127.0.0.1:1"), "{body}");

    let (status, body) = above
        .get("/api/v1/query_range?query=up&start=0&end=60&step=15")
        .await;
    assert_eq!(status, 200, "{body}");
    let (_, metrics) = above.get("/metrics").await;
    for name in [
        "thanos_query_range_requested_timespan_duration_seconds_count",
        "prometheus_engine_query_duration_seconds_count",
        "prometheus_engine_queries_concurrent_max 20",
        "thanos_query_concurrent_gate_queries_max 20",
        "prometheus_engine_queries 0",
        "thanos_query_concurrent_selects_gate_selects_max 4",
        "thanos_query_concurrent_selects_gate_selects_in_flight 0",
        "thanos_store_nodes_grpc_connections",
        "grpc_client_handled_total",
        "http_requests_total",
        "thanos_query_concurrent_gate_duration_seconds_count",
        "thanos_store_api_query_duration_seconds_count",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    above.end().await;
    below.end().await;
}

#[tokio::test]
async fn flags_are_checked_before_a_port_is_bound() {
    let error = start(&["--endpoint-strict=dns+a:1"]).await.err().unwrap();
    assert!(error.contains("--endpoint-strict"), "{error}");
    let error = start(&["--endpoint.sd-config=endpoints: [{address: x}]"])
        .await
        .err()
        .unwrap();
    assert!(error.contains("--endpoint.sd-config: endpoint 1 (x)"), "{error}");
}

#[tokio::test]
async fn a_prefix_moves_the_api() {
    let querier = start(&["--web.external-prefix=/q"]).await.unwrap();
    assert_eq!(querier.get("/q/api/v1/query?query=1&time=5").await.0, 200);
    assert_eq!(querier.get("/api/v1/query?query=1&time=5").await.0, 404);
    querier.end().await;
}
