//! The metrics of HTTP handlers, under Thanos' names.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::Response,
};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::time::Instant;

use super::tenants::Tenants;
use crate::{
    metrics::{Counters, Gauge, Gauges, Histograms, Registry},
    observed_body::{ObservedBody, Observer},
    request_log::{Protocol, RequestLog},
};

const DURATION_BUCKETS: [f64; 17] = [
    0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0, 240.0, 360.0, 720.0,
];
const SIZE_BUCKETS: [f64; 10] = [
    64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0,
];

/// Metrics of requests by code, handler and method, and where tenants are told apart by tenant. Clones share them.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    families: Families,
    log: RequestLog,
}

#[derive(Debug, Clone)]
enum Families {
    Plain(Family<3, 2>),
    Tenants(Family<4, 3>, Arc<Tenants>),
}

/// The metrics, with their number of labels, and that of those in flight.
#[derive(Debug, Clone)]
struct Family<const N: usize, const M: usize> {
    requests: Counters<N>,
    duration: Histograms<N>,
    request_size: Histograms<N>,
    response_size: Histograms<N>,
    inflight: Gauges<M>,
}

#[derive(Debug, Clone)]
struct Handler {
    metrics: HttpMetrics,
    name: &'static str,
}

/// A request in flight.
struct Call {
    metrics: HttpMetrics,
    handler: &'static str,
    method: &'static str,
    /// Empty where tenants are not told apart.
    tenant: Arc<str>,
    code: StatusCode,
    request_bytes: u64,
    response_bytes: u64,
    start: Instant,
    inflight: Gauge,
    log: Option<Logged>,
}

struct Logged {
    path: String,
    port: u16,
}

impl HttpMetrics {
    /// Makes the metrics.
    pub fn new(registry: &Registry) -> Self {
        let labels = ["code", "handler", "method"];
        Self {
            families: Families::Plain(Family::new(registry, labels, ["handler", "method"])),
            log: RequestLog::default(),
        }
    }

    /// Makes the metrics of a component that knows tenants: each has the label `tenant` besides.
    pub fn of_tenants(registry: &Registry, tenants: Tenants) -> Self {
        let labels = ["code", "handler", "method", "tenant"];
        let family = Family::new(registry, labels, ["handler", "method", "tenant"]);
        Self {
            families: Families::Tenants(family, Arc::new(tenants)),
            log: RequestLog::default(),
        }
    }

    /// Logs requests as `log` says.
    #[must_use]
    pub fn with_log(mut self, log: RequestLog) -> Self {
        self.log = log;
        self
    }

    /// Counts the requests of `routes` under the name `handler`, such as `query_range`.
    pub fn instrument(&self, handler: &'static str, routes: Router) -> Router {
        let state = Handler {
            metrics: self.clone(),
            name: handler,
        };
        routes.layer(middleware::from_fn_with_state(state, observe))
    }
}

impl<const N: usize, const M: usize> Family<N, M> {
    fn new(registry: &Registry, labels: [&'static str; N], inflight: [&'static str; M]) -> Self {
        let sizes = |name, help| registry.histograms(name, help, labels, &SIZE_BUCKETS);
        Self {
            requests: registry.counters("http_requests_total", "HTTP requests", labels),
            duration: registry.histograms(
                "http_request_duration_seconds",
                "Time that HTTP requests took",
                labels,
                &DURATION_BUCKETS,
            ),
            request_size: sizes("http_request_size_bytes", "Size of HTTP requests"),
            response_size: sizes("http_response_size_bytes", "Size of HTTP responses"),
            inflight: registry.gauges("http_inflight_requests", "HTTP requests being served", inflight),
        }
    }

    fn note(&self, labels: [&str; N], took: Duration, request_bytes: u64, response_bytes: u64) {
        self.requests.with(labels).inc();
        self.duration.with(labels).observe(took.as_secs_f64());
        self.request_size.with(labels).observe(request_bytes as f64);
        self.response_size.with(labels).observe(response_bytes as f64);
    }
}

async fn observe(State(handler): State<Handler>, request: Request, next: Next) -> Response {
    let mut call = Call::new(&handler, &request);
    let response = next.run(request).await;
    call.code = response.status();
    response.map(|body| Body::new(ObservedBody::new(body, call)))
}

impl Call {
    fn new(handler: &Handler, request: &Request) -> Self {
        let method = method_label(request.method());
        let (tenant, inflight) = match &handler.metrics.families {
            Families::Plain(family) => ("".into(), family.inflight.with([handler.name, method])),
            Families::Tenants(family, tenants) => {
                let tenant = tenants.label(request, handler.name, method);
                let inflight = family.inflight.with([handler.name, method, &tenant]);
                (tenant, inflight)
            }
        };
        inflight.inc();
        let log = handler.metrics.log.wants(Protocol::Http).then(|| Logged {
            path: request.uri().path().to_owned(),
            port: port_of(request),
        });
        if let Some(logged) = &log {
            handler.metrics.log.http_start(&logged.path, logged.port, method);
        }
        Self {
            metrics: handler.metrics.clone(),
            handler: handler.name,
            method,
            tenant,
            // What a client that left before the answer gets, as nginx calls it.
            code: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            request_bytes: approximate_size(request),
            response_bytes: 0,
            start: Instant::now(),
            inflight,
            log,
        }
    }
}

impl Observer for Call {
    fn frame(&mut self, frame: &Frame<Bytes>) {
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.response_bytes = self.response_bytes.saturating_add(length as u64);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.start.elapsed();
        let (code, sent, got) = (self.code.as_str(), self.response_bytes, self.request_bytes);
        match &self.metrics.families {
            Families::Plain(family) => family.note([code, self.handler, self.method], took, got, sent),
            Families::Tenants(family, _) => {
                let labels = [code, self.handler, self.method, &self.tenant];
                family.note(labels, took, got, sent);
            }
        }
        self.inflight.dec();
        if let Some(logged) = &self.log {
            self.metrics
                .log
                .http_end(&logged.path, logged.port, self.method, self.code, took);
        }
    }
}

/// Methods are a closed set, so that a stranger cannot make labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::DELETE => "delete",
        Method::HEAD => "head",
        Method::OPTIONS => "options",
        Method::PATCH => "patch",
        _ => "unknown",
    }
}

/// Head and body, as far as their sizes are known before they are read.
fn approximate_size(request: &Request) -> u64 {
    let line = request.method().as_str().len() + request.uri().path().len();
    let query = request.uri().query().map_or(0, str::len);
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let body = request.body().size_hint().exact().unwrap_or(0);
    body.saturating_add((line + query + headers) as u64)
}

/// The port that the client asked for: HTTP/2 has it in the address, HTTP/1 in a header.
fn port_of(request: &Request) -> u16 {
    if let Some(authority) = request.uri().authority() {
        return authority.port_u16().unwrap_or_default();
    }
    let host = request
        .headers()
        .get(axum::http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    host.rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_address_or_of_the_header() {
        for (uri, host, port) in [
            ("/a", Some("sabre.test:10902"), 10_902),
            ("/a", Some("[::1]:10902"), 10_902),
            ("/a", Some("sabre.test"), 0),
            ("/a", None, 0),
            // As HTTP/2 has it.
            ("https://sabre.test:10902/a", None, 10_902),
            ("https://[::1]:10902/a", None, 10_902),
            ("https://sabre.test/a", None, 0),
        ] {
            let mut request = Request::get(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            assert_eq!(
                port_of(&request.body(Body::empty()).unwrap()),
                port,
                "{uri} {host:?}"
            );
        }
    }
}
