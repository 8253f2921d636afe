//! Handshakes of TLS: no client may hold one open for long, and no number of them may take the memory of the process.

use std::{collections::VecDeque, fmt, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::metrics::{Counters, Registry};

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take once the server stops: a client that means it is done by then.
const PATIENCE_AT_STOP: Duration = Duration::from_secs(2);
/// How many may be under way; the oldest makes room for the next, so that a flood that goes nowhere shuts nobody out.
const MAX_UNDER_WAY: usize = 256;

/// Gives the settings of the next handshake; it may wait for files.
pub(crate) type ConfigSource = dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync;

/// TLS of one server.
pub(crate) struct Handshakes {
    name: &'static str,
    config: Arc<ConfigSource>,
    under_way: UnderWay,
    failures: Counters<2>,
}

/// Handshakes that have not ended, oldest first.
#[derive(Debug)]
struct UnderWay {
    max: usize,
    slots: Mutex<VecDeque<CancellationToken>>,
}

/// A place among them, until it is dropped.
struct Slot<'a> {
    under_way: &'a UnderWay,
    crowded_out: CancellationToken,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("it took too long")]
    TooSlow,
    #[error("it made room for later ones")]
    CrowdedOut,
    #[error("the settings cannot be had")]
    NoConfig,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// Label of the metric.
    fn reason(&self) -> &'static str {
        match self {
            Self::TooSlow => "timeout",
            Self::CrowdedOut => "crowded_out",
            Self::NoConfig => "no_config",
            Self::Failed(_) => "failed",
        }
    }
}

impl Handshakes {
    /// Makes the TLS of the server `name`, with its metric.
    pub(crate) fn new(name: &'static str, config: Arc<ConfigSource>, registry: &Registry) -> Self {
        let failures = registry.counters(
            "sabre_tls_handshake_failures_total",
            "TLS handshakes of clients that came to nothing",
            ["server", "reason"],
        );
        for reason in ["timeout", "crowded_out", "no_config", "failed"] {
            failures.with([name, reason]);
        }
        Self {
            name,
            config,
            under_way: UnderWay {
                max: MAX_UNDER_WAY,
                slots: Mutex::default(),
            },
            failures,
        }
    }

    /// Lets fewer be under way.
    #[cfg(test)]
    pub(crate) fn at_most(mut self, max: usize) -> Self {
        self.under_way = UnderWay {
            max,
            slots: Mutex::default(),
        };
        self
    }

    /// Shakes hands, within the time that there is.
    ///
    /// # Errors
    /// Why it came to nothing; it is counted.
    pub(crate) async fn shake(
        &self,
        stream: TcpStream,
        stop: &CancellationToken,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let slot = self.under_way.enter();
        let at_stop = async {
            stop.cancelled().await;
            tokio::time::sleep(PATIENCE_AT_STOP).await;
        };
        let outcome = tokio::select! {
            biased;
            () = slot.crowded_out.cancelled() => Err(HandshakeError::CrowdedOut),
            outcome = timeout(PATIENCE, self.accept(stream)) => {
                outcome.unwrap_or(Err(HandshakeError::TooSlow))
            }
            () = at_stop => Err(HandshakeError::TooSlow),
        };
        if let Err(error) = &outcome {
            self.failures.with([self.name, error.reason()]).inc();
        }
        outcome
    }

    /// Looks at the files although no client comes, so that metrics and log tell of them.
    pub(crate) async fn look(&self) {
        let source = Arc::clone(&self.config);
        // What it gives is for clients.
        drop(crate::blocking(move || source()).await);
    }

    async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let source = Arc::clone(&self.config);
        let config = crate::blocking(move || source()).await;
        let config = config.ok().flatten().ok_or(HandshakeError::NoConfig)?;
        Ok(TlsAcceptor::from(config).accept(stream).await?)
    }
}

impl UnderWay {
    fn enter(&self) -> Slot<'_> {
        let crowded_out = CancellationToken::new();
        let mut slots = self.slots.lock();
        while slots.len() >= self.max.max(1) {
            if let Some(oldest) = slots.pop_front() {
                oldest.cancel();
            }
        }
        slots.push_back(crowded_out.clone());
        Slot {
            under_way: self,
            crowded_out,
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // Cancelled or not, nobody waits for it any more: the mark is how it is found.
        self.crowded_out.cancel();
        self.under_way.slots.lock().retain(|slot| !slot.is_cancelled());
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handshakes")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_handshake_makes_room_and_ended_ones_take_none() {
        let under_way = UnderWay {
            max: 3,
            slots: Mutex::default(),
        };
        let first = under_way.enter();
        let (second, third) = (under_way.enter(), under_way.enter());
        assert!(!first.crowded_out.is_cancelled());
        let fourth = under_way.enter();
        assert!(first.crowded_out.is_cancelled() && !second.crowded_out.is_cancelled());
        drop(first);
        drop(third);
        let fifth = under_way.enter();
        assert!(!second.crowded_out.is_cancelled() && !fourth.crowded_out.is_cancelled());
        assert_eq!(under_way.slots.lock().len(), 3);
        drop((second, fourth, fifth));
        assert!(under_way.slots.lock().is_empty());
    }
}
