//! Connections to endpoints.

use std::{io, time::Duration};

use hyper_util::rt::TokioIo;
use sabre_runtime::{
    grpc_server::MAX_FRAME_BYTES,
    tls::{self, ClientFiles},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tonic::transport::{Channel, Endpoint};

use crate::fanout::STREAM_WINDOW_BYTES;

/// Calls that nobody reads keep their windows; the others must still get theirs.
const CONNECTION_WINDOW_BYTES: u32 = 256 << 20;

/// Thanos closes connections that are probed more often than every 10 s, and so do others at 5 minutes, but they
/// forgive two probes between frames.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEADERS_BYTES: u32 = 64 << 10;

/// How an endpoint is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientOptions {
    /// With TLS: what is trusted and shown. Files are read for every connection, so that new ones count.
    pub tls: Option<ClientFiles>,
    /// The name that the certificate must have; that of the address if empty.
    pub server_name: String,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Makes a connection to `address` (`host:port`), which is set up once it is needed. `name` is what the server is
/// called if not by that host.
///
/// # Errors
/// The address is none.
pub(crate) fn dial(address: &str, name: Option<&str>, client: &ClientOptions) -> Result<Channel, String> {
    let scheme = if client.tls.is_some() { "https" } else { "http" };
    let authority = name.unwrap_or(address);
    let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}"));
    let endpoint = endpoint.map_err(|error| format!("{address} is no address of a server: {error}"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .max_frame_size(MAX_FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(MAX_HEADERS_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(false);
    let (address, client) = (address.to_owned(), client.clone());
    let host = endpoint
        .uri()
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let connector = tower::service_fn(move |_: http::Uri| {
        let (address, host, client) = (address.clone(), host.clone(), client.clone());
        async move { connect(&address, &host, client).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

async fn connect(address: &str, host: &str, client: ClientOptions) -> io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {address}: {error}")))?;
    stream.set_nodelay(true)?;
    let Some(files) = client.tls else {
        return Ok(Box::new(stream));
    };
    let config = sabre_runtime::blocking(move || tls::client_config(&files)).await;
    let mut config = config.map_err(io::Error::other)?.map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = match client.server_name.as_str() {
        "" => host.to_owned(),
        name => name.to_owned(),
    };
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("no TLS with {address}: {error}")))?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `MinTime` of Thanos' servers.
    const THANOS_ALLOWS: Duration = Duration::from_secs(10);

    /// What servers in Go allow that say nothing else. They forgive two probes before their next frame.
    const GO_ALLOWS: Duration = Duration::from_secs(5 * 60);

    #[test]
    fn peers_are_probed_no_more_often_than_they_allow() {
        assert!(KEEPALIVE_INTERVAL >= THANOS_ALLOWS);
        assert!(
            KEEPALIVE_INTERVAL < GO_ALLOWS,
            "what is gone is noticed before that"
        );
        assert!(KEEPALIVE_TIMEOUT < KEEPALIVE_INTERVAL);
    }

    #[tokio::test]
    async fn only_addresses_are_dialled() {
        let options = ClientOptions::default();
        assert!(dial("a:1", None, &options).is_ok());
        let error = dial("no address", None, &options).unwrap_err();
        assert!(
            error.starts_with("no address is no address of a server: "),
            "{error}"
        );
    }
}
