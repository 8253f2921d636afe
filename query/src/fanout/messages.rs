//! The messages of a streamed answer, cut from its frames.
//!
//! What the connection reads ahead is bounded by its window. Of a message that does not fit into one frame as many
//! bytes are reserved as it claims to have before any is kept; the others are slices of their frame.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use prost::Message;
use sabre_runtime::budget::Reservation;
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::ServiceExt as _;

use super::{
    client_metrics::CallMetrics,
    request::PATIENCE,
    unpack::{self, Unpacker},
};

/// A flag and a length.
const HEAD_BYTES: usize = 5;

/// Most bytes that are set aside at once for a message whose bytes did not come yet.
const FIRST_BYTES: usize = 1 << 20;

/// Most servers of a group that are tried for one call.
const MAX_TRIES: usize = 4;

/// What a connection reads at once; frames may be slices of it.
const READ_BYTES: usize = 16 << 10;

/// The answer to a call, as it comes.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Body,
    /// What is left of the last frame.
    frame: Bytes,
    /// What the last frame takes as long as a slice of it is held.
    frame_bytes: usize,
    /// What the last message takes as long as a slice of it is held.
    backing_bytes: usize,
    /// What was reserved for messages; grows to the longest.
    reserved: Reservation,
    /// The part of it that other things are charged to.
    base_bytes: u64,
    ended: bool,
    max_message_bytes: usize,
    /// For messages under zstd, if they were asked for and the peer says that it sends some.
    unpacker: Option<Unpacker>,
    metrics: CallMetrics,
}

/// What a call needs besides its message.
#[derive(Debug)]
pub(crate) struct Call<'c> {
    /// To the servers that may answer, in the order in which they are tried.
    pub(crate) channels: Vec<Channel>,
    pub(crate) path: &'static str,
    pub(crate) metadata: &'c [(String, String)],
    /// For what the connection reads ahead.
    pub(crate) reserved: Reservation,
    /// Longer messages end the call.
    pub(crate) max_message_bytes: usize,
    pub(crate) metrics: CallMetrics,
}

/// Starts a call.
///
/// # Errors
/// What the peer, or the connection to it, says instead of an answer.
pub(crate) async fn start(call: Call<'_>, request: &impl Message) -> Result<Messages, Status> {
    let Call {
        channels,
        path,
        metadata,
        reserved,
        max_message_bytes,
        mut metrics,
    } = call;
    let message = request.encode_to_vec();
    let mut outcome = Err(Status::unavailable("there is no server"));
    // A connection that was closed while nobody looked is not the peer's failure: it is asked once more, or another
    // server of its group.
    for channel in channels.iter().cycle().take(channels.len().clamp(2, MAX_TRIES)) {
        outcome = head(channel.clone(), path, &message, metadata, metrics.trace_headers()).await;
        if !matches!(&outcome, Err(status) if status.code() == Code::Unavailable) {
            break;
        }
    }
    let opened =
        outcome.and_then(|answer| Ok((answer.body, answer.ended, unpacker(metadata, answer.packed)?)));
    let (body, ended, unpacker) = match opened {
        Ok(opened) => opened,
        Err(status) => {
            metrics.end(status.code());
            return Err(status);
        }
    };
    if ended {
        metrics.end(Code::Ok);
    }
    Ok(Messages {
        body,
        frame: Bytes::new(),
        frame_bytes: 0,
        backing_bytes: 0,
        base_bytes: reserved.bytes(),
        reserved,
        ended,
        max_message_bytes,
        unpacker,
        metrics,
    })
}

/// The head of an answer.
struct Answer {
    body: Body,
    /// There is nothing in it.
    ended: bool,
    /// Messages may be under zstd.
    packed: bool,
}

/// What unpacks messages, if it was said that they may be packed.
fn unpacker(metadata: &[(String, String)], packed: bool) -> Result<Option<Unpacker>, Status> {
    let (name, value) = unpack::ACCEPTED;
    let was_asked_for = metadata.iter().any(|(asked, how)| asked == name && how == value);
    (packed && was_asked_for).then(Unpacker::new).transpose()
}

async fn head(
    channel: Channel,
    path: &'static str,
    message: &[u8],
    metadata: &[(String, String)],
    trace: http::HeaderMap,
) -> Result<Answer, Status> {
    let mut request = http_request(path, message, metadata)?;
    request.headers_mut().extend(trace);
    let answer = channel
        .oneshot(request)
        .await
        .map_err(|error| connection_status(&error))?;
    let (head, body) = answer.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(Status::unavailable(format!("HTTP status {}", head.status)));
    }
    // An answer without messages may have its status in front.
    let status = Status::from_header_map(&head.headers);
    let ended = status.is_some();
    if let Some(status) = status {
        failed(status)?;
    }
    let encoding = head.headers.get(unpack::ENCODING);
    let packed = encoding.is_some_and(|encoding| encoding == unpack::ACCEPTED.1);
    Ok(Answer { body, ended, packed })
}

fn http_request(
    path: &'static str,
    message: &[u8],
    metadata: &[(String, String)],
) -> Result<http::Request<Body>, Status> {
    let mut framed = Vec::with_capacity(message.len() + HEAD_BYTES);
    let len =
        u32::try_from(message.len()).map_err(|_| Status::invalid_argument("the request is too long"))?;
    framed.push(0);
    framed.extend_from_slice(&len.to_be_bytes());
    framed.extend_from_slice(message);
    let mut builder = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in metadata {
        builder = builder.header(name, value);
    }
    builder
        .body(Body::new(http_body_util::Full::new(Bytes::from(framed))))
        .map_err(|error| Status::invalid_argument(format!("metadata: {error}")))
}

