//! Spans of two servers at a collector, and collectors that are away, slow or unwilling.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{Router, body::Body, response::Response, routing::get};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::service_fn;

use super::{encode::any_value, *};
use crate::{
    http_server::{HttpOptions, HttpServer},
    logging::{Capture, LogOptions},
    probe::Probe,
};

/// What a collector got: spans with the attributes of who sent them.
#[derive(Clone, Default)]
struct Got(Arc<Mutex<Vec<(encode::Resource, encode::WireSpan)>>>);

/// A collector, real down to tonic. It stops when it is dropped.
struct Collector {
    address: SocketAddr,
    got: Got,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Taken {}

impl tonic::server::UnaryService<encode::Request> for Got {
    type Response = Taken;
    type Future = std::future::Ready<Result<tonic::Response<Taken>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<encode::Request>) -> Self::Future {
        self.take(request.into_inner());
        std::future::ready(Ok(tonic::Response::new(Taken {})))
    }
}

impl Got {
    fn take(&self, request: encode::Request) {
        for all in request.resource_spans {
            let resource = all.resource.unwrap();
            let spans = all.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().extend(spans.map(|span| (resource.clone(), span)));
        }
    }

    fn span(&self, name: &str) -> (encode::Resource, encode::WireSpan) {
        let all = self.0.lock();
        let names: Vec<&str> = all.iter().map(|(_, span)| span.name.as_str()).collect();
        let mut found = all.iter().filter(|(_, span)| span.name == name);
        let span = found.next().unwrap_or_else(|| panic!("no {name} in {names:?}"));
        assert!(found.next().is_none(), "{name} twice in {names:?}");
        span.clone()
    }
}

