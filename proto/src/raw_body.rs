//! Answers of a streaming call as framed bytes: from the producer over a bounded channel into an HTTP/2 body,
//! with no message in between.
//!
//! The producer holds a [`FrameSender`], the server a [`FrameBody`]. When the caller goes away the body is
//! dropped and the sender notices. A sender that is dropped without [`FrameSender::finish`] (a panic, a bug) ends
//! the answer with an error, never with a success that hides what is missing.

mod compressed;
#[cfg(test)]
mod tests;

pub(crate) use self::compressed::compressed;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status};

/// More of a message than this does not fit into the trailers that clients take.
const MAX_STATUS_MESSAGE_BYTES: usize = 4096;

/// How long a caller may take nothing of an answer while others wait for what it holds.
pub const STALL_PATIENCE: Duration = Duration::from_secs(120);

/// After that it is given up as soon as somebody waits.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The caller has gone: nobody reads what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller has gone")]
pub struct Cancelled;

/// The caller took nothing for [`STALL_PATIENCE`], and others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller takes nothing of the answer while others wait")]
pub struct Stalled;

/// The producer's end of an answer.
#[derive(Debug)]
pub struct FrameSender {
    frames: mpsc::Sender<Bytes>,
    end: oneshot::Sender<Status>,
}

/// The reader's end of an answer.
#[derive(Debug)]
pub struct FrameReceiver {
    frames: mpsc::Receiver<Bytes>,
    /// `None` once the status was read.
    end: Option<oneshot::Receiver<Status>>,
}

/// An HTTP body that sends frames as they are and ends with the status as trailers.
#[derive(Debug)]
pub struct FrameBody {
    /// `None` once the trailers are out.
    receiver: Option<FrameReceiver>,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Connects a producer and a reader; up to `capacity` (at least 1) buffers wait between them.
pub fn frame_channel(capacity: usize) -> (FrameSender, FrameReceiver) {
    let (frames_in, frames_out) = mpsc::channel(capacity.max(1));
    let (end_in, end_out) = oneshot::channel();
    (
        FrameSender {
            frames: frames_in,
            end: end_in,
        },
        FrameReceiver {
            frames: frames_out,
            end: Some(end_out),
        },
    )
}

impl FrameSender {
    /// Sends whole gRPC messages with their headers; waits while the reader is behind.
    ///
    /// A buffer lives until the network has taken it: `Bytes::from_owner` lets it carry its memory reservation.
    pub async fn send(&self, frames: Bytes) -> Result<(), Cancelled> {
        self.frames.send(frames).await.map_err(|_| Cancelled)
    }

    /// Like [`Self::send`], for a producer that holds what others may wait for; false if the caller has gone.
    ///
    /// # Errors
    /// The caller took nothing for [`STALL_PATIENCE`] or longer, and `others_wait`.
    pub async fn send_unless_stalled(
        &self,
        frames: Bytes,
        others_wait: impl Fn() -> bool,
    ) -> Result<bool, Stalled> {
        let mut sending = pin!(self.send(frames));
        let mut patience = STALL_PATIENCE;
        loop {
            if let Ok(sent) = tokio::time::timeout(patience, &mut sending).await {
                return Ok(sent.is_ok());
            }
            patience = LOOK_AGAIN;
            if others_wait() {
                return Err(Stalled);
            }
        }
    }

    /// Like [`Self::send`], from a thread that may block.
    pub fn blocking_send(&self, frames: Bytes) -> Result<(), Cancelled> {
        self.frames.blocking_send(frames).map_err(|_| Cancelled)
    }

    /// Returns whether the caller has gone.
    pub fn is_cancelled(&self) -> bool {
        self.frames.is_closed()
    }

    /// Waits until the caller goes.
    pub async fn cancelled(&self) {
        self.frames.closed().await;
    }

    /// Ends the answer; what was sent before still arrives.
    pub fn finish(self, result: Result<(), Status>) {
        // The status goes first: the reader looks for it when the frames end. A caller that has gone needs none.
        let _ = self.end.send(result.err().unwrap_or_else(|| Status::ok("")));
    }
}

impl FrameReceiver {
    /// Returns the next buffer, then the status that is not OK, then `None`.
    pub async fn recv(&mut self) -> Option<Result<Bytes, Status>> {
        if let Some(frames) = self.frames.recv().await {
            return Some(Ok(frames));
        }
        let status = self.status()?;
        if status.code() == Code::Ok {
            None
        } else {
            Some(Err(status))
        }
    }

    /// After the last buffer: how the answer ended, once.
    fn status(&mut self) -> Option<Status> {
        let status = self.end.take()?.try_recv();
        Some(status.unwrap_or_else(|_| {
            Status::internal("answer is incomplete: its producer stopped without a status")
        }))
    }
}

impl FrameBody {
    /// Wraps the reader's end; at `deadline` the answer ends with `DeadlineExceeded`.
    pub fn new(receiver: FrameReceiver, deadline: Option<Instant>) -> Self {
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        Self {
            receiver: Some(receiver),
            deadline,
        }
    }

    fn end(&mut self, status: Status) -> Frame<Bytes> {
        self.receiver = None;
        Frame::trailers(trailers(status))
    }
}

impl Body for FrameBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(receiver) = &mut this.receiver else {
            return Poll::Ready(None);
        };
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(this.end(deadline_exceeded()))));
        }
        let frame = match ready!(receiver.frames.poll_recv(context)) {
            Some(frames) => Frame::data(frames),
            None => {
                let status = receiver.status().unwrap_or_else(|| Status::ok(""));
                this.end(status)
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.receiver.is_none()
    }
}

/// What a call gets that took longer than its caller wanted to wait.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the caller's deadline has passed")
}

/// Cuts the message to what fits into headers.
pub(crate) fn with_short_message(status: Status) -> Status {
    let message = status.message();
    if message.len() <= MAX_STATUS_MESSAGE_BYTES {
        return status;
    }
    let end = message.floor_char_boundary(MAX_STATUS_MESSAGE_BYTES);
    let short = format!("{} (cut off)", message.get(..end).unwrap_or_default());
    let details = Bytes::copy_from_slice(status.details());
    Status::with_details_and_metadata(status.code(), short, details, status.metadata().clone())
}

fn trailers(status: Status) -> HeaderMap {
    let mut map = HeaderMap::new();
    if let Err(unsendable) = with_short_message(status).add_header(&mut map) {
        map.clear();
        map.insert(
            Status::GRPC_STATUS,
            http::HeaderValue::from(unsendable.code() as i32),
        );
    }
    map
}
