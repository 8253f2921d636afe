//! What goes wrong at one request.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;

use super::World;
use crate::cluster::transport::{Request, Response, TransportError};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Turned away with this status, without effect.
    Refused(u16),
    /// This status from something in between, with effect.
    GatewayAfter(u16),
    /// No answer, without effect.
    TimeoutBefore,
    /// No answer, with effect.
    TimeoutAfter,
    /// The connection breaks, without effect.
    CutBefore,
    /// The connection breaks, with effect.
    CutAfter,
    /// No connection.
    NoConnection,
    /// The process is killed before the request has its effect.
    KillBefore,
    /// The process is killed after it.
    KillAfter,
}

/// What happens to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepositoryTrouble {
    /// It cannot be read any more.
    Broken,
    /// It is not registered any more.
    Gone,
    /// It cannot be written to any more.
    ReadOnly,
}

impl RepositoryTrouble {
    pub(crate) const ALL: [RepositoryTrouble; 3] = [
        RepositoryTrouble::Broken,
        RepositoryTrouble::Gone,
        RepositoryTrouble::ReadOnly,
    ];

    pub(crate) fn happen(self, world: &mut World) {
        match self {
            RepositoryTrouble::Broken => world.repository_works = false,
            RepositoryTrouble::Gone => world.repository = None,
            RepositoryTrouble::ReadOnly => {
                world.repository = Some(json!({"type": "fs", "settings": {"readonly": "true"}}));
            }
        }
    }

    /// Puts everything right again.
    pub(crate) fn mend(world: &mut World) {
        world.repository_works = true;
        world.repository = Some(json!({"type": "fs", "settings": {}}));
    }
}

impl Fault {
    /// Everything but the ends of the process.
    pub(crate) const BAD_ANSWERS: [Fault; 10] = [
        Fault::Refused(429),
        Fault::Refused(503),
        Fault::Refused(504),
        Fault::Refused(403),
        Fault::GatewayAfter(504),
        Fault::TimeoutBefore,
        Fault::TimeoutAfter,
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::NoConnection,
    ];

    pub(crate) fn has_effect(self) -> bool {
        matches!(
            self,
            Fault::GatewayAfter(_) | Fault::TimeoutAfter | Fault::CutAfter | Fault::KillAfter
        )
    }

    pub(crate) async fn strike(self, request: &Request, killed: &Notify) -> Result<Response, TransportError> {
        let page = |status| Response {
            status,
            body: Bytes::from_static(b"<html>upstream request timeout</html>"),
            retry_after: Some(Duration::from_secs(1)),
        };
        match self {
            Fault::Refused(status) | Fault::GatewayAfter(status) => Ok(page(status)),
            Fault::TimeoutBefore | Fault::TimeoutAfter => {
                tokio::time::sleep(request.timeout).await;
                Err(TransportError::Timeout(request.timeout))
            }
            Fault::CutBefore | Fault::CutAfter => Err(TransportError::Cut("reset by peer".to_owned())),
            Fault::NoConnection => Err(TransportError::Connect(
                "http://cluster.test/: refused".to_owned(),
            )),
            Fault::KillBefore | Fault::KillAfter => {
                killed.notify_one();
                std::future::pending().await
            }
        }
    }
}
