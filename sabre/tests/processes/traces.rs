//! A query through two processes is one trace at a collector.

use std::{collections::BTreeMap, fs, time::Duration};

use prost::Message;
use sabre_testkit::{
    blocks::BlockBuilder,
    s3::{Answer, Recorded, ScriptedServer},
};

use super::support::{Component, binary, command};

const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
}

/// All spans of a trace so far, by id.
fn spans(requests: &[Recorded], trace_id: &str) -> BTreeMap<Vec<u8>, Span> {
    let mut all = BTreeMap::new();
    for request in requests {
        for resource in Export::decode(request.body.clone()).unwrap().resource_spans {
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let id: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
                if id == trace_id {
                    all.insert(span.span_id.clone(), span);
                }
            }
        }
    }
    all
}

/// The names from a span up to the root.
fn line(all: &BTreeMap<Vec<u8>, Span>, from: &Span) -> Vec<String> {
    let (mut names, mut at) = (Vec::new(), Some(from));
    while let Some(span) = at {
        names.push(span.name.clone());
        at = all.get(&span.parent_span_id);
    }
    names
}

fn start(what: &str, arguments: &[String], dir: &std::path::Path) -> Component {
    let dir = dir.join(format!("output of {what}"));
    fs::create_dir(&dir).unwrap();
    let mut command = command(binary());
    command.args(arguments).args([
        "--http-address=127.0.0.1:0",
        "--grpc-address=127.0.0.1:0",
        "--log.level=debug",
    ]);
    Component::start(what, command, &dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_through_two_processes_is_one_trace() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = dir.path().join("bucket");
    let builder = BlockBuilder::new(1).ext_labels(&[("cluster", "eu1")]);
    let block = builder.counters(3, 0..HOUR_MS, 15_000).build().unwrap();
    for (name, bytes) in &block.files {
        let path = bucket.join(block.meta.ulid.to_string()).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let collector = ScriptedServer::start_with(|_| Answer::new(200)).await.unwrap();
    let tracing = |name: &str, sampler: &str| {
        let endpoint = collector.endpoint();
        format!(
            "--tracing.config={{type: OTLP, config: {{client_type: http, endpoint: '{endpoint}', insecure: true, \
             service_name: {name}, sampler_type: {sampler}}}}}"
        )
    };
    let never = "parentbasedneversample";
    let mut store = start(
        "store",
        &[
            "store".to_owned(),
            format!(
                "--objstore.config={{type: FILESYSTEM, config: {{directory: {}}}}}",
                bucket.display()
            ),
            format!("--data-dir={}", dir.path().join("data").display()),
            // It has to fetch what the query needs, so that there is something to trace.
            "--index-cache-size=0".to_owned(),
            tracing("store", never),
        ],
        dir.path(),
    );
    let http = store.http_address().await.expect("the store serves HTTP");
    store.wait_until(&http, || true).await;
    let grpc = store.grpc_address().await.expect("the store serves gRPC");
    let mut querier = start(
        "querier",
        &[
            "query".to_owned(),
            format!("--endpoint={grpc}"),
            tracing("querier", never),
        ],
        dir.path(),
    );
    let http = querier.http_address().await.expect("the querier serves HTTP");
    querier.wait_until(&http, || true).await;

    // Until the querier knows the store its answers are empty.
    let url = format!("http://{http}/api/v1/query?query=count(requests_total)&time=1800");
    let client = reqwest::Client::new();
    let (mut trace_id, mut said) = (None, String::new());
    for _ in 0..3_000 {
        let request = client.get(&url).header("X-Thanos-Force-Tracing", "true");
        let answer = request.send().await.unwrap();
        let id = answer.headers()["x-thanos-trace-id"].to_str().unwrap().to_owned();
        let text = answer.text().await.unwrap();
        if text.contains("\"3\"") {
            trace_id = Some(id);
            break;
        }
        said = text;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let trace_id = trace_id.unwrap_or_else(|| panic!("{said}: {} {}", querier.stderr(), store.stderr()));
    // One that is not forced is not sampled.
    let answer = client.get(&url).send().await.unwrap();
    assert!(!answer.headers().contains_key("x-thanos-trace-id"));

    // Sent every few seconds. A machine may be too slow for the patience with which both send the rest when they end.
    for _ in 0..3_000 {
        let all = spans(&collector.requests(), &trace_id);
        let has = |name: &str| all.values().any(|span| span.name == name);
        let is_served = |span: &Span| span.name == "/thanos.Store/Series" && span.kind == 2;
        if has("bucket_getrange") && has("/api/v1/query HTTP[server]") && all.values().any(is_served) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(querier.stop().await.success(), "{}", querier.stderr());
    assert!(store.stop().await.success(), "{}", store.stderr());
    let requests = collector.requests();
    assert!(requests.iter().all(|request| request.target == "/v1/traces"));
    let all = spans(&requests, &trace_id);
    let names: Vec<_> = all.values().map(|span| span.name.as_str()).collect();
    let served = all
        .values()
        .find(|span| span.name == "/thanos.Store/Series" && span.kind == 2);
    let served = served.unwrap_or_else(|| panic!("{names:?}"));
    assert_eq!(
        line(&all, served),
        [
            "/thanos.Store/Series",
            "/thanos.Store/Series",
            "promql_instant_query",
            "/api/v1/query HTTP[server]",
        ]
    );
    let fetched = all.values().find(|span| span.name == "bucket_getrange");
    let fetched = fetched.unwrap_or_else(|| panic!("{names:?}"));
    assert_eq!(line(&all, fetched)[1..], line(&all, served)[..]);
}
