//! Answers that nobody reads on: they are given up, with the memory they are charged for.

use futures::{
    StreamExt as _,
    stream::{BoxStream, unfold},
};
use tonic::Status;

use crate::watched::{MAX_PAUSE, Watched};

/// Messages as they are asked for.
pub(super) type Messages<M> = BoxStream<'static, Result<M, Status>>;

/// The same messages, and an error in place of the rest when none is taken for [`MAX_PAUSE`]. All that the stream holds
/// goes then, whether its caller comes back or not.
pub(super) fn while_read<M: Send + 'static>(messages: Messages<M>) -> Messages<M> {
    unfold(Some(Watched::new(messages, MAX_PAUSE)), next).boxed()
}

async fn next<M: Send + 'static>(
    watched: Option<Watched<Messages<M>>>,
) -> Option<(Result<M, Status>, Option<Watched<Messages<M>>>)> {
    let watched = watched?;
    let Some(mut messages) = watched.take() else {
        return Some((Err(unread()), None));
    };
    let message = messages.next().await?;
    watched.put(messages);
    Some((message, Some(watched)))
}

/// What a caller is told who did not read for too long.
pub(super) fn unread() -> Status {
    let seconds = MAX_PAUSE.as_secs();
    Status::deadline_exceeded(format!("nothing of the answer was read for {seconds} s"))
}
