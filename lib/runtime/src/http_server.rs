//! The HTTP server of every component: `/metrics`, `/-/healthy`, `/-/ready`, and whatever routes the component adds.

pub mod cors;
mod metrics;
mod profiles;
mod tenants;
#[cfg(test)]
mod tests;
mod web;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio_util::sync::CancellationToken;

use crate::{
    flags::{FlagError, Flags, ListenAddress},
    metrics::{CLASSIC_CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE, Registry, wants_openmetrics},
    probe::{Probe, Verdict},
    profiles::heap,
    server::{
        accept::{Acceptor, Tls},
        certificate_end,
        handshake::Handshakes,
        reloads,
    },
    trace::{self, Tracer},
};
pub use crate::{request_log::RequestLog, server::ServerError};
pub use metrics::HttpMetrics;
pub use tenants::{OTHER_TENANTS, TenantOf, Tenants};
use web::Guard;
pub use web::WebFile;

/// The longest body a handler reads whole, unless it says otherwise.
const MAX_BODY_BYTES: usize = 16 << 20;
/// The longest head of a request.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How long a head may take, and how long a connection may stay idle: longer than any sensible scrape interval.
const HEAD_TIMEOUT: Duration = Duration::from_secs(150);
/// Requests at once on a connection of HTTP/2, which is spoken under TLS only.
const MAX_STREAMS: u32 = 250;
/// How long a silent connection of HTTP/2 has to answer a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Where and how HTTP is served.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// `--http-address`.
    pub address: ListenAddress,
    /// `--http-grace-period`.
    pub grace: Duration,
    /// `--http.config`: TLS, passwords, headers.
    pub web: Option<WebFile>,
}

/// A server that is not listening yet.
#[derive(Debug)]
pub struct HttpServer {
    options: HttpOptions,
    router: Router,
    registry: Registry,
    probe: Probe,
    tracer: Option<Tracer>,
    /// Cancelled when the server is to stop.
    ending: CancellationToken,
}

/// A server that listens, and answers once it is served.
#[derive(Debug)]
pub struct BoundHttpServer {
    acceptor: Acceptor,
    address: SocketAddr,
    probe: Probe,
    ending: CancellationToken,
}

impl HttpOptions {
    /// Reads `--http-address`, `--http-grace-period`, and `--http.config` with all files that it names.
    ///
    /// # Errors
    /// When a flag was not declared, its value is wrong, or a file is of no use.
    pub fn from_flags(flags: &Flags) -> Result<Self, FlagError> {
        let web = match flags.text("http.config")? {
            "" => None,
            path => Some(WebFile::read(path).map_err(|problem| FlagError::new("http.config", problem))?),
        };
        Ok(Self {
            address: flags.address("http-address")?,
            grace: flags.duration("http-grace-period")?,
            web,
        })
    }
}

impl HttpServer {
    /// Makes a server with metrics and probes.
    pub fn new(options: HttpOptions, registry: &Registry, probe: &Probe) -> Self {
        let probes = Router::new()
            .route("/-/healthy", get(healthy))
            .route("/-/ready", get(ready))
            .with_state(probe.clone());
        let ending = CancellationToken::new();
        let router = Router::new()
            .route("/metrics", get(page))
            .with_state(registry.clone())
            .merge(probes)
            .merge(profiles::routes(heap::installed(), ending.clone()));
        Self {
            options,
            router,
            registry: registry.clone(),
            probe: probe.clone(),
            tracer: trace::installed(),
            ending,
        }
    }

    /// Traces requests with this tracer, instead of that of the process.
    #[must_use]
    pub fn traced_by(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Adds routes; see [`HttpMetrics::instrument`] for their metrics. Paths must differ from those that are there.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.router = self.router.merge(routes);
        self
    }

    /// Listens.
    ///
    /// # Errors
    /// When the address is taken; the error names flag and address.
    pub async fn bind(self) -> Result<BoundHttpServer, ServerError> {
        let listener = self.options.address.bind("http-address").await?;
        let address = listener.local_addr().map_err(ServerError::Address)?;
        let (probe, ending) = (self.probe.clone(), self.ending.clone());
        let acceptor = Acceptor {
            name: "http",
            listener,
            protocol: http1(),
            tls: self.options.web.as_ref().and_then(|web| tls(web, &self.registry)),
            coalesce: false,
            max_connection_age: None,
            grace: self.options.grace,
            connections: self
                .registry
                .gauge("sabre_http_connections", "Open HTTP connections"),
            router: self.into_router(),
        };
        Ok(BoundHttpServer {
            acceptor,
            address,
            probe,
            ending,
        })
    }

    fn into_router(self) -> Router {
        let router = self.router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
        let router = match self.tracer {
            Some(tracer) => router.layer(from_fn_with_state(tracer, trace::layer::traced)),
            None => router,
        };
        match self.options.web {
            Some(web) => router.layer(from_fn_with_state(Guard::new(web), Guard::handle)),
            None => router,
        }
    }
}

impl BoundHttpServer {
    /// The address that was bound, with the port the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then for the grace period what is in flight. The health probe is fine from
    /// here on, and the readiness probe is not once `stop` is cancelled.
    pub async fn serve(self, stop: CancellationToken) {
        tracing::info!(address = %self.address, "listening for HTTP");
        self.probe.set_healthy();
        let probe = self.probe.clone();
        let turn_away = async {
            stop.cancelled().await;
            probe.set_not_ready("shutting down");
            self.ending.cancel();
        };
        tokio::join!(self.acceptor.serve(stop.clone()), turn_away);
    }
}

fn http1() -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new()).http1_only();
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    protocol
}

fn http2() -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new()).http2_only();
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(HEAD_TIMEOUT)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    protocol
}

/// TLS of the server, if the file asks for it. Reloads are counted also without.
fn tls(web: &WebFile, registry: &Registry) -> Option<Tls> {
    web.config().count(&reloads(registry));
    web.config().current().tls.as_ref()?;
    let ends_at = certificate_end(registry, "http");
    let config = Arc::clone(web.config());
    let source = move || {
        let config = config.current();
        let tls = config.tls.as_ref()?;
        ends_at.set(tls.ends_at_seconds.unwrap_or_default() as i64);
        Some(Arc::clone(&tls.config))
    };
    // Shown from the start, not from the first client on.
    source();
    Some(Tls {
        handshakes: Handshakes::new("http", Arc::new(source), registry),
        http2: http2(),
    })
}

async fn healthy(State(probe): State<Probe>) -> Response {
    answer(&probe.state().healthy)
}

async fn ready(State(probe): State<Probe>) -> Response {
    answer(&probe.state().ready)
}

/// The bodies are Thanos'; the reason is in the log and not here, where anybody may ask.
fn answer(verdict: &Verdict) -> Response {
    match verdict {
        Ok(()) => (StatusCode::OK, "OK").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "NOT OK").into_response(),
    }
}

async fn page(State(registry): State<Registry>, headers: HeaderMap) -> Response {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let openmetrics = wants_openmetrics(&accepted.collect::<Vec<_>>().join(","));
    let (content_type, text) = match openmetrics {
        true => (OPENMETRICS_CONTENT_TYPE, registry.openmetrics()),
        false => (CLASSIC_CONTENT_TYPE, registry.classic()),
    };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
