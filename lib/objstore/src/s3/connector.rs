//! The HTTP client below the SDK: our own, because the SDK's can neither skip the verification of certificates nor
//! present one, nor bound the time to the head of an answer.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector as SdkConnector, HttpConnectorFuture, HttpConnectorSettings,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use futures::future::BoxFuture;
use http::{HeaderValue, Uri, header::USER_AGENT};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

use super::settings::{Problem, S3Settings};
use crate::Deadlines;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connection = TokioIo<TcpStream>;

/// How much of an answer a connection reads at once, and the longest head of one. Each connection of the pool keeps such
/// a buffer and fills it again and again, because whoever reads bodies copies pieces out at once.
///
/// Left to itself the HTTP library makes buffers of up to 400 KiB, grows them by copying, and gives each connection one.
pub(super) const READ_BUFFER_BYTES: usize = 64 << 10;

/// How long a connection may take, before TLS.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client with a pool of connections. Clones share it.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client<WithTimeout<HttpsConnector<Dialer>>, SdkBody>,
    /// From the last byte sent to the head of the answer; zero is no limit.
    response_header_timeout: Duration,
    user_agent: HeaderValue,
    traces: bool,
}

/// Opens connections, through the proxy that the environment names.
#[derive(Clone)]
struct Dialer {
    direct: HttpConnector,
    proxies: Arc<Matcher>,
}

/// Bounds the time in which a connection, TLS and all, must stand.
#[derive(Clone)]
struct WithTimeout<C> {
    inner: C,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(settings: &S3Settings, component: &str) -> Result<Self, Problem> {
        let http = &settings.http_config;
        let mut direct = HttpConnector::new();
        direct.set_nodelay(true);
        direct.set_keepalive(Some(Duration::from_secs(30)));
        direct.set_connect_timeout(Some(DIAL_TIMEOUT));
        direct.enforce_http(false);
        let dialer = Dialer {
            direct,
            proxies: Arc::new(Matcher::from_env()),
        };

        let builder = HttpsConnectorBuilder::new().with_tls_config(super::tls::client_config(settings)?);
        let mut builder = builder.https_or_http();
        let server_name = &http.tls_config.server_name;
        if !server_name.is_empty() {
            let name = ServerName::try_from(server_name.clone())
                .map_err(|e| ("tls_config.server_name", format!("no name of a server: {e}")))?;
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let limit = DIAL_TIMEOUT.saturating_add(http.tls_handshake_timeout);
        let connector = WithTimeout {
            inner: builder.enable_http1().wrap_connector(dialer),
            limit,
        };

        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http1_read_buf_exact_size(READ_BUFFER_BYTES)
            .pool_idle_timeout(Some(http.idle_conn_timeout).filter(|timeout| !timeout.is_zero()))
            .pool_max_idle_per_host(match http.max_idle_conns_per_host {
                // What Go takes 0 for.
                0 => 2,
                given => given,
            })
            .build(connector);
        let user_agent =
            HeaderValue::from_str(&format!("sabre/{} thanos-{component}", env!("CARGO_PKG_VERSION")))
                .unwrap_or(HeaderValue::from_static("sabre"));
        let response_header_timeout = http.response_header_timeout;
        Ok(Self {
            client,
            response_header_timeout,
            user_agent,
            traces: settings.trace.enable,
        })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut request = request
            .try_into_http1x()
            .map_err(|e| ConnectorError::user(e.into()))?;
        // The signature leaves this header out, so it may be changed after it.
        let agent = match request
            .headers()
            .get(USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
        {
            Some(sdk) => {
                HeaderValue::from_str(&format!("{} {sdk}", self.user_agent.to_str().unwrap_or("sabre")))
            }
            None => Ok(self.user_agent.clone()),
        };
        if let Ok(agent) = agent {
            request.headers_mut().insert(USER_AGENT, agent);
        }
        let what = self
            .traces
            .then(|| format!("{} {}", request.method(), request.uri()));
        let begun = tokio::time::Instant::now();
        let result = self.exchange(request).await;
        if let Some(what) = what {
            let ms = begun.elapsed().as_millis();
            match &result {
                Ok(response) => tracing::debug!(what, status = response.status().as_u16(), ms, "s3 request"),
                Err(error) => tracing::debug!(what, %error, ms, "s3 request failed"),
            }
        }
        let response = result?.map(SdkBody::from_body_1_x);
        HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
    }

    async fn exchange(
        &self,
        request: http::Request<SdkBody>,
    ) -> Result<http::Response<hyper::body::Incoming>, ConnectorError> {
        let body_bytes = request.body().content_length().unwrap_or(0);
        let exchange = self.client.request(request);
        if self.response_header_timeout.is_zero() {
            return exchange.await.map_err(connector_error);
        }
        let deadlines = Deadlines {
            fixed: self.response_header_timeout,
            ..Deadlines::default()
        };
        let limit = deadlines.for_bytes(body_bytes);
        match timeout(limit, exchange).await {
            Ok(result) => result.map_err(connector_error),
            Err(_) => Err(ConnectorError::timeout(
                format!("no answer within {limit:?}").into(),
            )),
        }
    }
}

/// What a failure means for a retry: a certificate that does not fit will not fit the next time either.
fn connector_error(error: hyper_util::client::legacy::Error) -> ConnectorError {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(at) = cause {
        if at.is::<rustls::Error>()
            || at
                .downcast_ref()
                .and_then(std::io::Error::get_ref)
                .is_some_and(is_tls)
        {
            return ConnectorError::user(error.into());
        }
        if at.is::<TookTooLong>() {
            return ConnectorError::timeout(error.into());
        }
        cause = at.source();
    }
    ConnectorError::io(error.into())
}

fn is_tls(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<rustls::Error>()
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl SdkConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move { connector.send(request).await })
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl Service<Uri> for Dialer {
    type Response = Connection;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Connection, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let mut direct = self.direct.clone();
        // As in Go, what is on this machine is never reached through a proxy. Without TLS a proxy would want to see
        // the request itself, which is not offered.
        let is_eligible = target.scheme_str() == Some("https") && !target.host().is_some_and(is_loopback);
        let proxy = if is_eligible {
            self.proxies.intercept(&target)
        } else {
            None
        };
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return direct.call(target).await.map_err(Into::into);
            };
            let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            tunnel.call(target).await.map_err(Into::into)
        })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A connection did not stand in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
struct TookTooLong(Duration);

impl<C> Service<Uri> for WithTimeout<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
    C::Response: Send,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<C::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let (limit, connecting) = (self.limit, self.inner.call(target));
        Box::pin(async move {
            match timeout(limit, connecting).await {
                Ok(result) => result,
                Err(_) => Err(TookTooLong(limit).into()),
            }
        })
    }
}
