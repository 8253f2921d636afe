//! One export over the wire: a connection, a request, its answer. By gRPC or by HTTP, with TLS or without.

use std::{io::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;
use tonic::{Code, Status};

use super::{
    TraceError,
    config::{ClientType, OtlpConfig, TlsConfig},
};
use crate::{
    tls::{self, ClientFiles},
    with_causes,
};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH: &str = "/v1/traces";
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// A gRPC message has a flag and a length in front.
const GRPC_HEAD_BYTES: usize = 5;

/// Where exports go, and how.
pub(super) struct Post {
    client: ClientType,
    address: String,
    uri: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
    timeout: Duration,
    compresses: bool,
}

/// Why an export was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// It will not be taken later either.
    Final(String),
    /// It may be.
    Passing(String),
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Post {
    /// Reads the certificates.
    ///
    /// # Errors
    /// Files that cannot be read, a header or an endpoint that makes no sense.
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, TraceError> {
        let client = config.client()?;
        let endpoint = without_scheme(&config.endpoint);
        if endpoint.contains(['@', '/', '?', '#']) {
            // It is not shown: what stands before an @ may be a password.
            return Err(TraceError::Config(super::TraceConfigError::Value {
                key: "endpoint",
                problem: "it is host:port and nothing else; credentials go into headers, and a path into url_path",
            }));
        }
        let (address, host) = address(client, endpoint);
        let value = |key, problem| TraceError::Config(super::TraceConfigError::Value { key, problem });
        let tls = match config.insecure {
            true => None,
            false => Some(connector(client, &config.tls_config, &host)?),
        };
        let path = match client {
            ClientType::Grpc => EXPORT,
            ClientType::Http if config.url_path.is_empty() => HTTP_PATH,
            ClientType::Http => &config.url_path,
        };
        let uri = match client {
            // HTTP/2 has scheme and host in its address, HTTP/1.1 in a header.
            ClientType::Grpc if tls.is_some() => format!("https://{address}{path}"),
            ClientType::Grpc => format!("http://{address}{path}"),
            ClientType::Http => format!("/{}", path.trim_start_matches('/')),
        };
        if uri.parse::<http::Uri>().is_err() {
            return Err(value(
                "endpoint",
                "no address can be made of endpoint and url_path",
            ));
        }
        let mut headers = fixed_headers(client, config.compression == "gzip");
        for (name, text) in &config.headers.0 {
            let (Ok(name), Ok(mut text)) = (HeaderName::try_from(name), HeaderValue::try_from(text)) else {
                return Err(value("headers", "a name or a value cannot stand in a header"));
            };
            text.set_sensitive(true);
            headers.insert(name, text);
        }
        Ok(Self {
            client,
            address,
            uri,
            tls,
            headers,
            timeout: config
                .timeout
                .filter(|timeout| !timeout.is_zero())
                .unwrap_or(TIMEOUT),
            compresses: config.compression == "gzip",
        })
    }

    /// What is sent of an encoded export.
    pub(super) fn body(&self, message: Vec<u8>) -> Bytes {
        let message = match self.compresses {
            true => compressed(&message).unwrap_or(message),
            false => message,
        };
        if self.client == ClientType::Http {
            return message.into();
        }
        let mut framed = Vec::with_capacity(message.len().saturating_add(GRPC_HEAD_BYTES));
        framed.push(u8::from(self.compresses));
        framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend_from_slice(&message);
        framed.into()
    }

    /// Sends it, over a connection of its own: exports are seconds apart, and nothing is learned about one that was kept.
    pub(super) async fn send(&self, body: &Bytes) -> Result<(), Failure> {
        match tokio::time::timeout(self.timeout, self.exchange(body.clone())).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(self.passing(&format!("no answer within {:?}", self.timeout))),
        }
    }

    async fn exchange(&self, body: Bytes) -> Result<(), Failure> {
        let failed = |error: &dyn std::error::Error| self.passing(&with_causes(error));
        let wire = self.connect().await.map_err(|error| failed(&error))?;
        let mut request = Request::post(&self.uri)
            .body(Full::new(body))
            .map_err(|error| Failure::Final(error.to_string()))?;
        *request.headers_mut() = self.headers.clone();
        // The connection ends with this set.
        let mut driver = JoinSet::new();
        let answer = match self.client {
            ClientType::Grpc => {
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(wire))
                    .await
                    .map_err(|error| failed(&error))?;
                driver.spawn(async move { connection.await.ok() });
                sender.send_request(request).await
            }
            ClientType::Http => {
                if let Ok(host) = HeaderValue::try_from(&self.address) {
                    request.headers_mut().insert(http::header::HOST, host);
                }
                let (mut sender, connection) = http1::handshake(TokioIo::new(wire))
                    .await
                    .map_err(|error| failed(&error))?;
                driver.spawn(async move { connection.await.ok() });
                sender.send_request(request).await
            }
        };
        self.judge(answer.map_err(|error| failed(&error))?).await
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        })
    }

    async fn judge(&self, answer: Response<Incoming>) -> Result<(), Failure> {
        let code = answer.status();
        if code != StatusCode::OK && !(self.client == ClientType::Http && code.is_success()) {
            let problem = self.named(&format!("HTTP status {code}"));
            return Err(match code.as_u16() {
                429 | 502 | 503 | 504 => Failure::Passing(problem),
                _ => Failure::Final(problem),
            });
        }
        if self.client == ClientType::Http {
            return Ok(());
        }
        let (head, body) = answer.into_parts();
        let status = match Status::from_header_map(&head.headers) {
            Some(status) => status,
            None => {
                let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
                let body = body.map_err(|error| self.passing(&error.to_string()))?;
                let status = body.trailers().and_then(Status::from_header_map);
                status.ok_or_else(|| self.passing("an answer without a status"))?
            }
        };
        let problem = self.named(&format!(
            "{}: {}",
            super::super::grpc_server::code_name(status.code()),
            status.message()
        ));
        match status.code() {
            Code::Ok => Ok(()),
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Err(Failure::Passing(problem)),
            _ => Err(Failure::Final(problem)),
        }
    }

    fn passing(&self, problem: &str) -> Failure {
        Failure::Passing(self.named(problem))
    }

    fn named(&self, problem: &str) -> String {
        format!("{}: {problem}", self.address)
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Post")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn fixed_headers(client: ClientType, compresses: bool) -> HeaderMap {
    let grpc = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-encoding", "gzip"),
    ];
    let http = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ];
    let all: &[(&str, &'static str)] = match client {
        ClientType::Grpc => &grpc,
        ClientType::Http => &http,
    };
    let wanted = all
        .iter()
        .filter(|(name, _)| compresses || !name.ends_with("encoding"));
    wanted
        .filter_map(|(name, value)| {
            Some((HeaderName::try_from(*name).ok()?, HeaderValue::from_static(value)))
        })
        .collect()
}

