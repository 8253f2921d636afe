//! Entry points for fuzzing: any input must give a value or an error.

use std::{io::Cursor, pin::Pin, task::Context, task::Poll};

use sabre_runtime::budget::Budget;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    addresses, bucket,
    redis::protocol,
    wire::{ValueLimits, Wire},
};

/// Reads what a server answers; what is written to it vanishes.
struct Answers(Cursor<Vec<u8>>);

impl AsyncRead for Answers {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Answers {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn wire(answers: &[u8]) -> Wire {
    let limits = ValueLimits {
        max_bytes: 1 << 20,
        budget: Budget::new(4 << 20, "no flag"),
    };
    Wire::new(Box::new(Answers(Cursor::new(answers.to_vec()))), limits)
}

/// What memcached and redis servers may answer to reads and writes of some keys.
pub fn answers(data: &[u8]) {
    let value = bytes::Bytes::from_static(b"value");
    let life = (std::time::Duration::from_secs(1), 0);
    let all = async {
        let _ = crate::memcached::fuzz_get(&mut wire(data), &["a", "b"]).await;
        let _ = crate::memcached::fuzz_set(&mut wire(data), "a", &value, life).await;
        let _ = protocol::fuzz_get(&mut wire(data), &[b"a".to_vec(), b"b".to_vec()]).await;
    };
    futures::executor::block_on(all);
}

/// Values that a caching bucket may find in its cache, and the answer of a configuration endpoint.
pub fn values(data: &[u8]) {
    let _ = addresses::nodes(data);
    bucket::fuzz_values(data);
    if let Ok(line) = std::str::from_utf8(data) {
        let _ = protocol::is_head(line);
    }
}
