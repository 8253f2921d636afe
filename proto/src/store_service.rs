//! The StoreAPI server: `Series` as framed bytes, everything else as generated.

#[cfg(test)]
mod tests;

use crate::deadline::deadline_of;
use crate::raw_body::{FrameBody, FrameReceiver, compressed, deadline_exceeded, with_short_message};
use crate::thanos::SeriesRequest;
use crate::thanos::store_server::{SERVICE_NAME, Store, StoreServer};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;
use tonic::codec::{BufferSettings, CompressionEncoding, Streaming};
use tonic::codegen::{Body, BoxFuture, Service, StdError};
use tonic::{Request, Status};
use tonic_prost::ProstDecoder;

/// Longest answer message: gRPC libraries count in an `i32`.
const MAX_ANSWER_BYTES: usize = i32::MAX as usize;

/// Longest request message unless [`StoreService::max_request_bytes`] says otherwise. Matchers with hundreds of
/// thousands of alternatives fit; a header that merely claims gigabytes does not make the server reserve them.
pub const DEFAULT_MAX_REQUEST_BYTES: usize = 64 << 20;

const SERIES_PATH: &str = "/thanos.Store/Series";
const ACCEPTED_ENCODINGS: &str = "gzip,zstd,identity";

/// Answers `Series` without messages in between; the other calls are those of [`Store`].
#[tonic::async_trait]
pub trait RawSeries: Store {
    /// Starts an answer: frames as [`crate::flat::SeriesFrameBuilder`] writes them.
    ///
    /// Errors before the first byte may be returned, later ones go through the sender. When the caller goes away
    /// or `deadline` passes, the sender is cancelled.
    async fn series_raw(
        &self,
        request: Request<SeriesRequest>,
        deadline: Option<Instant>,
    ) -> Result<FrameReceiver, Status>;
}

/// Serves `thanos.Store` from `T`.
pub struct StoreService<T> {
    inner: Arc<T>,
    generated: StoreServer<T>,
    max_request_bytes: usize,
}

impl<T: RawSeries> StoreService<T> {
    /// Serves `inner`; takes requests as they are, gzip'ed or zstd'ed. Answers go out under zstd to callers that say they
    /// speak it, which Thanos' do not, and as they are to all others.
    pub fn new(inner: Arc<T>) -> Self {
        let generated = StoreServer::from_arc(Arc::clone(&inner))
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Zstd)
            .max_encoding_message_size(MAX_ANSWER_BYTES);
        Self {
            inner,
            generated,
            max_request_bytes: 0,
        }
        .max_request_bytes(DEFAULT_MAX_REQUEST_BYTES)
    }

    /// Refuses requests that are longer, before and after decompression.
    #[must_use]
    pub fn max_request_bytes(self, bytes: usize) -> Self {
        let generated = self.generated.max_decoding_message_size(bytes);
        Self {
            generated,
            max_request_bytes: bytes,
            ..self
        }
    }
}

impl<T> Clone for StoreService<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            generated: self.generated.clone(),
            max_request_bytes: self.max_request_bytes,
        }
    }
}

impl<T> fmt::Debug for StoreService<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreService")
            .field("max_request_bytes", &self.max_request_bytes)
            .finish_non_exhaustive()
    }
}

impl<T> tonic::server::NamedService for StoreService<T> {
    const NAME: &'static str = SERVICE_NAME;
}

impl<T, B> Service<http::Request<B>> for StoreService<T>
where
    T: RawSeries,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != SERIES_PATH {
            return self.generated.call(request);
        }
        let inner = Arc::clone(&self.inner);
        let max_request_bytes = self.max_request_bytes;
        Box::pin(async move {
            let deadline = deadline_of(request.headers());
            let with_zstd = speaks_zstd(request.headers());
            let answer = before(deadline, start(&*inner, request, max_request_bytes, deadline)).await;
            Ok(match answer {
                Ok(receiver) if with_zstd => {
                    let mut response = response(FrameBody::new(compressed(receiver), deadline));
                    let zstd = http::HeaderValue::from_static("zstd");
                    response.headers_mut().insert("grpc-encoding", zstd);
                    response
                }
                Ok(receiver) => response(FrameBody::new(receiver, deadline)),
                Err(status) => with_short_message(status).into_http(),
            })
        })
    }
}

/// Reads the request and lets the handler start its answer.
async fn start<T, B>(
    inner: &T,
    request: http::Request<B>,
    max_request_bytes: usize,
    deadline: Option<Instant>,
) -> Result<FrameReceiver, Status>
where
    T: RawSeries,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let encoding = request_encoding(request.headers())?;
    let (head, body) = request.into_parts();
    let decoder = ProstDecoder::<SeriesRequest>::new(BufferSettings::default());
    let mut messages = Streaming::new_request(decoder, body, encoding, Some(max_request_bytes));
    let message = messages
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("the request has no message"))?;
    if messages.message().await?.is_some() {
        return Err(Status::invalid_argument("the request has more than one message"));
    }
    let (metadata, extensions, ()) = Request::from_http(http::Request::from_parts(head, ())).into_parts();
    inner
        .series_raw(Request::from_parts(metadata, extensions, message), deadline)
        .await
}

/// Runs `future` until `deadline`.
async fn before<R>(
    deadline: Option<Instant>,
    future: impl Future<Output = Result<R, Status>>,
) -> Result<R, Status> {
    match deadline {
        None => future.await,
        Some(at) => tokio::time::timeout_at(at, future)
            .await
            .unwrap_or_else(|_| Err(deadline_exceeded())),
    }
}

fn request_encoding(headers: &http::HeaderMap) -> Result<Option<CompressionEncoding>, Status> {
    match headers.get("grpc-encoding").map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip") => Ok(Some(CompressionEncoding::Gzip)),
        Some(b"zstd") => Ok(Some(CompressionEncoding::Zstd)),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            let mut status = Status::unimplemented(format!("grpc-encoding {other:?} is not supported"));
            let accepted = tonic::metadata::MetadataValue::from_static(ACCEPTED_ENCODINGS);
            status.metadata_mut().insert("grpc-accept-encoding", accepted);
            Err(status)
        }
    }
}

/// Whether the caller can read answers under zstd.
fn speaks_zstd(headers: &http::HeaderMap) -> bool {
    let accepted = headers.get_all("grpc-accept-encoding").iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|encoding| encoding.trim() == "zstd")
}

fn response(body: FrameBody) -> http::Response<tonic::body::Body> {
    let mut response = http::Response::new(tonic::body::Body::new(body));
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
    response
}
