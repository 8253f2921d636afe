//! gRPC services on a loopback port.

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, BytesMut};
use http_body_util::{BodyExt, Full};
use prost::Message;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tower::ServiceExt;

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

/// Makes a call whose request is compressed by `snappy`, as Thanos' querier does when it is told to compress, and
/// returns the messages of the answer.
///
/// # Errors
/// What the server answers instead, and whatever breaks on the way.
pub async fn snappy_call<M: Message + Default>(
    channel: &Channel,
    path: &str,
    request: &impl Message,
) -> Result<Vec<M>, Status> {
    let broken = |error: &dyn std::error::Error| Status::internal(error.to_string());
    let mut packer = snap::write::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut packer, &request.encode_to_vec()).map_err(|error| broken(&error))?;
    let packed = packer.into_inner().map_err(|error| broken(&error))?;
    let mut body = BytesMut::new();
    body.put_u8(1);
    body.put_u32(u32::try_from(packed.len()).map_err(|error| broken(&error))?);
    body.put_slice(&packed);
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", "snappy")
        .header("grpc-accept-encoding", "snappy,gzip")
        .body(tonic::body::Body::new(Full::new(body.freeze())))
        .map_err(|error| broken(&error))?;
    let answer = channel
        .clone()
        .oneshot(request)
        .await
        .map_err(|error| broken(&error))?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers));
    match status {
        Some(status) if status.code() != tonic::Code::Ok => return Err(status),
        _ => {}
    }
    let mut rest = body.to_bytes();
    let mut messages = Vec::new();
    while rest.len() >= 5 {
        if rest.get_u8() != 0 {
            return Err(Status::internal(
                "a message of the answer is compressed, which was not looked for",
            ));
        }
        let length = rest.get_u32() as usize;
        if length > rest.len() {
            return Err(Status::internal("the answer ends within a message"));
        }
        messages.push(M::decode(rest.split_to(length)).map_err(|error| broken(&error))?);
    }
    Ok(messages)
}
