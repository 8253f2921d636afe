//! Requests compressed with Thanos' gRPC compressor `snappy` (the framed format), which tonic does not know.
//!
//! A wrapper around a service: it turns such requests into uncompressed ones and leaves all others alone. Every call
//! of Thanos has one request message, so the request is read whole.

#[cfg(test)]
mod tests;

use crate::raw_body::with_short_message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, Full, Limited};
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;

const ENCODING: &str = "grpc-encoding";
const MESSAGE_HEADER_BYTES: usize = 5;
const STORED: u8 = 0;
const COMPRESSED: u8 = 1;

/// Decompresses requests whose `grpc-encoding` is `snappy`.
#[derive(Debug, Clone)]
pub struct SnappyRequests<S> {
    inner: S,
    max_request_bytes: usize,
}

impl<S> SnappyRequests<S> {
    /// Wraps a service; requests longer than `max_request_bytes`, compressed or not, are refused.
    pub fn new(inner: S, max_request_bytes: usize) -> Self {
        Self {
            inner,
            max_request_bytes,
        }
    }
}

impl<S: NamedService> NamedService for SnappyRequests<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, R> Service<http::Request<Body>> for SnappyRequests<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Default,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request
            .headers()
            .get(ENCODING)
            .is_none_or(|encoding| encoding.as_bytes() != b"snappy")
        {
            return Box::pin(self.inner.call(request));
        }
        // The service that was polled ready is the one to call.
        let ready = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, ready);
        let max_request_bytes = self.max_request_bytes;
        Box::pin(async move {
            match decompressed(request, max_request_bytes).await {
                Ok(request) => ready.call(request).await,
                Err(status) => Ok(with_short_message(status).into_http()),
            }
        })
    }
}

/// Reads the request and returns it without compression.
async fn decompressed(request: http::Request<Body>, max_bytes: usize) -> Result<http::Request<Body>, Status> {
    let (mut head, body) = request.into_parts();
    let body = Limited::new(body, max_bytes.saturating_add(MESSAGE_HEADER_BYTES))
        .collect()
        .await
        .map_err(|error| Status::invalid_argument(format!("reading the request: {error}")))?;
    let plain = decompress_messages(body.to_bytes(), max_bytes)?;
    head.headers.remove(ENCODING);
    head.headers.remove(CONTENT_LENGTH);
    Ok(http::Request::from_parts(head, Body::new(Full::new(plain))))
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
