use std::net::Ipv4Addr;

use axum::{body::Body, http::Request, routing::post};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tower::ServiceExt as _;

use super::*;
use crate::flags::{groups, parse_groups};

struct Running {
    address: SocketAddr,
    probe: Probe,
    registry: Registry,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(grace: &str, routes: impl FnOnce(&Registry) -> Router) -> Running {
    let registry = Registry::new();
    let probe = Probe::new(&registry);
    let flags = parse_groups(
        &[groups::http()],
        &[
            "--http-address=127.0.0.1:0",
            &format!("--http-grace-period={grace}"),
        ],
    );
    let options = HttpOptions::from_flags(&flags.unwrap()).unwrap();
    let server = HttpServer::new(options, &registry, &probe).routes(routes(&registry));
    let bound = server.bind().await.unwrap();
    let stop = CancellationToken::new();
    let address = bound.local_addr();
    let task = tokio::spawn(bound.serve(stop.clone()));
    Running {
        address,
        probe,
        registry,
        stop,
        task,
    }
}

async fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}\r\nHost: a:10902\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn probes_answer_as_thanos_does() {
    let server = start("1s", |_| Router::new()).await;
    let healthy = ask(server.address, "GET /-/healthy HTTP/1.1").await;
    assert!(
        healthy.starts_with("HTTP/1.1 200 ") && healthy.ends_with("\r\n\r\nOK"),
        "{healthy}"
    );
    let ready = ask(server.address, "GET /-/ready HTTP/1.1").await;
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("\r\n\r\nNOT OK"),
        "{ready}"
    );
    server.probe.set_ready();
    assert!(
        ask(server.address, "GET /-/ready HTTP/1.1")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(
        ask(server.address, "GET /nothing HTTP/1.1")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
}

#[tokio::test]
async fn metrics_come_in_the_format_the_scraper_wants() {
    let server = start("1s", |_| Router::new()).await;
    server.registry.counter("a_total", "A").inc();
    let classic = ask(server.address, "GET /metrics HTTP/1.1").await;
    assert!(
        classic.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{classic}"
    );
    assert!(classic.contains("# TYPE a_total counter\na_total 1\n") && !classic.contains("# EOF"));
    let openmetrics = ask(
        server.address,
        "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0",
    )
    .await;
    assert!(
        openmetrics.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
    );
    assert!(openmetrics.contains("# TYPE a counter\na_total 1\n") && openmetrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn requests_are_counted_by_code_handler_and_method() {
    let server = start("1s", |registry| {
        let metrics = HttpMetrics::new(registry);
        let routes = Router::new()
            .route("/api/v1/query", get(async || "0123456789"))
            .route(
                "/api/v1/fail",
                post(async || (StatusCode::UNPROCESSABLE_ENTITY, "no")),
            );
        metrics.instrument("query", routes)
    })
    .await;
    ask(server.address, "GET /api/v1/query?x=y HTTP/1.1").await;
    ask(server.address, "POST /api/v1/fail HTTP/1.1").await;
    ask(server.address, "FETCH /api/v1/fail HTTP/1.1").await;
    let page = server.registry.classic();
    for line in [
        r#"http_requests_total{code="200",handler="query",method="get"} 1"#,
        r#"http_requests_total{code="422",handler="query",method="post"} 1"#,
        r#"http_requests_total{code="405",handler="query",method="unknown"} 1"#,
        r#"http_response_size_bytes_sum{code="200",handler="query",method="get"} 10.0"#,
        r#"http_request_duration_seconds_count{code="200",handler="query",method="get"} 1"#,
        r#"http_inflight_requests{handler="query",method="get"} 0"#,
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is missing from\n{page}"
        );
    }
}

#[tokio::test]
async fn a_request_in_flight_ends_well_after_stop() {
    let (entered_sender, entered) = oneshot::channel::<()>();
    let (leave, left) = oneshot::channel::<()>();
    let gates = parking_lot::Mutex::new(Some((entered_sender, left)));
    let gates = std::sync::Arc::new(gates);
    let server = start("1h", |_| {
        let slow = get(move || async move {
            let (entered, leave) = gates.lock().take().unwrap();
            entered.send(()).unwrap();
            leave.await.unwrap();
            "done"
        });
        Router::new().route("/slow", slow)
    })
    .await;
    let address = server.address;
    let answer = tokio::spawn(async move { ask(address, "GET /slow HTTP/1.1").await });
    entered.await.unwrap();
    server.probe.set_ready();
    server.stop.cancel();
    let mut states = server.probe.subscribe();
    states.wait_for(|state| state.ready.is_err()).await.unwrap();
    assert!(!server.task.is_finished());
    leave.send(()).unwrap();
    assert!(answer.await.unwrap().ends_with("done"));
    server.task.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "no new connections");
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_period_is_cut_off() {
    let server = start("50ms", |_| {
        Router::new().route("/never", get(std::future::pending::<()>))
    })
    .await;
    let address = server.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    while !server.registry.classic().contains("sabre_http_connections 1\n") {
        tokio::task::yield_now().await;
    }
    server.stop.cancel();
    server.task.await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(server.registry.classic().contains("sabre_http_connections 0\n"));
}

/// The begin of a request's head, of so many bytes; the end of its last line is missing.
fn head_of(bytes: usize) -> String {
    let start = "GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ";
    format!("{start}{}", "a".repeat(bytes - start.len()))
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    const END: &str = "\r\n\r\n";
    let server = start("1s", |_| Router::new()).await;
    for (head, status) in [
        (head_of(MAX_HEAD_BYTES - END.len()) + END, "200"),
        // It is not even waited for the end.
        (head_of(MAX_HEAD_BYTES), "431"),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 64];
        let count = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let registry = Registry::new();
    let options = HttpOptions {
        address: ":0".parse().unwrap(),
        grace: Duration::ZERO,
        web: None,
    };
    let length = Router::new().route("/body", post(async |body: Bytes| body.len().to_string()));
    let router = HttpServer::new(options, &registry, &Probe::new(&registry))
        .routes(length)
        .into_router();
    for (size_bytes, status) in [
        (MAX_BODY_BYTES, StatusCode::OK),
        (MAX_BODY_BYTES + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let request = Request::post("/body")
            .body(Body::from(vec![0; size_bytes]))
            .unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn an_address_of_ipv6_is_served() {
    if tokio::net::TcpListener::bind("[::1]:0").await.is_err() {
        return; // The machine has no IPv6.
    }
    let registry = Registry::new();
    let flags = parse_groups(&[groups::http()], &["--http-address=[::1]:0"]).unwrap();
    let options = HttpOptions::from_flags(&flags).unwrap();
    let bound = HttpServer::new(options, &registry, &Probe::new(&registry))
        .bind()
        .await
        .unwrap();
    let (address, stop) = (bound.local_addr(), CancellationToken::new());
    assert!(address.is_ipv6());
    let task = tokio::spawn(bound.serve(stop.clone()));
    assert!(
        ask(address, "GET /-/healthy HTTP/1.1")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_flag() {
    let server = start("1s", |_| Router::new()).await;
    let address = ListenAddress {
        host: Ipv4Addr::LOCALHOST.to_string(),
        port: server.address.port(),
    };
    let options = HttpOptions {
        address,
        grace: Duration::ZERO,
        web: None,
    };
    let error = HttpServer::new(options, &server.registry, &server.probe)
        .bind()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("--http-address: cannot listen on {}: ", server.address)),
        "{error}"
    );
}
