use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::Request};
use sabre_model::Labels;
use sabre_promql::value::{RangeSeries, Value};
use sabre_runtime::{metrics::Registry, tls::Subject};
use serde_json::json;

use super::fakes::{Fake, answer, get, post, routes, routes_told_in, send};
use crate::{
    endpoints::Pool,
    evaluate::{
        Answer, FailureKind, NamesAnswer, QueryFailure, QueryRequest, QueryTimes, SeriesAnswer, SeriesRequest,
    },
    http::{ApiOptions, CertificateField, Queries},
};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

#[tokio::test]
async fn a_query_is_the_same_in_the_address_and_in_a_form() {
    let fake = Arc::new(Fake::default());
    let routes = routes(&fake, ApiOptions::default());
    let got = get(
        &routes,
        "/api/v1/query?query=up%7Bjob%3D%22a%22%7D&time=5&dedup=false",
    )
    .await;
    assert_eq!(
        got.body,
        r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#
    );
    assert_eq!(got.status, 200);
    assert_eq!(got.headers["content-type"], "application/json");
    let form = "query=up%7Bjob%3D%22a%22%7D&time=5&dedup=false";
    assert_eq!(post(&routes, "/api/v1/query", form).await.status, 200);
    let queries = fake.queries.lock();
    assert_eq!(queries.len(), 2);
    for query in queries.iter() {
        assert_eq!(query.expression, "up{job=\"a\"}");
        assert_eq!(query.times, QueryTimes::Instant { time_ms: 5000 });
        assert!(!query.context.dedup);
    }
}

