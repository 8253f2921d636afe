//! Requests of one message, as they come in.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::Full;
use tonic::Status;
use tonic::codec::{BufferSettings, CompressionEncoding, DecodeBuf, Decoder, Streaming};
use tonic::codegen::{Body, StdError};

const ACCEPTED_ENCODINGS: &str = "gzip,zstd,identity";

/// Flag and length before a message.
const MESSAGE_HEADER_BYTES: usize = 5;

/// Leaves messages as they are.
struct Undecoded(BufferSettings);

impl Decoder for Undecoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0
    }
}

/// The one message of a request, decompressed.
///
/// # Errors
/// There is none, or more than one, or it is longer than `max_bytes`, before or after decompression.
pub(super) async fn message_of<B>(
    request: http::Request<B>,
    max_bytes: usize,
) -> Result<(http::request::Parts, Bytes), Status>
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let encoding = request_encoding(request.headers())?;
    let (head, body) = request.into_parts();
    let decoder = Undecoded(BufferSettings::default());
    let mut messages = Streaming::new_request(decoder, body, encoding, Some(max_bytes));
    let message = messages
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("the request has no message"))?;
    if messages.message().await?.is_some() {
        return Err(Status::invalid_argument("the request has more than one message"));
    }
    Ok((head, message))
}

/// The request once more, with its message as it is.
pub(super) fn uncompressed(mut head: http::request::Parts, message: Bytes) -> http::Request<Full<Bytes>> {
    head.headers.remove("grpc-encoding");
    head.headers.remove(http::header::CONTENT_LENGTH);
    let mut body = BytesMut::with_capacity(MESSAGE_HEADER_BYTES + message.len());
    body.put_u8(0);
    // Messages are shorter than requests may be, far below 4 GiB.
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put(message);
    http::Request::from_parts(head, Full::new(body.freeze()))
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