/// A scheme is no part of an endpoint, and is taken off where somebody wrote one.
fn without_scheme(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.trim_end_matches('/')
}

/// `host:port`, and the host alone.
fn address(client: ClientType, endpoint: &str) -> (String, String) {
    let port = match client {
        ClientType::Grpc => 4317,
        ClientType::Http => 4318,
    };
    let host_of = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    match endpoint.rsplit_once(':') {
        Some((host, digits))
            if digits.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')) =>
        {
            let host = if host.is_empty() { "localhost" } else { host };
            (format!("{host}:{digits}"), host_of(host))
        }
        _ if endpoint.is_empty() => (format!("localhost:{port}"), "localhost".to_owned()),
        _ if endpoint.contains(':') && !endpoint.starts_with('[') => {
            (format!("[{endpoint}]:{port}"), endpoint.to_owned())
        }
        _ => (format!("{endpoint}:{port}"), host_of(endpoint)),
    }
}

fn connector(
    client: ClientType,
    config: &TlsConfig,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), TraceError> {
    let files = ClientFiles {
        ca_file: config.ca_file.clone(),
        cert_file: config.cert_file.clone(),
        key_file: config.key_file.clone(),
        insecure_skip_verify: config.insecure_skip_verify,
        min_version: String::new(),
    };
    let mut rustls = tls::client_config(&files).map_err(|error| TraceError::Tls(error.to_string()))?;
    rustls.alpn_protocols = match client {
        ClientType::Grpc => vec![b"h2".to_vec()],
        ClientType::Http => vec![b"http/1.1".to_vec()],
    };
    let name = match config.server_name.is_empty() {
        true => host,
        false => &config.server_name,
    };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| TraceError::Tls(format!("{name} is no name of a server")))?;
    Ok((TlsConnector::from(Arc::new(rustls)), name))
}

fn compressed(message: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(message).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_get_their_port_and_lose_their_scheme() {
        for (endpoint, expected, host) in [
            ("", "localhost:4317", "localhost"),
            ("collector", "collector:4317", "collector"),
            ("collector:55", "collector:55", "collector"),
            ("http://collector:55/", "collector:55", "collector"),
            (":55", "localhost:55", "localhost"),
            ("[::1]:55", "[::1]:55", "::1"),
            ("[::1]", "[::1]:4317", "::1"),
            ("::1", "[::1]:4317", "::1"),
        ] {
            assert_eq!(
                address(ClientType::Grpc, without_scheme(endpoint)),
                (expected.to_owned(), host.to_owned())
            );
        }
        assert_eq!(address(ClientType::Http, "c").0, "c:4318");
    }

    #[test]
    fn an_endpoint_with_credentials_or_a_path_is_refused_and_not_shown() {
        for endpoint in [
            "http://me:secret@collector:4318",
            "secret@collector:4317",
            "collector:4318/secret",
        ] {
            let config = OtlpConfig {
                client_type: "http".to_owned(),
                insecure: true,
                endpoint: endpoint.to_owned(),
                ..OtlpConfig::default()
            };
            let error = Post::new(&config).err().unwrap().to_string();
            assert!(
                error.contains("endpoint") && error.contains("url_path"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
