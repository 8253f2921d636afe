//! Watching a body go by without touching its bytes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Is told of every frame, and dropped with the body.
pub(crate) trait Observer: Send + Unpin + 'static {
    /// A frame went by.
    fn frame(&mut self, frame: &Frame<Bytes>);
}

/// A body that is watched.
#[derive(Debug)]
pub(crate) struct ObservedBody<B, O> {
    inner: B,
    observer: O,
}

impl<B, O> ObservedBody<B, O> {
    pub(crate) fn new(inner: B, observer: O) -> Self {
        Self { inner, observer }
    }
}

impl<B, O> Body for ObservedBody<B, O>
where
    B: Body<Data = Bytes> + Unpin,
    O: Observer,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &polled {
            self.observer.frame(frame);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
