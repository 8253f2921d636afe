//! Everybody the querier may ask: known endpoints, what they are, and whether they answer.
//!
//! A [`Pool`] is a list that is replaced at every round of `refresh`: names are looked up, everybody is asked who they are (`info`), and
//! whoever does not answer keeps what it said last until it is forgotten. A request takes what is there when it starts.

mod dial;
mod endpoint;
mod info;
mod peer;
mod refresh;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::RwLock;
use sabre_model::Labels;
use tonic::transport::Channel;

pub use dial::ClientOptions;
pub use endpoint::{Endpoint, EndpointKind};
pub use peer::{PeerInfo, StoreFacts, TsdbRange};
pub use refresh::{RefreshOptions, Refresher};

/// What peers may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// `thanos.Store`.
    Store,
    /// `thanos.Rules`.
    Rules,
    /// `thanos.Targets`.
    Targets,
    /// `thanos.Metadata`.
    Metadata,
    /// `thanos.Exemplars`.
    Exemplars,
    /// `thanos.Query`.
    Query,
    /// `thanos.Status`.
    Status,
}

/// What is known of an endpoint, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// `host:port`, or the name of a group.
    pub address: String,
    /// What it says it is (`sidecar`, `store`, ...); `None` as long as it never answered.
    pub component: Option<String>,
    /// Its external labels, one set for each stream of data behind it.
    pub label_sets: Vec<Labels>,
    /// The first time it has, in milliseconds.
    pub mint: i64,
    /// The last time it has, in milliseconds.
    pub maxt: i64,
    /// When it was last asked who it is, in milliseconds since 1970; `None` if it was not yet.
    pub last_check_ms: Option<i64>,
    /// What went wrong then.
    pub last_error: Option<String>,
    /// Whether requests go to it.
    pub healthy: bool,
    /// What it offers, sorted.
    pub apis: Vec<Api>,
}

/// All known endpoints. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// Sorted by address.
    endpoints: Arc<RwLock<Arc<[Arc<Endpoint>]>>>,
}

impl Pool {
    /// A pool of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// All endpoints, sorted by address.
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.endpoints.read())
    }

    /// What is known of all endpoints, sorted by address.
    pub fn statuses(&self) -> Vec<EndpointStatus> {
        self.endpoints()
            .iter()
            .map(|endpoint| endpoint.status())
            .collect()
    }

    /// Whom to ask for something all of whose answers are wanted: healthy endpoints that offer `api`, with the
    /// connections that are to be tried, one at least.
    pub fn channels(&self, api: Api) -> Vec<(Arc<Endpoint>, Vec<Channel>)> {
        let mut asked = Vec::new();
        for endpoint in self.endpoints().iter().filter(|endpoint| endpoint.offers(api)) {
            let channels = endpoint.channels();
            if !channels.is_empty() {
                asked.push((Arc::clone(endpoint), channels));
            }
        }
        asked
    }

    /// Puts these endpoints in the place of all others.
    pub fn replace(&self, mut endpoints: Vec<Arc<Endpoint>>) {
        endpoints.sort_by(|a, b| a.address().cmp(b.address()));
        *self.endpoints.write() = endpoints.into();
    }
}
