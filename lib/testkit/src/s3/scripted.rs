//! An HTTP server that answers what the test wrote down: also halves of bodies, silence and nonsense.

use std::{
    collections::VecDeque,
    fmt,
    fmt::Write,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// The largest head of a request that is read.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A server on a free loopback port. It stops when it is dropped.
pub struct ScriptedServer {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
    waiting: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, ...
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

/// What is answered to a request. `Content-Length` is that of the whole body, whatever of it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    sent_bytes: Option<usize>,
    hangs: bool,
    is_silent: bool,
    is_endless: bool,
}

/// Counts an answer that waits for its client to go, as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

type Handler = dyn Fn(&Recorded) -> Answer + Send + Sync;

impl Recorded {
    /// The value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Answer {
    /// An empty answer.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            sent_bytes: None,
            hangs: false,
            is_silent: false,
            is_endless: false,
        }
    }

    /// An error as S3 words it.
    pub fn s3_error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Error><Code>{code}</Code><Message>{message}</Message><RequestId>REQ1</RequestId></Error>"
        );
        Self::new(status)
            .header("content-type", "application/xml")
            .header("x-amz-request-id", "REQ1")
            .body(body)
    }

    /// No answer at all: the connection stays open and silent.
    pub fn silence() -> Self {
        Self {
            is_silent: true,
            hangs: true,
            ..Self::new(0)
        }
    }

    /// The connection is closed without an answer.
    pub fn hang_up() -> Self {
        Self {
            is_silent: true,
            ..Self::new(0)
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The body as it is set.
    pub fn body_bytes(&self) -> &Bytes {
        &self.body
    }

    /// Sends only so much of the body, and closes the connection.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.sent_bytes = Some(bytes);
        self
    }

    /// Sends only so much of the body, and nothing more ever.
    #[must_use]
    pub fn hang_after(mut self, bytes: usize) -> Self {
        self.sent_bytes = Some(bytes);
        self.hangs = true;
        self
    }

    /// Sends the body again and again until the client goes.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.is_endless = true;
        self
    }
}

impl ScriptedServer {
    /// Gives these answers in their order, and 501 when they are used up.
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> io::Result<Self> {
        let script: Mutex<VecDeque<Answer>> = Mutex::new(answers.into_iter().collect());
        Self::start_with(move |_| {
            let next = script.lock().pop_front();
            next.unwrap_or_else(|| Answer::s3_error(501, "NotImplemented", "the script has no more answers"))
        })
        .await
    }

    /// Answers what `handler` makes of a request.
    pub async fn start_with(
        handler: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), handler).await
    }

    /// Answers what `handler` makes of a request, at an address that an earlier server may have had.
    pub async fn start_at(
        addr: SocketAddr,
        handler: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let requests: Arc<Mutex<Vec<Recorded>>> = Arc::default();
        let waiting: Arc<AtomicUsize> = Arc::default();
        let (recorded, counter) = (Arc::clone(&requests), Arc::clone(&waiting));
        let handler: Arc<Handler> = Arc::new(handler);
        let task = tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else {
                    continue;
                };
                while connections.try_join_next().is_some() {}
                let (handler, recorded, counter) =
                    (Arc::clone(&handler), Arc::clone(&recorded), Arc::clone(&counter));
                // A client that goes away is no failure of the server.
                connections.spawn(async move { serve(socket, &*handler, &recorded, &counter).await.ok() });
            }
        });
        Ok(Self {
            addr,
            requests,
            waiting,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.addr
    }

    /// How many answers hang, or go on without an end, and have a client that still waits for more.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Stops: connections break, and the port is free when this returns.
    pub async fn stop(mut self) {
        self.task.abort();
        // It ends by being aborted, which is no failure.
        let _ = (&mut self.task).await;
    }

    /// `127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        self.addr.to_string()
    }

    /// The requests that came so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for ScriptedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(
    mut socket: TcpStream,
    handler: &Handler,
    recorded: &Mutex<Vec<Recorded>>,
    waiting: &AtomicUsize,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    while let Some(request) = read_request(&mut socket, &mut buffer).await? {
        let is_head = request.method == "HEAD";
        let answer = handler(&request);
        recorded.lock().push(request);
        let is_cut = answer.sent_bytes.is_some();
        if !answer.is_silent {
            socket.write_all(head(&answer).as_bytes()).await?;
            let sent = answer.sent_bytes.unwrap_or(usize::MAX).min(answer.body.len());
            if !is_head {
                socket
                    .write_all(answer.body.get(..sent).unwrap_or_default())
                    .await?;
            }
            socket.flush().await?;
        }
        if answer.is_endless {
            let _waiting = Waiting::new(waiting);
            loop {
                socket.write_all(&answer.body).await?;
            }
        }
        if answer.hangs {
            let _waiting = Waiting::new(waiting);
            // What a client says meanwhile is not answered; that it goes, ends the wait.
            while socket.read_buf(&mut buffer).await? > 0 {
                buffer.clear();
            }
            return Ok(());
        }
        if is_cut || answer.is_silent {
            return Ok(());
        }
    }
    Ok(())
}

fn head(answer: &Answer) -> String {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    if answer.is_endless {
        head.push_str("connection: close\r\n");
    } else {
        let _ = write!(head, "content-length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head + "\r\n"
}

async fn read_request(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<Recorded>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > MAX_HEAD_BYTES || socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer.split_to(end)).into_owned();
    buffer.advance(4);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Recorded {
        method,
        target,
        headers,
        body: Bytes::new(),
    };
    if request.header("expect").is_some() {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = request
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while buffer.len() < length {
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    request.body = buffer.split_to(length).freeze();
    Ok(Some(request))
}