impl Collector {
    /// Answers with `code`, by gRPC and by HTTP.
    async fn start(code: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (got, headers) = (Got::default(), Arc::<Mutex<Vec<HeaderMap>>>::default());
        let mut tasks = JoinSet::new();
        let (taken, seen) = (got.clone(), Arc::clone(&headers));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (taken, seen) = (taken.clone(), Arc::clone(&seen));
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    seen.lock().push(request.headers().clone());
                    answer(taken.clone(), code, request)
                });
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let service = TowerToHyperService::new(service);
                    // A client that went is no failure.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            got,
            headers,
            _tasks: tasks,
        }
    }

    /// Waits until so many spans came, a minute at most.
    async fn wait_for(&self, spans: usize, tracers: &[Tracer]) {
        let wait = async {
            loop {
                for tracer in tracers {
                    tracer.flush().await;
                }
                if self.got.0.lock().len() >= spans {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        waited.expect("the spans do not come");
    }

    fn config(&self, client: &str, more: &str) -> OtlpConfig {
        config(client, &self.address.to_string(), more)
    }
}

async fn answer(
    taken: Got,
    code: u16,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    if code != 200 {
        let response = Response::builder().status(code).body(tonic::body::Body::empty());
        return Ok(response.unwrap());
    }
    if request.headers()["content-type"] == "application/grpc" {
        assert_eq!(
            request.uri().path(),
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        );
        let mut grpc = tonic::server::Grpc::new(tonic_prost::ProstCodec::<Taken, encode::Request>::default())
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip);
        return Ok(grpc.unary(taken, request).await);
    }
    assert_eq!(request.uri().path(), "/v1/traces");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    taken.take(encode::Request::decode(body).unwrap());
    Ok(Response::new(tonic::body::Body::empty()))
}

fn config(client: &str, endpoint: &str, more: &str) -> OtlpConfig {
    let text = format!(
        "type: OTLP\nconfig: {{client_type: {client}, endpoint: '{endpoint}', insecure: true, headers: {{x-key: k4n4ri3}}{more}}}"
    );
    match TraceConfig::parse(&text).unwrap() {
        TraceConfig::Otlp(config) => *config,
        TraceConfig::NotBuilt(name) => panic!("{name}"),
    }
}

fn tracer(config: &OtlpConfig) -> (Tracer, Registry) {
    let registry = Registry::new();
    (start(config, &registry).unwrap(), registry)
}

fn count(registry: &Registry, line: &str) -> u64 {
    let text = registry.classic();
    let value = text
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// An HTTP server with a tracer of its own.
async fn server(tracer: &Tracer, routes: Router, tasks: &mut JoinSet<()>) -> SocketAddr {
    let flags = crate::flags::parse_groups(&[crate::flags::groups::http()], &["--http-address=127.0.0.1:0"]);
    let options = HttpOptions::from_flags(&flags.unwrap()).unwrap();
    let registry = Registry::new();
    let server = HttpServer::new(options, &registry, &Probe::new(&registry));
    let bound = server
        .traced_by(tracer.clone())
        .routes(routes)
        .bind()
        .await
        .unwrap();
    let address = bound.local_addr();
    tasks.spawn(bound.serve(tokio_util::sync::CancellationToken::new()));
    address
}

async fn ask(address: SocketAddr, path: &str, headers: HeaderMap) -> Response<hyper::body::Incoming> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(path)
        .header("host", "a")
        .body(Body::empty())
        .unwrap();
    request.headers_mut().extend(headers);
    sender.send_request(request).await.unwrap()
}

/// Two servers, the first of which asks the second, each with the exporter that is named. Waits for so many spans.
async fn two_servers(
    collector: &Collector,
    clients: [(&str, &str); 2],
    headers: HeaderMap,
    spans: usize,
) -> Response<()> {
    let [(first, _), (second, _)] = clients.map(|(client, more)| tracer(&collector.config(client, more)));
    let mut tasks = JoinSet::new();
    let below = Router::new().route(
        "/below/{id}",
        get(|| async {
            let mut work = Span::child("work");
            work.attribute("blocks", 3_u64);
            crate::run_cpu(|| drop(Span::child("thread"))).await.unwrap();
            "done"
        }),
    );
    let below = server(&second, below, &mut tasks).await;
    let above = Router::new().route(
        "/above",
        get(move || async move {
            let call = Span::client("call");
            let mut headers = HeaderMap::new();
            call.write_headers(&mut headers);
            let answer = ask(below, "/below/7?a=b", headers).await;
            answer.into_body().collect().await.unwrap();
            let task = tokio::spawn(carried(async { drop(Span::child("task")) }));
            task.await.unwrap();
            "done"
        }),
    );
    let above = server(&first, above, &mut tasks).await;
    let (head, body) = ask(above, "/above", headers).await.into_parts();
    body.collect().await.unwrap();
    // The last byte may be read before the server notices that its answer has ended.
    collector.wait_for(spans, &[first, second]).await;
    Response::from_parts(head, ())
}

#[tokio::test]
async fn spans_of_two_servers_are_one_tree_at_the_collector() {
    let collector = Collector::start(200).await;
    let clients = [
        (
            "grpc",
            ", service_name: above, compression: gzip, resource_attributes: {zone: z}",
        ),
        ("http", ", service_name: below"),
    ];
    let answer = two_servers(&collector, clients, HeaderMap::new(), 6).await;
    let got = &collector.got;
    let span = |name: &str| got.span(name).1;
    let (above, call, below) = (
        span("/above HTTP[server]"),
        span("call"),
        span("/below/{id} HTTP[server]"),
    );
    assert!(above.parent_span_id.is_empty());
    assert_eq!(above.kind, 2);
    assert_eq!((&call.parent_span_id, call.kind), (&above.span_id, 3));
    assert_eq!((&below.parent_span_id, below.kind), (&call.span_id, 2));
    assert_eq!(
        (&span("work").parent_span_id, span("work").kind),
        (&below.span_id, 1)
    );
    assert_eq!(span("thread").parent_span_id, below.span_id);
    assert_eq!(span("task").parent_span_id, above.span_id);
    assert!(call.end_time_unix_nano >= call.start_time_unix_nano);
    let ids: Vec<_> = got
        .0
        .lock()
        .iter()
        .map(|(_, span)| span.trace_id.clone())
        .collect();
    assert_eq!(ids.len(), 6);
    assert!(ids.iter().all(|id| *id == above.trace_id));
    let shown: String = above.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer.headers()["x-thanos-trace-id"], shown.as_str());

    let texts = |pairs: &[encode::KeyValue]| -> Vec<String> {
        let text = |pair: &encode::KeyValue| match pair.value.clone().unwrap().value.unwrap() {
            any_value::Kind::Text(text) => format!("{}={text}", pair.key),
            any_value::Kind::Number(number) => format!("{}={number}", pair.key),
        };
        pairs.iter().map(text).collect()
    };
    assert_eq!(
        texts(&got.span("call").0.attributes),
        ["service.name=above", "zone=z"]
    );
    assert_eq!(texts(&got.span("work").0.attributes), ["service.name=below"]);
    assert_eq!(texts(&span("work").attributes), ["blocks=3"]);
    assert_eq!(
        texts(&below.attributes),
        ["http.method=GET", "http.url=/below/7?a=b", "http.status_code=200"]
    );
    assert!(
        collector
            .headers
            .lock()
            .iter()
            .all(|headers| headers["x-key"] == "k4n4ri3")
    );
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_carried_on_and_not_exported_unless_forced() {
    let collector = Collector::start(200).await;
    // The second server would sample what it begins itself; it goes by what the first one decided.
    let clients = [("grpc", ", sampler_type: neversample"), ("grpc", "")];
    let answer = two_servers(&collector, clients, HeaderMap::new(), 0).await;
    assert!(collector.got.0.lock().is_empty());
    assert!(!answer.headers().contains_key("x-thanos-trace-id"));

    let mut headers = HeaderMap::new();
    headers.insert("x-thanos-force-tracing", http::HeaderValue::from_static("true"));
    let answer = two_servers(&collector, clients, headers, 6).await;
    assert_eq!(collector.got.0.lock().len(), 6);
    assert!(answer.headers().contains_key("x-thanos-trace-id"));
}

#[tokio::test]
async fn a_caller_that_names_a_trace_is_answered_within_it() {
    let collector = Collector::start(200).await;
    let mut headers = HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", http::HeaderValue::from_static(parent));
    let answer = two_servers(&collector, [("http", ""), ("http", "")], headers, 6).await;
    assert_eq!(
        answer.headers()["x-thanos-trace-id"],
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    let above = collector.got.span("/above HTTP[server]").1;
    assert_eq!(above.parent_span_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 2, 0xb7]);
}

#[tokio::test]
async fn scrapes_and_probes_have_no_spans() {
    let collector = Collector::start(200).await;
    let (tracer, _registry) = tracer(&collector.config("grpc", ""));
    let mut tasks = JoinSet::new();
    let address = server(&tracer, Router::new(), &mut tasks).await;
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        let answer = ask(address, path, HeaderMap::new()).await;
        assert!(!answer.headers().contains_key("x-thanos-trace-id"), "{path}");
    }
    tasks.shutdown().await;
    tracer.flush().await;
    assert!(collector.got.0.lock().is_empty());
}

