//! gRPC services on a loopback port.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};

/// Frames that a client of Sabre asks for; tonic's default is 16 KiB.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// A server that stops when this is dropped.
#[derive(Debug)]
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    /// A connection to it.
    pub channel: Channel,
    server: AbortHandle,
}

/// Serves `routes` on a free port: `serve(Routes::new(service))`.
pub async fn serve(routes: Routes) -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("bind a free port")?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .add_routes(routes)
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server).abort_handle();
    let channel = connect(address).await?;
    Ok(Served {
        address,
        channel,
        server,
    })
}

/// Connects to a server without TLS.
pub async fn connect(address: SocketAddr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.max_frame_size(MAX_FRAME_BYTES);
    endpoint
        .connect()
        .await
        .with_context(|| format!("connect to {address}"))
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}
