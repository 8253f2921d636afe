//! What stands between a store and its bucket: it notes the requests, and can make each answer begin later.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
};

/// What a connection reads at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A request that went through, all of whose answer did.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and target as they came.
    pub(crate) line: String,
    /// First byte and last byte, if it asks for a range.
    pub(crate) range: Option<(u64, u64)>,
    /// When it came.
    pub(crate) start: Instant,
    /// When the last byte of its answer, so far, went out.
    pub(crate) end: Instant,
}

/// A proxy for clients that send requests without bodies, one after the other on each connection.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: String,
    seen: Seen,
    task: JoinHandle<()>,
}

/// Requests, the end of whose answers may still move.
type Seen = Arc<Mutex<Vec<Arc<Mutex<Request>>>>>;

impl Proxy {
    /// Passes on to `upstream`; an answer begins `delay` after it would have.
    pub(crate) async fn start(upstream: &str, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind a port")?;
        let address = listener.local_addr()?.to_string();
        let seen = Seen::default();
        let (upstream, noted) = (upstream.to_owned(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, noted) = (upstream.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    // A connection that breaks is the client's to notice.
                    let _ = connection(client, &upstream, delay, noted).await;
                });
            }
        });
        Ok(Self { address, seen, task })
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The requests since it was last asked.
    pub(crate) fn take(&self) -> Vec<Request> {
        let seen = std::mem::take(&mut *self.seen.lock());
        seen.iter().map(|request| request.lock().clone()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(client: TcpStream, upstream: &str, delay: Duration, seen: Seen) -> Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (sender, asked) = mpsc::unbounded_channel();
    let requests = tokio::spawn(requests(from_client, to_server, sender));
    let outcome = answers(from_server, to_client, asked, delay, seen).await;
    requests.abort();
    outcome
}

/// Passes requests on and tells of each once its head is there.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: mpsc::UnboundedSender<Request>,
) -> Result<()> {
    let (mut buffer, mut head) = (vec![0; BUFFER_BYTES], Vec::new());
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        head.extend_from_slice(bytes);
        if head.ends_with(b"\r\n\r\n") {
            asked.send(request(&head))?;
            head.clear();
        }
        to.write_all(bytes).await?;
    }
}

fn request(head: &[u8]) -> Request {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let range = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().strip_prefix("bytes=")?;
        let (first, last) = value.split_once('-')?;
        let is_range = name.eq_ignore_ascii_case("range");
        is_range.then_some((first.parse().ok()?, last.parse().ok()?))
    });
    Request {
        line,
        range,
        start: Instant::now(),
        end: Instant::now(),
    }
}

/// Passes answers back; the first byte of each waits.
async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut asked: mpsc::UnboundedReceiver<Request>,
    delay: Duration,
    seen: Seen,
) -> Result<()> {
    let (mut buffer, mut open): (_, Option<Arc<Mutex<Request>>>) = (vec![0; BUFFER_BYTES], None);
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        // The answer before has ended, or the next request would not have come.
        if let Ok(next) = asked.try_recv() {
            let next = Arc::new(Mutex::new(next));
            seen.lock().push(Arc::clone(&next));
            open = Some(next);
            tokio::time::sleep(delay).await;
        }
        to.write_all(bytes).await?;
        if let Some(open) = &open {
            open.lock().end = Instant::now();
        }
    }
}
