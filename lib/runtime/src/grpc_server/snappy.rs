//! Requests compressed with Thanos' gRPC compressor `snappy` (the framed format), which tonic does not know.
//!
//! A querier that is told to compress does so for every call of every service. So this stands before all of them: it
//! turns such requests into uncompressed ones and leaves all others alone. Every call of Thanos has one request
//! message, so the request is read whole.

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::Future,
    io::Read,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, Full, Limited};
use tonic::Status;
use tower_service::Service;

/// The longest request, compressed or not. Matchers with hundreds of thousands of alternatives fit.
const MAX_REQUEST_BYTES: usize = 16 << 20;

const ENCODING: &str = "grpc-encoding";
const MESSAGE_HEADER_BYTES: usize = 5;
const STORED: u8 = 0;
const COMPRESSED: u8 = 1;

/// Wraps services in [`SnappyRequests`].
#[derive(Debug, Clone, Copy)]
pub(super) struct SnappyLayer;

/// A service whose requests may be compressed with `snappy`.
#[derive(Debug, Clone)]
pub(super) struct SnappyRequests<S> {
    inner: S,
}

impl<S> tower::Layer<S> for SnappyLayer {
    type Service = SnappyRequests<S>;

    fn layer(&self, inner: S) -> SnappyRequests<S> {
        SnappyRequests { inner }
    }
}

impl<S> Service<Request> for SnappyRequests<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let encoding = request.headers().get(ENCODING);
        if encoding.is_none_or(|encoding| encoding.as_bytes() != b"snappy") {
            return Box::pin(self.inner.call(request));
        }
        // The service that said it is ready must be the one that is called.
        let spare = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, spare);
        Box::pin(async move {
            match decompressed(request).await {
                Ok(request) => ready.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// Reads the request and returns it without compression.
async fn decompressed(request: Request) -> Result<Request, Status> {
    let (mut head, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST_BYTES + MESSAGE_HEADER_BYTES)
        .collect()
        .await
        .map_err(|error| Status::invalid_argument(format!("reading the request: {error}")))?;
    let plain = decompress_messages(body.to_bytes(), MAX_REQUEST_BYTES)?;
    head.headers.remove(ENCODING);
    head.headers.remove(CONTENT_LENGTH);
    Ok(Request::from_parts(head, Body::new(Full::new(plain))))
}

/// Turns a sequence of gRPC messages into the same without compression, `max_bytes` of it at most.
pub(crate) fn decompress_messages(mut body: Bytes, max_bytes: usize) -> Result<Bytes, Status> {
    let mut plain = BytesMut::new();
    while !body.is_empty() {
        if body.len() < MESSAGE_HEADER_BYTES {
            return Err(Status::invalid_argument(
                "the request ends within a message header",
            ));
        }
        let flag = body.get_u8();
        let len = body.get_u32() as usize;
        if body.len() < len {
            return Err(Status::invalid_argument("the request ends within a message"));
        }
        let message = body.split_to(len);
        let left = max_bytes.saturating_sub(plain.len());
        match flag {
            STORED => put_message(&mut plain, &message, left)?,
            COMPRESSED => put_message(&mut plain, &decompress(&message, left)?, left)?,
            other => {
                return Err(Status::invalid_argument(format!(
                    "message flag {other} is neither 0 nor 1"
                )));
            }
        }
    }
    Ok(plain.freeze())
}

/// Decompresses one byte more than `max_bytes` at most.
fn decompress(message: &[u8], max_bytes: usize) -> Result<Vec<u8>, Status> {
    let mut plain = Vec::new();
    snap::read::FrameDecoder::new(message)
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| Status::invalid_argument(format!("request message is not snappy: {error}")))?;
    Ok(plain)
}

fn put_message(out: &mut BytesMut, message: &[u8], max_bytes: usize) -> Result<(), Status> {
    let too_long = || Status::resource_exhausted("the request is longer than this server takes");
    if message.len() > max_bytes {
        return Err(too_long());
    }
    out.put_u8(STORED);
    out.put_u32(u32::try_from(message.len()).map_err(|_| too_long())?);
    out.put_slice(message);
    Ok(())
}
