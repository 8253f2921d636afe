//! A connection to a cache server: lines and values, both bounded.

use std::{fmt, io, time::Duration};

use bytes::{Bytes, BytesMut};
use sabre_runtime::budget::Budget;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// The longest line of an answer; keys have 250 bytes at most.
const MAX_LINE_BYTES: usize = 1024;

/// A value grows in steps of this as it arrives: what a server promises is not allocated before it comes.
const STEP_BYTES: usize = 64 << 10;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The connection broke, or there was none.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The server answered something that makes no sense.
    #[error("the server answers what it should not: {0}")]
    Nonsense(String),
    /// The server says that it failed.
    #[error("the server says: {0}")]
    Refused(String),
    /// The key cannot be sent.
    #[error("a key with {0}")]
    BadKey(&'static str),
}

/// What values may take.
#[derive(Clone, Debug)]
pub(crate) struct ValueLimits {
    /// Of one value.
    pub(crate) max_bytes: u64,
    /// Of all values that are held.
    pub(crate) budget: Budget,
}

/// Either side of TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// An open connection.
pub(crate) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    line: Vec<u8>,
    limits: ValueLimits,
}

impl WireError {
    /// As in the metrics of Thanos.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::TimedOut => "timeout",
            Self::Io(_) => "network-error",
            Self::TimedOut(_) => "timeout",
            Self::Nonsense(_) => "other",
            Self::Refused(_) => "server-error",
            Self::BadKey(_) => "malformed-key",
        }
    }

    /// Whether the connection may be used again: what was sent was answered whole.
    pub(crate) fn keeps_connection(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::BadKey(_))
    }
}

impl Wire {
    /// Talks over `stream`.
    pub(crate) fn new(stream: Box<dyn Stream>, limits: ValueLimits) -> Self {
        Self {
            stream: BufReader::with_capacity(16 << 10, stream),
            line: Vec::new(),
            limits,
        }
    }

    /// Opens a connection without TLS.
    pub(crate) async fn connect(address: &str, limits: ValueLimits) -> Result<Self, WireError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::new(Box::new(stream), limits))
    }

    /// Sends all of it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.stream.get_mut().write_all(bytes).await?;
        Ok(())
    }

    /// Hands what was sent over to the network.
    pub(crate) async fn flush(&mut self) -> Result<(), WireError> {
        self.stream.get_mut().flush().await?;
        Ok(())
    }

    /// The next line without its end.
    pub(crate) async fn line(&mut self) -> Result<&str, WireError> {
        self.line.clear();
        let limit = MAX_LINE_BYTES as u64;
        let read = (&mut self.stream)
            .take(limit)
            .read_until(b'\n', &mut self.line)
            .await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let line = self
            .line
            .strip_suffix(b"\r\n")
            .ok_or_else(|| WireError::Nonsense(format!("a line that does not end, after {read} bytes")))?;
        std::str::from_utf8(line).map_err(|_| WireError::Nonsense("a line that is not text".to_owned()))
    }

    /// The next `len` bytes and the line end behind them; `None` if there is no memory to keep them.
    pub(crate) async fn value(&mut self, len: u64) -> Result<Option<Bytes>, WireError> {
        let max_bytes = self.limits.max_bytes;
        if len > max_bytes {
            return Err(WireError::Nonsense(format!(
                "a value of {len} bytes, {max_bytes} are allowed"
            )));
        }
        let room = self.limits.budget.try_reserve(len);
        let mut value = BytesMut::new();
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        while left > 0 {
            let step = left.min(STEP_BYTES);
            let start = value.len();
            value.resize(start + step, 0);
            self.stream
                .read_exact(value.get_mut(start..).unwrap_or_default())
                .await?;
            left -= step;
            if room.is_none() {
                value.clear();
            }
        }
        let mut end = [0; 2];
        self.stream.read_exact(&mut end).await?;
        if end != *b"\r\n" {
            return Err(WireError::Nonsense(
                "a value of another length than announced".to_owned(),
            ));
        }
        Ok(room.map(|room| room.attach(value.freeze())))
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
