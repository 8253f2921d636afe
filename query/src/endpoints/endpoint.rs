//! One endpoint: its connections, and what is known of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::{Api, EndpointStatus, PeerInfo};

/// How an endpoint is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKind {
    /// It is asked whether it is healthy or not, and never forgotten.
    pub strict: bool,
    /// It stands for several servers that have the same, of which one is asked.
    pub group: bool,
}

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    address: String,
    kind: EndpointKind,
    /// One, but for groups.
    servers: RwLock<Arc<[Server]>>,
    next: AtomicUsize,
    created: Instant,
    state: RwLock<State>,
}

/// A server of an endpoint.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) channel: Channel,
    /// Whether it said who it is when it was last asked. One that was not asked yet may do.
    answers: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    peer: Option<Arc<PeerInfo>>,
    /// What went wrong when it was last asked.
    last_error: Option<String>,
    last_check_ms: Option<i64>,
    last_success: Option<Instant>,
    /// Since when it does not answer; `None` if it did when it was last asked.
    away_since: Option<Instant>,
}

impl Endpoint {
    /// An endpoint that was not asked yet.
    pub fn new(address: impl Into<String>, kind: EndpointKind, channels: Vec<Channel>) -> Self {
        Self {
            address: address.into(),
            kind,
            servers: RwLock::new(servers(channels)),
            next: AtomicUsize::new(0),
            created: Instant::now(),
            state: RwLock::default(),
        }
    }

    /// `host:port`, or the name of a group: what people know it by.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How it is treated.
    pub fn kind(&self) -> EndpointKind {
        self.kind
    }

    /// Connections in the order in which they are to be tried. Of a group those to the servers that answered when they
    /// were last asked, or to all if none did, beginning with the one whose turn it is; none if it has no servers.
    pub fn channels(&self) -> Vec<Channel> {
        let servers = self.servers();
        let any = servers.iter().any(Server::answers);
        let tried = servers.iter().filter(|server| server.answers() || !any);
        let mut channels: Vec<Channel> = tried.map(|server| server.channel.clone()).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(first) = turn.checked_rem(channels.len()) {
            channels.rotate_left(first);
        }
        channels
    }

    /// All its servers.
    pub(super) fn servers(&self) -> Arc<[Server]> {
        Arc::clone(&self.servers.read())
    }

    /// Puts the servers of a group in the place of those before.
    pub(crate) fn set_channels(&self, channels: Vec<Channel>) {
        *self.servers.write() = servers(channels);
    }

    /// What it said it is. A strict endpoint that never said so may have everything.
    pub fn peer(&self) -> Option<Arc<PeerInfo>> {
        let known = self.state.read().peer.clone();
        known.or_else(|| self.kind.strict.then(|| Arc::new(PeerInfo::unknown_store())))
    }

    /// Whether it was never asked who it is.
    pub(super) fn is_new(&self) -> bool {
        self.state.read().last_check_ms.is_none()
    }

    /// Whether requests may go to it.
    pub fn is_healthy(&self) -> bool {
        let state = self.state.read();
        self.kind.strict || (state.peer.is_some() && state.last_error.is_none())
    }

    /// Why nothing is to be had from an endpoint that has said who it is: it does not answer any more.
    pub fn absence(&self) -> Option<String> {
        match self.is_healthy() {
            true => None,
            false => self.state.read().last_error.clone(),
        }
    }

    /// Whether requests of this kind may go to it.
    pub fn offers(&self, api: Api) -> bool {
        self.is_healthy() && self.peer().is_some_and(|peer| peer.apis.contains(&api))
    }

    /// What is known of it, for people.
    pub fn status(&self) -> EndpointStatus {
        let healthy = self.is_healthy();
        let state = self.state.read();
        let peer = state.peer.as_deref();
        let store = peer.map(|peer| peer.store.clone()).unwrap_or_default();
        EndpointStatus {
            address: self.address.clone(),
            component: peer.map(|peer| peer.component.clone()),
            label_sets: peer.map(|peer| peer.label_sets.clone()).unwrap_or_default(),
            mint: store.mint,
            maxt: store.maxt,
            last_check_ms: state.last_check_ms,
            last_error: state.last_error.clone(),
            healthy,
            apis: peer
                .map(|peer| peer.apis.iter().copied().collect())
                .unwrap_or_default(),
        }
    }

    /// Since when it does not answer; `None` if it did when it was last asked, or never was.
    pub(super) fn away_since(&self) -> Option<Instant> {
        self.state.read().away_since
    }

    /// Notes what it said, or why it did not.
    pub fn note(&self, outcome: Result<PeerInfo, String>, now_ms: i64, now: Instant) {
        let mut state = self.state.write();
        state.last_check_ms = Some(now_ms);
        match outcome {
            Ok(peer) => {
                state.peer = Some(Arc::new(peer));
                state.last_error = None;
                state.last_success = Some(now);
                state.away_since = None;
            }
            Err(error) => {
                state.last_error = Some(error);
                state.away_since.get_or_insert(now);
            }
        }
    }

    /// Whether it is to be forgotten: it is not strict, and did not answer for so long.
    pub(crate) fn is_forgotten(&self, now: Instant, unhealthy_timeout: Duration) -> bool {
        let last = self.state.read().last_success.unwrap_or(self.created);
        let silent = now.saturating_duration_since(last) > unhealthy_timeout;
        silent && !self.kind.strict
    }
}

fn servers(channels: Vec<Channel>) -> Arc<[Server]> {
    let server = |channel| Server {
        channel,
        answers: AtomicBool::new(true),
    };
    channels.into_iter().map(server).collect()
}

impl Server {
    fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// Notes whether it said who it is.
    pub(super) fn note(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }
}
