//! Accepting connections, serving them, and letting them end in peace.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{either::Either, sync::CancellationToken};
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt as _;

use super::coalesce::CoalescingIo;
use crate::metrics::Gauge;

/// How long to wait after the system refused a connection, for example for want of file descriptors.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Acceptor {
    /// What it is called in the log.
    pub(crate) name: &'static str,
    pub(crate) listener: TcpListener,
    pub(crate) protocol: auto::Builder<TokioExecutor>,
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

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    name: &'static str,
    protocol: auto::Builder<TokioExecutor>,
    router: Router,
    coalesce: bool,
    connections: Gauge,
    stop: CancellationToken,
}

/// Counts a connection while it is open.
struct Open(Gauge);

impl Acceptor {
    /// Serves until `stop` is cancelled; then accepts no more, lets requests finish for the grace period, and cuts
    /// off what is left.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let shared = Arc::new(Shared {
            name: self.name,
            protocol: self.protocol,
            router: self.router,
            coalesce: self.coalesce,
            connections: self.connections,
            stop: stop.clone(),
        });
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_ended) = open.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let age = self.max_connection_age.map(jittered);
                        open.spawn(Arc::clone(&shared).connection(stream, peer, age));
                    }
                    Err(error) => refused(self.name, &error).await,
                }
            }
        }
        drop(self.listener);
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
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, age: Option<Duration>) {
        let _open = Open::new(&self.connections);
        // Small frames must not wait for an acknowledgement of the ones before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(server = self.name, %peer, %error, "connection is gone before it began");
            return;
        }
        let local = stream.local_addr().ok();
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(TcpConnectInfo {
                local_addr: local,
                remote_addr: Some(peer),
            });
            self.router.clone().oneshot(request)
        });
        let io = match self.coalesce {
            true => Either::Left(CoalescingIo::new(stream)),
            false => Either::Right(stream),
        };
        let mut connection = pin!(self.protocol.serve_connection(TokioIo::new(io), service));
        let mut age = pin!(async {
            match age {
                Some(age) => sleep(age).await,
                None => std::future::pending().await,
            }
        });
        let mut ending = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(server = self.name, %peer, error, "connection ended with an error");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !ending => {}
                () = age.as_mut(), if !ending => {}
            }
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

impl Open {
    fn new(connections: &Gauge) -> Self {
        connections.inc();
        Self(connections.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
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