fn ended_span(tracer: &Tracer) {
    drop(tracer.serve("x", &HeaderMap::new(), false));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_its_spans_and_no_secret() {
    // Bound and not listening: it refuses, and nobody else gets its port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    for client in ["grpc", "http"] {
        let retry =
            ", retry_config: {retry_enabled: true, retry_initial_interval: 1ms, retry_max_elapsed_time: 5ms}";
        let (tracer, registry) = tracer(&config(client, &address, retry));
        (0..7).for_each(|_| ended_span(&tracer));
        tracer.flush().await;
        assert_eq!(
            count(&registry, "sabre_trace_spans_dropped_total{reason=\"collector\"}"),
            7
        );
        assert_eq!(count(&registry, "sabre_trace_spans_exported_total"), 0);
        let post = post::Post::new(&config(client, &address, "")).unwrap();
        let failure = post.send(&post.body(Vec::new())).await.unwrap_err();
        let shown = format!("{failure:?} {post:?}");
        assert!(
            shown.contains(&address) && shown.starts_with("Passing") && !shown.contains("k4n4ri3"),
            "{shown}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_waits_for_no_collector_that_is_away() {
    // Bound and not listening: it refuses, and nobody else gets its port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    for client in ["grpc", "http"] {
        let (tracer, registry) = tracer(&config(client, &address, ""));
        ended_span(&tracer);
        // By now the first try has failed, and the next is seconds away.
        tokio::time::sleep(Duration::from_secs(7)).await;
        (0..7).for_each(|_| ended_span(&tracer));
        let start = tokio::time::Instant::now();
        tracer.flush_last().await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(
            count(&registry, "sabre_trace_spans_dropped_total{reason=\"collector\"}"),
            8
        );
    }
}

#[tokio::test]
async fn a_collector_that_refuses_is_not_asked_again() {
    for client in ["grpc", "http"] {
        let collector = Collector::start(400).await;
        let (tracer, registry) = tracer(&collector.config(client, ""));
        ended_span(&tracer);
        tracer.flush().await;
        assert_eq!(
            count(&registry, "sabre_trace_spans_dropped_total{reason=\"collector\"}"),
            1
        );
        assert_eq!(collector.headers.lock().len(), 1);
    }
}

#[tokio::test]
async fn a_collector_that_says_nothing_holds_nobody_up_and_the_queue_is_bounded() {
    const SPANS: u64 = 10_000;
    // Connections wait in its backlog for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tracer, registry) = tracer(&config("grpc", &address, ""));
    for number in 0..SPANS {
        ended_span(&tracer);
        if number % 100 == 0 {
            // The exporter gets its turns, and takes what it can.
            tokio::task::yield_now().await;
        }
    }
    let dropped = count(&registry, "sabre_trace_spans_dropped_total{reason=\"queue\"}");
    // In the queue or in the one batch that is under way; everything else is gone.
    assert!(dropped >= SPANS - 2_048 - 512, "{dropped}");
    assert!(dropped < SPANS, "{dropped}");
}

#[tokio::test]
async fn log_lines_within_a_trace_carry_its_id() {
    let collector = Collector::start(200).await;
    let (tracer, _registry) = tracer(&collector.config("grpc", ""));
    let capture = Capture::default();
    let subscriber = LogOptions::default().subscriber(capture.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let span = tracer.serve("x", &HeaderMap::new(), false);
    span.within(async { tracing::info!("within") }).await;
    tracing::info!("outside");
    let id = span.trace_id().unwrap();
    let log = capture.text();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].ends_with(&format!("msg=within traceID={id}")), "{log}");
    assert!(lines[1].ends_with("msg=outside"), "{log}");
}
