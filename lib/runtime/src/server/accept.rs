//! Accepting connections, serving them, and letting them end in peace.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{either::Either, sync::CancellationToken};
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt as _;

use super::{coalesce::CoalescingIo, handshake::Handshakes};
use crate::{
    metrics::{Gauge, InFlight},
    tls::Subject,
};

/// How long to wait after the system refused a connection, for example for want of file descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// How often the files of TLS are looked at although no client comes.
const LOOK_PAUSE: Duration = Duration::from_secs(60);

/// How long a client that has asked nothing so far has for its first request once the server stops.
const FIRST_REQUEST_AT_STOP: Duration = Duration::from_secs(2);

/// How long handshakes that had begun before the stop have to become connections: several journeys there and back.
const LAST_HANDSHAKES: Duration = Duration::from_millis(200);

/// Connections that are taken from the system's queue at the end: as many as tokio lets it hold.
const MAX_WAITING: usize = 1_024;

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// What it is called in the log.
    pub(crate) name: &'static str,
    pub(crate) listener: TcpListener,
    pub(crate) protocol: auto::Builder<TokioExecutor>,
    /// None for plain text.
    pub(crate) tls: Option<Tls>,
    pub(crate) router: Router,
    /// Whether small writes are gathered, see [`CoalescingIo`].
    pub(crate) coalesce: bool,
    /// Age at which a connection is asked to end, give or take a tenth.
    pub(crate) max_connection_age: Option<Duration>,
    /// How long connections may take to end after `stop`.
    pub(crate) grace: Duration,
    /// Open connections.
    pub(crate) connections: Gauge,
}

/// TLS, and what is spoken under it.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) handshakes: Handshakes,
    /// For clients that agree to `h2`; all others get the server's protocol.
    pub(crate) http2: auto::Builder<TokioExecutor>,
}

/// Who is at the other end.
#[derive(Debug)]
struct Client {
    local: Option<SocketAddr>,
    peer: SocketAddr,
    /// Of the certificate that was shown.
    subject: Option<Arc<Subject>>,
}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    name: &'static str,
    protocol: auto::Builder<TokioExecutor>,
    tls: Option<Tls>,
    router: Router,
    coalesce: bool,
    connections: Gauge,
    stop: CancellationToken,
}

impl Acceptor {
    /// Serves until `stop` is cancelled; then accepts no more, lets requests finish for the grace period, and cuts
    /// off what is left.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let shared = Arc::new(Shared {
            name: self.name,
            protocol: self.protocol,
            tls: self.tls,
            router: self.router,
            coalesce: self.coalesce,
            connections: self.connections,
            stop: stop.clone(),
        });
        // It ends with this set.
        let mut aside = JoinSet::new();
        if shared.tls.is_some() {
            aside.spawn(Arc::clone(&shared).look_at_files());
        }
        let mut open = JoinSet::new();
        let (listener, max_age) = (&self.listener, self.max_connection_age);
        let until_stop = stop.cancelled();
        shared
            .accept_until(until_stop, listener, max_age, &mut open)
            .await;
        match turn_away(listener) {
            Ok(()) => {
                let until_shaken = sleep(LAST_HANDSHAKES);
                shared.accept_until(until_shaken, listener, None, &mut open).await;
            }
            Err(error) => tracing::debug!(server = self.name, %error, "new clients cannot be turned away"),
        }
        for (stream, peer) in waiting(self.listener) {
            open.spawn(Arc::clone(&shared).connection(stream, peer, None));
        }
        let drained = timeout(self.grace, async { while open.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            let left = open.len();
            tracing::warn!(
                server = self.name,
                left,
                "grace period is over, connections are cut off"
            );
            open.shutdown().await;
        }
        tracing::info!(server = self.name, "server has stopped");
    }
}

