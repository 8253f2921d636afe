//! The StoreAPI server: `Series` as framed bytes, everything else as generated.
//!
//! Requests are weighed before they are decoded: an empty matcher is two bytes on the wire, which compress to next to
//! nothing, and more than a hundred in memory.

mod incoming;
#[cfg(test)]
mod tests;

use self::incoming::{message_of, uncompressed};

use crate::deadline::deadline_of;
use crate::raw_body::{FrameBody, FrameReceiver, compressed, deadline_exceeded, with_short_message};
use crate::thanos::SeriesRequest;
use crate::thanos::store_server::{SERVICE_NAME, Store, StoreServer};
use crate::weight::{LABEL_NAMES_REQUEST, LABEL_VALUES_REQUEST, SERIES_REQUEST, Shape};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use prost::Message as _;
use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::codegen::{Body, BoxFuture, Service, StdError};
use tonic::{Request, Response, Status};

/// Longest answer message: gRPC libraries count in an `i32`.
const MAX_ANSWER_BYTES: usize = i32::MAX as usize;

/// Longest request message unless [`StoreService::max_request_bytes`] says otherwise. Matchers with hundreds of
/// thousands of alternatives fit; a header that merely claims gigabytes does not make the server reserve them.
pub const DEFAULT_MAX_REQUEST_BYTES: usize = 16 << 20;

/// Most memory that a decoded request may take.
const MAX_WEIGHT_BYTES: usize = 64 << 20;

/// Requests that take less are not charged.
const LIGHT_BYTES: usize = 64 << 10;

const SERIES_PATH: &str = "/thanos.Store/Series";
const LABEL_NAMES_PATH: &str = "/thanos.Store/LabelNames";
const LABEL_VALUES_PATH: &str = "/thanos.Store/LabelValues";

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

    /// Charges a request that will take so many bytes once it is decoded. What is held goes with the request as an
    /// extension until the call is answered; `None` if there is no memory for it.
    fn admit(&self, bytes: u64) -> Option<Held> {
        let _ = bytes;
        Some(Held::default())
    }
}

/// Memory, or whatever else is given back on drop. As an extension of the answer to a call for labels it is held until that
/// has been sent.
#[derive(Clone, Default)]
pub struct Held(Option<Arc<dyn Any + Send + Sync>>);

/// Bytes of an answer, with what they hold until the network has taken them.
struct HeldPiece {
    piece: Bytes,
    _held: Held,
}

impl Held {
    /// Holds something.
    pub fn new(what: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(what)))
    }

    /// The bytes, which hold it too until the network has taken them.
    pub fn attach(&self, piece: Bytes) -> Bytes {
        let _held = self.clone();
        Bytes::from_owner(HeldPiece { piece, _held })
    }

    /// An answer to a call for labels that holds something, mostly memory, until it has been sent.
    pub fn until_sent<T>(answer: T, what: Option<impl Any + Send + Sync>) -> Response<T> {
        let mut response = Response::new(answer);
        if let Some(what) = what {
            response.extensions_mut().insert(Self::new(what));
        }
        response
    }
}

impl AsRef<[u8]> for HeldPiece {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.0.is_some()).finish()
    }
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
        let max_request_bytes = self.max_request_bytes;
        let inner = Arc::clone(&self.inner);
        let of_labels = match request.uri().path() {
            SERIES_PATH => None,
            LABEL_NAMES_PATH => Some(&LABEL_NAMES_REQUEST),
            LABEL_VALUES_PATH => Some(&LABEL_VALUES_REQUEST),
            _ => return self.generated.call(request),
        };
        if let Some(shape) = of_labels {
            // The service that is ready is the one that is called; this one always is.
            let generated = self.generated.clone();
            return Box::pin(async move {
                match answer_labels(&*inner, generated, request, (max_request_bytes, shape)).await {
                    Ok(response) => Ok(response),
                    Err(status) => Ok(with_short_message(status).into_http()),
                }
            });
        }
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
    let (head, message) = message_of(request, max_request_bytes).await?;
    let held = weighed(inner, &SERIES_REQUEST, &message)?;
    let message = SeriesRequest::decode(message)
        .map_err(|error| Status::internal(format!("the request does not decode: {error}")))?;
    let (metadata, mut extensions, ()) = Request::from_http(http::Request::from_parts(head, ())).into_parts();
    extensions.insert(held);
    inner
        .series_raw(Request::from_parts(metadata, extensions, message), deadline)
        .await
}

/// Charges a request for what it takes once it is decoded.
fn weighed(inner: &impl RawSeries, shape: &Shape, message: &[u8]) -> Result<Held, Status> {
    // What does not decode takes nothing.
    let bytes = shape.weigh(message).unwrap_or(0);
    if bytes > MAX_WEIGHT_BYTES {
        let most = MAX_WEIGHT_BYTES >> 20;
        return Err(Status::resource_exhausted(format!(
            "the request takes {} MiB of memory, more than the {most} MiB that one may take; ask with fewer matchers or \
             labels",
            bytes >> 20
        )));
    }
    if bytes <= LIGHT_BYTES {
        return Ok(Held::default());
    }
    inner.admit(bytes as u64).ok_or_else(|| {
        Status::resource_exhausted(format!(
            "no memory is free for a request of {bytes} bytes; try again, or raise --sabre.memory-budget"
        ))
    })
}

/// Has the generated server answer a call for labels; what the answer holds is given back once it has been sent.
async fn answer_labels<T, B>(
    inner: &T,
    mut generated: StoreServer<T>,
    request: http::Request<B>,
    (max_request_bytes, shape): (usize, &Shape),
) -> Result<http::Response<tonic::body::Body>, Status>
where
    T: RawSeries,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let (head, message) = message_of(request, max_request_bytes).await?;
    let _request = weighed(inner, shape, &message)?;
    let Ok(mut response) = generated.call(uncompressed(head, message)).await;
    let Some(held) = response.extensions_mut().remove::<Held>() else {
        return Ok(response);
    };
    Ok(response.map(|body| {
        tonic::body::Body::new(body.map_frame(move |frame| frame.map_data(|piece| held.attach(piece))))
    }))
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