impl Messages {
    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// What the peer says, a broken connection, garbage, or a message for which no bytes are free.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let next = self.cut().await;
        match &next {
            Ok(Some(_)) => self.metrics.message(),
            Ok(None) => self.metrics.end(Code::Ok),
            Err(status) => self.metrics.end(status.code()),
        }
        next
    }

    /// What stays in memory as long as a slice of the last message is held: it, or all of the frame it came in.
    pub(crate) fn backing_bytes(&self) -> usize {
        self.backing_bytes
    }

    async fn cut(&mut self) -> Result<Option<Bytes>, Status> {
        while self.frame.is_empty() {
            if !self.read().await? {
                return Ok(None);
            }
        }
        let head = self.head().await?;
        let (is_packed, len) = message_len(head, self.max_message_bytes)?;
        if is_packed && self.unpacker.is_none() {
            return Err(Status::internal(
                "the answer is compressed, which was not asked for",
            ));
        }
        let message = self.message(len).await?;
        match is_packed {
            true => self.unpack(message).await.map(Some),
            false => Ok(Some(message)),
        }
    }

    /// The message behind a head, as it came.
    async fn message(&mut self, len: usize) -> Result<Bytes, Status> {
        if len <= self.frame.len() {
            self.backing_bytes = self.frame_bytes;
            return Ok(self.frame.split_to(len));
        }
        self.backing_bytes = len;
        self.reserve(len).await?;
        let mut message = BytesMut::with_capacity(len.min(FIRST_BYTES));
        while message.len() < len {
            let wanted = len.saturating_sub(message.len()).min(self.frame.len());
            message.extend_from_slice(&self.frame.split_to(wanted));
            if message.len() < len && self.frame.is_empty() && !self.read().await? {
                return Err(torn());
            }
        }
        Ok(message.freeze())
    }

    /// A message as it was before it was packed. As many bytes are reserved as it turns out to have.
    async fn unpack(&mut self, packed: Bytes) -> Result<Bytes, Status> {
        let Some(mut unpacker) = self.unpacker.take() else {
            return Err(Status::internal("nothing unpacks the message"));
        };
        let mut unpacking = unpacker.begin(packed)?;
        let message = loop {
            let room = unpacking.next_room(self.max_message_bytes)?;
            self.reserve(unpacking.memory_bytes(room)).await?;
            unpacking.grow(room);
            if let Some(message) = unpacker.go_on(&mut unpacking)? {
                self.backing_bytes = room;
                break message;
            }
        };
        self.unpacker = Some(unpacker);
        Ok(message)
    }

    /// Reserves bytes for what is made of a message, or for one; they are held until the call ends.
    ///
    /// # Errors
    /// They are not free.
    pub(crate) async fn reserve(&mut self, bytes: usize) -> Result<(), Status> {
        let wanted = self.base_bytes.saturating_add(bytes as u64);
        let more = wanted.saturating_sub(self.reserved.bytes());
        let grown = self.reserved.grow_within(more, PATIENCE).await;
        grown.map_err(|error| Status::resource_exhausted(error.to_string()))
    }

    async fn head(&mut self) -> Result<[u8; HEAD_BYTES], Status> {
        let mut head = [0; HEAD_BYTES];
        let mut got = 0;
        while let Some(rest) = head.get_mut(got..).filter(|rest| !rest.is_empty()) {
            if self.frame.is_empty() && !self.read().await? {
                return Err(torn());
            }
            let len = rest.len().min(self.frame.len());
            if let Some(target) = rest.get_mut(..len) {
                self.frame.copy_to_slice(target);
            }
            got += len;
        }
        Ok(head)
    }

    /// Reads the next frame; false at the end of an answer that is whole.
    async fn read(&mut self) -> Result<bool, Status> {
        while !self.ended {
            let frame = match self.body.frame().await {
                None => {
                    self.ended = true;
                    // An answer without an end was cut off.
                    return Err(Status::unavailable("the answer ends without a status"));
                }
                Some(frame) => frame.map_err(|status| connection_status(&status))?,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() && !self.body.is_end_stream() => {}
                Ok(data) => {
                    self.frame_bytes = data.len().max(READ_BYTES);
                    self.frame = data;
                    return Ok(true);
                }
                Err(frame) => {
                    self.ended = true;
                    let trailers = frame.into_trailers().unwrap_or_default();
                    match Status::from_header_map(&trailers) {
                        Some(status) => failed(status)?,
                        None => return Err(Status::unknown("the answer ends without a status")),
                    }
                }
            }
        }
        Ok(false)
    }
}

/// Whether a message is packed, and how long it is on the way.
fn message_len(head: [u8; HEAD_BYTES], max_bytes: usize) -> Result<(bool, usize), Status> {
    let [flag, len @ ..] = head;
    if flag > 1 {
        return Err(Status::internal(format!("a message begins with the byte {flag}")));
    }
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > max_bytes {
        return Err(Status::out_of_range(format!(
            "a message of {len} bytes is too long"
        )));
    }
    Ok((flag == 1, len))
}

fn torn() -> Status {
    Status::internal("the answer ends within a message")
}

fn failed(status: Status) -> Result<(), Status> {
    if status.code() == Code::Ok {
        return Ok(());
    }
    Err(status)
}

/// The innermost cause says what happened; the layers around it only say that something did.
fn connection_status(error: &(dyn std::error::Error + 'static)) -> Status {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<Status>() {
        Some(status) => status.clone(),
        None => Status::unavailable(cause.to_string()),
    }
}