#[tokio::test]
async fn warnings_and_infos_are_told_together() {
    let mut told = answer(Value::Matrix(vec![RangeSeries {
        labels: labels(&[("a", "1")]),
        floats: vec![(1_000, 1.0), (2_000, 2.5)],
        histograms: Vec::new(),
    }]));
    told.warnings = vec!["x:1: gone".to_owned()];
    told.infos = vec!["PromQL info: i (1:1)".to_owned()];
    let fake = Fake {
        answer: Ok(told),
        ..Fake::default()
    };
    let routes = routes(&Arc::new(fake), ApiOptions::default());
    let got = get(&routes, "/api/v1/query_range?query=a&start=1&end=2&step=1").await;
    assert_eq!(
        got.body,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[1,"1"],[2,"2.5"]]}]},"warnings":["x:1: gone","PromQL info: i (1:1)"]}"#
    );
    assert_eq!(got.headers["cache-control"], "no-store");
    assert_eq!(got.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn failures_of_the_evaluator_have_their_type_and_status() {
    for (kind, status) in [
        (FailureKind::BadData, 400),
        (FailureKind::Execution, 422),
        (FailureKind::Timeout, 503),
        (FailureKind::Canceled, 503),
        (FailureKind::Internal, 500),
    ] {
        let fake = Fake {
            answer: Err(QueryFailure::new(kind, "1:5: parse error: no")),
            ..Fake::default()
        };
        let got = get(
            &routes(&Arc::new(fake), ApiOptions::default()),
            "/api/v1/query?query=up",
        )
        .await;
        let expected = (
            status,
            kind.as_str().to_owned(),
            "1:5: parse error: no".to_owned(),
        );
        assert_eq!(got.error(), expected);
    }
}

#[tokio::test]
async fn series_and_labels_are_lists() {
    let fake = Arc::new(Fake {
        series: SeriesAnswer {
            series: vec![labels(&[("__name__", "up"), ("job", "a\"b")])],
            warnings: vec!["results truncated due to limit".to_owned()],
            ..SeriesAnswer::default()
        },
        names: NamesAnswer {
            values: vec!["a".to_owned(), "b".to_owned()],
            ..NamesAnswer::default()
        },
        ..Fake::default()
    });
    let routes = routes(&fake, ApiOptions::default());
    let got = post(&routes, "/api/v1/series", "match[]=up&limit=1&start=1&end=2").await;
    assert_eq!(
        got.body,
        r#"{"status":"success","data":[{"__name__":"up","job":"a\"b"}],"warnings":["results truncated due to limit"]}"#
    );
    let got = get(&routes, "/api/v1/labels").await;
    assert_eq!(got.body, r#"{"status":"success","data":["a","b"]}"#);
    get(&routes, "/api/v1/label/__name__/values?match[]=up").await;
    get(&routes, "/api/v1/label/U__a_2e_b/values").await;
    get(&routes, "/api/v1/label/bad-name/values").await;
    let refused = get(&routes, "/api/v1/series?start=1&end=2").await.error();
    let expected = "no match[] parameter provided";
    assert_eq!(refused, (400, "bad_data".to_owned(), expected.to_owned()));
    let requests = fake.series_requests.lock();
    let asked: Vec<&str> = requests.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(asked, ["", "", "__name__", "a.b", "bad-name"]);
    assert_eq!(requests[0].1.limit, 1);
    assert_eq!(requests[2].1.matchers.len(), 1);
}

#[tokio::test]
async fn other_origins_may_ask_unless_a_flag_forbids_it() {
    let options = || Request::options("/api/v1/query").body(Body::empty()).unwrap();
    let open = routes(&Arc::new(Fake::default()), ApiOptions::default());
    let got = send(&open, options()).await;
    assert_eq!((got.status, got.body.as_str()), (204, ""));
    assert_eq!(got.headers["access-control-allow-methods"], "GET, POST, OPTIONS");
    let closed = ApiOptions {
        disable_cors: true,
        ..ApiOptions::default()
    };
    let closed = routes(&Arc::new(Fake::default()), closed);
    let got = send(&closed, options()).await;
    assert_eq!(got.status, 204);
    assert!(got.headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn everything_is_below_the_route_prefix() {
    let options = ApiOptions {
        route_prefix: "/thanos".to_owned(),
        ..ApiOptions::default()
    };
    let routes = routes(&Arc::new(Fake::default()), options);
    assert_eq!(get(&routes, "/thanos/api/v1/query?query=up").await.status, 200);
    assert_eq!(get(&routes, "/api/v1/query?query=up").await.status, 404);
    let home = get(&routes, "/").await;
    assert_eq!(
        (home.status, &home.headers["location"]),
        (307, &"/thanos/graph".parse().unwrap())
    );
}

#[tokio::test]
async fn the_tenant_of_the_header_goes_to_the_evaluator() {
    let fake = Arc::new(Fake::default());
    let routes = routes(&fake, ApiOptions::default());
    let request = |tenant: &str| {
        let request = Request::get("/api/v1/query?query=up").header("THANOS-TENANT", tenant);
        request.body(Body::empty()).unwrap()
    };
    assert_eq!(send(&routes, request("team-a")).await.status, 200);
    assert_eq!(send(&routes, request("../b")).await.status, 400);
    let queries = fake.queries.lock();
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0].context.tenant.as_deref(), Some("team-a"));
    let metadata = ("thanos-tenant".to_owned(), "team-a".to_owned());
    assert_eq!(queries[0].context.metadata, [metadata]);
}

#[tokio::test]
async fn what_a_query_cost_is_told_when_asked() {
    let routes = routes(&Arc::new(Fake::default()), ApiOptions::default());
    let some = get(&routes, "/api/v1/query?query=up&stats=1").await.json();
    assert!(some["data"]["stats"]["timings"]["evalTotalTime"].is_number());
    assert!(some["data"]["stats"].get("sabre").is_none());
    let all = get(&routes, "/api/v1/query?query=up&stats=all&analyze=1")
        .await
        .json();
    assert!(all["data"]["stats"]["sabre"]["peakBytes"].is_number());
    assert_eq!(all["data"]["analysis"]["name"], "query");
}

#[tokio::test]
async fn queries_are_parsed_and_formatted() {
    let routes = routes(&Arc::new(Fake::default()), ApiOptions::default());
    let got = get(&routes, "/api/v1/format_query?query=sum(up)by(job)").await;
    assert_eq!(got.json()["data"], "sum by (job) (up)");
    let got = get(&routes, "/api/v1/parse_query?query=up%2B1").await;
    assert_eq!(got.json()["data"]["type"], "binaryExpr");
    let (status, kind, text) = get(&routes, "/api/v1/parse_query?query=up%7B").await.error();
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(
        text.starts_with("invalid parameter \"query\": 1:4: parse error"),
        "{text}"
    );
}

#[tokio::test]
async fn the_status_tells_of_flags_and_program() {
    let options = ApiOptions {
        flags: [("query.timeout".to_owned(), "2m".to_owned())].into(),
        selector_labels: labels(&[("cluster", "eu")]),
        ..ApiOptions::default()
    };
    let routes = routes(&Arc::new(Fake::default()), options);
    let data =
        async |path: &str| get(&routes, &format!("/api/v1/status/{path}")).await.json()["data"].clone();
    assert_eq!(data("flags").await, json!({ "query.timeout": "2m" }));
    assert_eq!(data("buildinfo").await["version"], env!("CARGO_PKG_VERSION"));
    assert!(data("runtimeinfo").await["startTime"].is_string());
    let expected = "global:\n  external_labels:\n    \"cluster\": \"eu\"\n";
    assert_eq!(data("config").await["yaml"], expected);
}

/// Never answers, and tells when it is let go of.
#[derive(Debug)]
struct Endless {
    asked: tokio::sync::Notify,
    dropped: Arc<tokio::sync::Notify>,
}

struct TellsDrop(Arc<tokio::sync::Notify>);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait::async_trait]
impl Queries for Endless {
    async fn query(&self, _: &QueryRequest) -> Result<Answer, QueryFailure> {
        let _guard = TellsDrop(Arc::clone(&self.dropped));
        self.asked.notify_one();
        std::future::pending().await
    }

    async fn series(&self, _: &SeriesRequest) -> Result<SeriesAnswer, QueryFailure> {
        std::future::pending().await
    }

    async fn label_names(&self, _: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        std::future::pending().await
    }

    async fn label_values(&self, _: &str, _: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    use sabre_runtime::{
        http_server::{HttpMetrics, HttpOptions, HttpServer},
        metrics::Registry,
        probe::Probe,
    };
    use tokio::io::AsyncWriteExt as _;
    let endless = Arc::new(Endless {
        asked: tokio::sync::Notify::new(),
        dropped: Arc::default(),
    });
    let registry = Registry::new();
    let api = crate::http::HttpApi::new(
        Arc::<Endless>::clone(&endless),
        Pool::new(),
        ApiOptions::default(),
        &registry,
    );
    let options = HttpOptions {
        address: "127.0.0.1:0".parse().unwrap(),
        grace: Duration::ZERO,
        web: None,
    };
    let server = HttpServer::new(options, &registry, &Probe::new(&registry))
        .routes(api.routes(&HttpMetrics::new(&registry)))
        .bind()
        .await
        .unwrap();
    let address = server.local_addr();
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(server.serve(stop.clone()));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    endless.asked.notified().await;
    drop(client);
    endless.dropped.notified().await;
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn requests_are_counted_by_tenant() {
    let (fake, registry) = (Arc::new(Fake::default()), Registry::new());
    let routes = routes_told_in(&fake, Pool::new(), ApiOptions::default(), &registry);
    for tenant in [None, Some("team"), Some("te/am"), Some("team")] {
        let mut request = Request::get("/api/v1/query?query=up");
        if let Some(tenant) = tenant {
            request = request.header("thanos-tenant", tenant);
        }
        send(&routes, request.body(Body::empty()).unwrap()).await;
    }
    let page = registry.classic();
    for line in [
        r#"http_requests_total{code="200",handler="query",method="get",tenant="default-tenant"} 1"#,
        r#"http_requests_total{code="200",handler="query",method="get",tenant="team"} 2"#,
        r#"http_requests_total{code="400",handler="query",method="get",tenant="__other__"} 1"#,
        r#"http_request_duration_seconds_count{code="200",handler="query",method="get",tenant="team"} 2"#,
        r#"http_response_size_bytes_count{code="200",handler="query",method="get",tenant="team"} 2"#,
        r#"http_inflight_requests{handler="query",method="get",tenant="team"} 0"#,
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is missing from\n{page}"
        );
    }
}

#[tokio::test]
async fn a_certificate_names_the_tenant_of_a_query() {
    let fake = Arc::new(Fake::default());
    let mut options = ApiOptions::default();
    options.tenancy.certificate_field = Some(CertificateField::CommonName);
    let routes = routes(&fake, options);
    let request = || {
        let request = Request::get("/api/v1/query?query=up").header("thanos-tenant", "header");
        request.body(Body::empty()).unwrap()
    };
    let (status, kind, text) = send(&routes, request()).await.error();
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(text.contains("--query.tenant-certificate-field"), "{text}");
    assert!(fake.queries.lock().is_empty());
    let mut shown = request();
    shown.extensions_mut().insert(Arc::new(Subject {
        common_name: Some("team".to_owned()),
        ..Subject::default()
    }));
    assert_eq!(send(&routes, shown).await.status, 200);
    let query = fake.queries.lock().pop().unwrap();
    assert_eq!(query.context.tenant.as_deref(), Some("team"));
    assert_eq!(
        query.context.metadata,
        [("thanos-tenant".to_owned(), "team".to_owned())]
    );
}
