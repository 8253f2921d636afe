//! [`HttpTransport`]: one request over HTTP.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Url,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    },
    redirect,
};
use sabre_runtime::with_causes;
use tokio::time::{Instant, timeout_at};

use super::{
    AccessError, AccessSettings,
    authentication::Authentication,
    credentials::Signer,
    endpoint::Endpoint,
    secret::SecretSource,
    signature::{self, Scope, Signable},
    tls,
};
use crate::cluster::transport::{Method, Request, Response, Transport, TransportError};

const JSON: &str = "application/json";

/// A [`Transport`] over HTTP/1.1, through the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name.
///
/// Redirects are not followed: credentials go to the endpoint and nowhere else.
#[derive(Debug)]
pub struct HttpTransport {
    endpoint: Endpoint,
    authentication: Authentication,
    client: Client,
}

impl HttpTransport {
    /// Reads the files that the settings name, and touches no network. The region is that of the cluster; it may be empty if
    /// nothing is signed.
    ///
    /// # Errors
    /// A setting that cannot be used; it is named.
    pub fn new(endpoint: &str, region: &str, settings: &AccessSettings) -> Result<Self, AccessError> {
        let endpoint = Endpoint::parse(endpoint)?;
        let authentication = Authentication::choose(&endpoint, region, settings)?;
        let builder = Client::builder()
            .user_agent(concat!("sabre-es-retention/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(Duration::from_secs(settings.connect_timeout_seconds.max(1)))
            .pool_max_idle_per_host(4);
        let client = tls::apply(builder, &endpoint, &settings.tls)?
            .build()
            .map_err(|error| AccessError::new("access.tls", causes(error)))?;
        Ok(Self {
            endpoint,
            authentication,
            client,
        })
    }

    /// Builds the request as it is sent: every header but those of the connection.
    async fn build(
        &self,
        request: &Request,
        since_epoch: Duration,
    ) -> Result<reqwest::Request, TransportError> {
        let url = self
            .endpoint
            .url(&request.path, &request.query)
            .map_err(TransportError::Unsendable)?;
        let mut headers = HeaderMap::new();
        if request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        } else if matches!(request.method, Method::Put | Method::Post) {
            // Left out otherwise, and some proxies answer 411 then.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        match &self.authentication {
            Authentication::None | Authentication::Basic { .. } => {}
            Authentication::ApiKey(key) => {
                headers.insert(AUTHORIZATION, authorization("ApiKey", key)?);
            }
            Authentication::Bearer(token) => {
                headers.insert(AUTHORIZATION, authorization("Bearer", token)?);
            }
            Authentication::Aws { signer, scope } => {
                sign(&mut headers, (signer, scope), request, &url, since_epoch).await?;
            }
        }
        let mut builder = self.client.request(method(request.method), url).headers(headers);
        if let Authentication::Basic { username, password } = &self.authentication {
            let password = password.read().map_err(TransportError::Credentials)?;
            builder = builder.basic_auth(username, Some(password.reveal()));
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder
            .build()
            .map_err(|error| TransportError::Unsendable(causes(error)))
    }

    /// Says of a connection that was not made where to it was to go.
    fn at_endpoint(&self, error: TransportError) -> TransportError {
        match error {
            TransportError::Connect(why) => TransportError::Connect(format!("{}: {why}", self.endpoint)),
            other => other,
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response, TransportError> {
        let built = self.build(request, sabre_runtime::clock::since_epoch()).await?;
        let answer = self
            .client
            .execute(built)
            .await
            .map_err(|error| self.at_endpoint(classify(error, request.timeout)))?;
        let status = answer.status().as_u16();
        let retry_after = retry_after(answer.headers());
        if let (Authentication::Aws { signer, .. }, 401 | 403) = (&self.authentication, status) {
            signer.forget().await;
        }
        Ok(Response {
            status,
            body: read_body(answer, request).await?,
            retry_after,
        })
    }
}

#[async_trait::async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let deadline = Instant::now() + request.timeout;
        match timeout_at(deadline, self.exchange(&request)).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout(request.timeout)),
        }
    }
}

async fn sign(
    headers: &mut HeaderMap,
    (signer, scope): (&Signer, &Scope),
    request: &Request,
    url: &Url,
    since_epoch: Duration,
) -> Result<(), TransportError> {
    let credentials = signer
        .credentials(since_epoch)
        .await
        .map_err(TransportError::Credentials)?;
    let host = host(url);
    let mut plain = vec![("host", host.as_str())];
    if request.body.is_some() {
        plain.push(("content-type", JSON));
    }
    let signable = Signable {
        method: request.method.as_str(),
        url: url.as_str(),
        headers: &plain,
        body: request.body.as_deref().unwrap_or_default(),
    };
    let unsendable = TransportError::Unsendable;
    for header in signature::headers(signable, scope, &credentials, since_epoch).map_err(unsendable)? {
        let value = sensitive(&header.value)?;
        headers.insert(HeaderName::from_static(header.name), value);
    }
    let value = HeaderValue::from_str(&host).map_err(|error| unsendable(error.to_string()))?;
    headers.insert(HOST, value);
    Ok(())
}

/// The `Host` header of an address: the port only where it is not the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn authorization(scheme: &str, source: &SecretSource) -> Result<HeaderValue, TransportError> {
    let secret = source.read().map_err(TransportError::Credentials)?;
    sensitive(&format!("{scheme} {}", secret.reveal()))
}

fn sensitive(value: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        TransportError::Credentials("a secret holds characters that no header can carry".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read_body(mut answer: reqwest::Response, request: &Request) -> Result<Bytes, TransportError> {
    let limit_bytes = request.max_response_bytes;
    let mut body = BytesMut::new();
    // Pieces are counted as they come out of decompression.
    while let Some(piece) = answer
        .chunk()
        .await
        .map_err(|error| classify(error, request.timeout))?
    {
        if piece.len() > limit_bytes.saturating_sub(body.len()) {
            return Err(TransportError::TooLarge { limit_bytes });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
        Method::Put => reqwest::Method::PUT,
        Method::Post => reqwest::Method::POST,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn classify(error: reqwest::Error, limit: Duration) -> TransportError {
    if error.is_connect() {
        return TransportError::Connect(with_hint(causes(error)));
    }
    if error.is_timeout() {
        return TransportError::Timeout(limit);
    }
    if error.is_builder() {
        return TransportError::Unsendable(causes(error));
    }
    TransportError::Cut(causes(error))
}

fn with_hint(text: String) -> String {
    if text.contains("UnknownIssuer") {
        return format!("{text} (set access.tls.ca_file to the authority of the cluster)");
    }
    text
}

/// The error with its causes, and without the address.
fn causes(error: reqwest::Error) -> String {
    with_causes(&error.without_url())
}
