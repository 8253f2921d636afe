//! Connections to cache servers, and servers that are left alone because they do not answer.

use std::{collections::HashMap, fmt, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::wire::{Wire, WireError};

/// Failures in a row after which a server is left alone for a while.
const FAILURES: u32 = 3;

/// The first pause of a server that does not answer; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Opens connections.
#[async_trait]
pub(crate) trait Connect: Send + Sync + fmt::Debug {
    async fn connect(&self, address: &str) -> Result<Wire, WireError>;
}

/// Connections by server.
#[derive(Debug)]
pub(crate) struct Pool {
    connect: Box<dyn Connect>,
    max_idle: usize,
    servers: Mutex<HashMap<String, Server>>,
}

#[derive(Debug, Default)]
struct Server {
    idle: Vec<Wire>,
    failures_in_a_row: u32,
    /// Until then nothing is asked of it.
    pause_until: Option<Instant>,
}

impl Pool {
    /// Keeps up to `max_idle` unused connections to each server.
    pub(crate) fn new(connect: Box<dyn Connect>, max_idle: usize) -> Self {
        Self {
            connect,
            max_idle,
            servers: Mutex::default(),
        }
    }

    /// Whether the server is worth asking now.
    pub(crate) fn is_up(&self, address: &str, now: Instant) -> bool {
        let servers = self.servers.lock();
        let pause = servers.get(address).and_then(|server| server.pause_until);
        pause.is_none_or(|until| until <= now)
    }

    /// An unused connection, or a new one.
    pub(crate) async fn take(&self, address: &str) -> Result<Wire, WireError> {
        let idle = self
            .servers
            .lock()
            .get_mut(address)
            .and_then(|server| server.idle.pop());
        match idle {
            Some(wire) => Ok(wire),
            None => self.connect.connect(address).await,
        }
    }

    /// Notes how an operation ended; the connection is kept if it is known to be sound.
    pub(crate) fn settle<T>(&self, address: &str, wire: Wire, outcome: &Result<T, WireError>) {
        match outcome.as_ref().err().is_none_or(WireError::keeps_connection) {
            true => self.give_back(address, wire),
            false => self.failed(address, Instant::now()),
        }
    }

    /// The operation ended well, or in a way that says nothing against the connection.
    fn give_back(&self, address: &str, wire: Wire) {
        let mut servers = self.servers.lock();
        let server = servers.entry(address.to_owned()).or_default();
        (server.failures_in_a_row, server.pause_until) = (0, None);
        if server.idle.len() < self.max_idle {
            server.idle.push(wire);
        }
    }

    /// The operation failed and its connection is gone; so, probably, are the others.
    pub(crate) fn failed(&self, address: &str, now: Instant) {
        let mut servers = self.servers.lock();
        let server = servers.entry(address.to_owned()).or_default();
        server.idle.clear();
        server.failures_in_a_row = server.failures_in_a_row.saturating_add(1);
        let beyond = server.failures_in_a_row.saturating_sub(FAILURES);
        if server.failures_in_a_row >= FAILURES {
            let pause = FIRST_PAUSE.saturating_mul(1 << beyond.min(10)).min(MAX_PAUSE);
            server.pause_until = Some(now + pause);
        }
    }

    /// Forgets servers that are no longer used.
    pub(crate) fn retain(&self, is_used: impl Fn(&str) -> bool) {
        self.servers.lock().retain(|address, _| is_used(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    #[async_trait]
    impl Connect for Nobody {
        async fn connect(&self, _: &str) -> Result<Wire, WireError> {
            Err(WireError::Refused("nobody".to_owned()))
        }
    }

    #[test]
    fn a_server_that_fails_is_left_alone_longer_and_longer() {
        let (pool, now) = (Pool::new(Box::new(Nobody), 1), Instant::now());
        pool.failed("a", now);
        pool.failed("a", now);
        assert!(pool.is_up("a", now));
        pool.failed("a", now);
        assert!(!pool.is_up("a", now) && pool.is_up("a", now + FIRST_PAUSE) && pool.is_up("b", now));
        pool.failed("a", now);
        assert!(!pool.is_up("a", now + FIRST_PAUSE));
        for _ in 0..100 {
            pool.failed("a", now);
        }
        assert!(pool.is_up("a", now + MAX_PAUSE));
    }
}