impl Shared {
    async fn accept_until(
        self: &Arc<Self>,
        end: impl Future<Output = ()>,
        listener: &TcpListener,
        max_age: Option<Duration>,
        open: &mut JoinSet<()>,
    ) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                biased;
                () = end.as_mut() => return,
                Some(_ended) = open.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        open.spawn(Arc::clone(self).connection(stream, peer, max_age.map(jittered)));
                    }
                    Err(error) => refused(self.name, &error).await,
                }
            }
        }
    }

    async fn look_at_files(self: Arc<Self>) {
        while let Some(tls) = &self.tls {
            sleep(LOOK_PAUSE).await;
            tls.handshakes.look().await;
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, age: Option<Duration>) {
        let _open = InFlight::new(&self.connections);
        // Small frames must not wait for an acknowledgement of the ones before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(server = self.name, %peer, %error, "connection is gone before it began");
            return;
        }
        let local = stream.local_addr().ok();
        let Some(tls) = &self.tls else {
            let client = Client {
                local,
                peer,
                subject: None,
            };
            return Box::pin(self.talk(stream, &self.protocol, client, age)).await;
        };
        match tls.handshakes.shake(stream, &self.stop).await {
            Ok(stream) => {
                let session = stream.get_ref().1;
                let protocol = match session.alpn_protocol() {
                    Some(b"h2") => &tls.http2,
                    _ => &self.protocol,
                };
                let shown = session.peer_certificates().and_then(<[_]>::first);
                let subject = shown.and_then(Subject::of).map(Arc::new);
                let client = Client { local, peer, subject };
                Box::pin(self.talk(stream, protocol, client, age)).await;
            }
            Err(error) => {
                tracing::debug!(server = self.name, %peer, %error, "TLS handshake came to nothing");
            }
        }
    }

    /// Answers requests on a connection until it ends.
    async fn talk<S>(
        &self,
        stream: S,
        protocol: &auto::Builder<TokioExecutor>,
        client: Client,
        age: Option<Duration>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Client { local, peer, subject } = client;
        let (has_asked, first_request) = (AtomicBool::new(false), CancellationToken::new());
        let service = service_fn(|mut request: Request<Incoming>| {
            if !has_asked.swap(true, Ordering::Relaxed) {
                first_request.cancel();
            }
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(TcpConnectInfo {
                local_addr: local,
                remote_addr: Some(peer),
            });
            if let Some(subject) = &subject {
                request.extensions_mut().insert(Arc::clone(subject));
            }
            self.router.clone().oneshot(request)
        });
        let io = match self.coalesce {
            true => Either::Left(CoalescingIo::new(stream)),
            false => Either::Right(stream),
        };
        let mut connection = pin!(protocol.serve_connection(TokioIo::new(io), service));
        let mut age = pin!(async {
            match age {
                Some(age) => sleep(age).await,
                None => std::future::pending().await,
            }
        });
        let mut told_to_stop = pin!(async {
            self.stop.cancelled().await;
            // Ended now, a client that has just connected would get no answer to what is on its way.
            drop(timeout(FIRST_REQUEST_AT_STOP, first_request.cancelled()).await);
        });
        let mut ending = false;
        loop {
            tokio::select! {
                // A request that has come is read before the connection is ended, however late this is run.
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(server = self.name, %peer, error, "connection ended with an error");
                    }
                    return;
                }
                () = told_to_stop.as_mut(), if !ending => {}
                () = age.as_mut(), if !ending => {}
            }
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Has the system let no new client in. Between the last look at its queue and the end of the listener it would take
/// some, and cut them off without an answer; unanswered, they try again after a second, and are refused or find who came after us.
///
/// # Errors
/// A system without such filters.
#[cfg(target_os = "linux")]
pub(super) fn turn_away(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    /// Where the flags are in TCP's header, at which the filter begins, and two of them.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    // Instructions of BPF: load the byte at k; and with k; skip as many as `jt` says if equal to k, else `jf`; let k bytes pass.
    let load = SockFilter::new(0x30, 0, 0, FLAGS_AT);
    let mask = SockFilter::new(0x54, 0, 0, SYN | ACK);
    let is_new = SockFilter::new(0x15, 0, 1, SYN);
    let (drop, pass) = (
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    );
    // Connections made from now on inherit the filter, which lets all of theirs pass.
    SockRef::from(listener).attach_filter(&[load, mask, is_new, drop, pass])
}

/// Only Linux has such filters.
#[cfg(not(target_os = "linux"))]
pub(super) fn turn_away(_listener: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Closes the listener and gives the connections that the system has taken for it: their clients believe that they are
/// connected, and would have their requests cut off without an answer.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut taken = Vec::new();
    // It does not block, before and after, so that the end of the queue is an error.
    let Ok(listener) = listener.into_std() else {
        return taken;
    };
    while taken.len() < MAX_WAITING
        && let Ok((stream, peer)) = listener.accept()
    {
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        taken.extend(stream.ok().map(|stream| (stream, peer)));
    }
    taken
}

/// Spreads ages, so that clients that connected together do not all come back together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.9..1.1))
}

async fn refused(server: &'static str, error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionRefused => {}
        _ => {
            tracing::warn!(server, %error, "cannot accept a connection, trying again");
            sleep(REFUSED_PAUSE).await;
        }
    }
}
