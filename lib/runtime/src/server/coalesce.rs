//! Gathers small writes into large ones.
//!
//! The HTTP/2 library writes every DATA frame with a system call of its own, and a client that keeps to the default
//! frame size gets 16 KiB a call. This wrapper copies such frames into one buffer and writes it when it is full, when
//! the connection's task runs next, or at shutdown; that nearly halves the CPU time of a large answer.
//!
//! A flush does not reach the socket at once, but it makes sure the task runs again soon, and every run begins with a
//! read, which drains the buffer first. So nothing stays behind while a task sleeps.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The buffer is written once it holds this much.
const BUFFER_BYTES: usize = 256 << 10;
/// A write of this much is not worth copying.
const DIRECT_BYTES: usize = 64 << 10;

/// A connection whose small writes are gathered.
#[derive(Debug)]
pub(crate) struct CoalescingIo<T> {
    inner: T,
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    written: usize,
    /// The socket took no more, and will wake the task when it does.
    blocked: bool,
}

impl<T> CoalescingIo<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner,
            buffer: Vec::new(),
            written: 0,
            blocked: false,
        }
    }

    fn pending_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(self.written)
    }
}

impl<T: AsyncWrite + Unpin> CoalescingIo<T> {
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.buffer.get(self.written..).filter(|rest| !rest.is_empty()) {
            let outcome = Pin::new(&mut self.inner).poll_write(context, rest);
            self.blocked = outcome.is_pending();
            match ready!(outcome)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Makes room for `bytes`; ready when they can be copied.
    fn poll_room(&mut self, context: &mut Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        if self.buffer.len().saturating_add(bytes) > BUFFER_BYTES {
            return self.poll_drain(context);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for CoalescingIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending_bytes() > 0
            && let Poll::Ready(Err(error)) = self.poll_drain(context)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CoalescingIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.len() >= DIRECT_BYTES {
            ready!(self.poll_drain(context))?;
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        }
        ready!(self.poll_room(context, bytes.len()))?;
        self.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if total >= DIRECT_BYTES {
            ready!(self.poll_drain(context))?;
            return Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        }
        ready!(self.poll_room(context, total))?;
        for slice in slices {
            self.buffer.extend_from_slice(slice);
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pending_bytes() > 0 {
            // Waking while the socket is full would make the task spin.
            if !self.blocked {
                context.waker().wake_by_ref();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Counts writes and takes no more than `room` bytes in all.
    #[derive(Debug, Default)]
    struct Counting {
        writes: usize,
        taken: Vec<u8>,
        room: usize,
        shut: bool,
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Poll::Pending;
            }
            self.writes += 1;
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Counting {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn io(room: usize) -> CoalescingIo<Counting> {
        CoalescingIo::new(Counting {
            room,
            ..Counting::default()
        })
    }

    #[test]
    fn frames_of_16_kib_become_one_write_at_the_next_read() {
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut context = Context::from_waker(&waker);
        let mut io = io(usize::MAX);
        for _ in 0..10 {
            let slices = [IoSlice::new(&[1; 9]), IoSlice::new(&[2; 16_384])];
            assert!(
                Pin::new(&mut io)
                    .poll_write_vectored(&mut context, &slices)
                    .is_ready()
            );
            assert!(Pin::new(&mut io).poll_flush(&mut context).is_ready());
        }
        assert_eq!(
            (io.inner.writes, wakes.0.load(Ordering::SeqCst)),
            (0, 10),
            "a flush asks to run again"
        );
        let mut space = [0; 8];
        assert!(
            Pin::new(&mut io)
                .poll_read(&mut context, &mut ReadBuf::new(&mut space))
                .is_pending()
        );
        assert_eq!(
            (io.inner.writes, io.inner.taken.len(), io.pending_bytes()),
            (1, 10 * 16_393, 0)
        );
        assert!(Pin::new(&mut io).poll_flush(&mut context).is_ready());
        assert_eq!(
            wakes.0.load(Ordering::SeqCst),
            10,
            "nothing to flush, nothing to wake for"
        );
    }

    #[test]
    fn a_full_buffer_is_written_and_a_full_socket_holds_the_writer_back() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut io = io(100_000);
        let frame = [3; 16_393];
        let mut accepted = 0;
        while let Poll::Ready(Ok(count)) = Pin::new(&mut io).poll_write(&mut context, &frame) {
            accepted += count;
        }
        assert!(io.buffer.len() <= BUFFER_BYTES && io.inner.taken.len() == 100_000);
        assert_eq!(accepted, io.inner.taken.len() + io.pending_bytes());
        io.inner.room = usize::MAX;
        assert!(Pin::new(&mut io).poll_write(&mut context, &frame).is_ready());
        assert!(Pin::new(&mut io).poll_shutdown(&mut context).is_ready());
        assert_eq!(
            (io.inner.taken.len(), io.inner.shut),
            (accepted + frame.len(), true)
        );
    }

    #[test]
    fn a_flush_does_not_spin_while_the_socket_is_full() {
        let wakes = Arc::new(Wakes::default());
        let waker = Arc::clone(&wakes).into();
        let mut context = Context::from_waker(&waker);
        let mut io = io(0);
        assert!(Pin::new(&mut io).poll_write(&mut context, b"abc").is_ready());
        let mut space = [0; 8];
        assert!(
            Pin::new(&mut io)
                .poll_read(&mut context, &mut ReadBuf::new(&mut space))
                .is_pending()
        );
        assert!(Pin::new(&mut io).poll_flush(&mut context).is_ready());
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        io.inner.room = 1;
        assert!(
            Pin::new(&mut io)
                .poll_read(&mut context, &mut ReadBuf::new(&mut space))
                .is_pending()
        );
        io.inner.room = 9;
        assert!(
            Pin::new(&mut io)
                .poll_read(&mut context, &mut ReadBuf::new(&mut space))
                .is_pending()
        );
        assert_eq!(io.inner.taken, b"abc");
        assert!(Pin::new(&mut io).poll_write(&mut context, b"d").is_ready());
        assert!(Pin::new(&mut io).poll_flush(&mut context).is_ready());
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "free again");
    }

    #[test]
    fn large_writes_go_straight_through_behind_what_waits() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut io = io(usize::MAX);
        assert!(Pin::new(&mut io).poll_write(&mut context, b"head").is_ready());
        let large = vec![7; DIRECT_BYTES];
        assert!(Pin::new(&mut io).poll_write(&mut context, &large).is_ready());
        assert_eq!((io.inner.writes, io.pending_bytes()), (2, 0));
        assert!(io.inner.taken.starts_with(b"head\x07"));
    }

    #[tokio::test]
    async fn bytes_arrive_in_order_through_a_narrow_pipe() {
        let (near, mut far) = duplex(1_000);
        let mut io = CoalescingIo::new(near);
        let sent: Vec<u8> = (0..500_000_u32).map(|number| number as u8).collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            for chunk in copy.chunks(7_777) {
                io.write_all(chunk).await.unwrap();
                io.flush().await.unwrap();
                // As the connection's task does: every run begins with a read.
                poll_fn(|context| {
                    let mut space = [0; 1];
                    let read = Pin::new(&mut io).poll_read(context, &mut ReadBuf::new(&mut space));
                    assert!(read.is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            io.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert!(received == sent);
    }
}
