//! Keeping the pool in step with what is there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use sabre_runtime::{
    clock,
    metrics::{Gauges, Registry},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Endpoint, EndpointStatus, PeerInfo, Pool, dial::dial, info};
use crate::discovery::{EndpointSpec, Sources, rounded};

/// Endpoints that are asked at once.
const ASKED_AT_ONCE: usize = 64;

/// Servers of a group that are asked at once.
const SERVERS_AT_ONCE: usize = 16;

/// The longest text of external labels in a metric.
const MAX_LABELS_BYTES: usize = 1000;

/// When endpoints are asked, and given up.
#[derive(Clone, Copy, Debug)]
pub struct RefreshOptions {
    /// `--endpoint.info-timeout`: how long an endpoint may take to say who it is, and how often it is asked.
    pub info_timeout: Duration,
    /// `--store.unhealthy-timeout`: who does not answer for so long is forgotten.
    pub unhealthy_timeout: Duration,
}

/// Asks endpoints who they are, again and again.
#[derive(Debug)]
pub struct Refresher {
    pool: Pool,
    sources: Sources,
    options: RefreshOptions,
    /// By address; also those that are forgotten, in case they come back.
    known: BTreeMap<String, (EndpointSpec, Arc<Endpoint>)>,
    connections: Gauges<2>,
}

impl Refresher {
    /// Keeps `pool` in step with `sources`.
    pub fn new(pool: Pool, sources: Sources, options: RefreshOptions, registry: &Registry) -> Self {
        let connections = registry.gauges(
            "thanos_store_nodes_grpc_connections",
            "Endpoints that answer, by their external labels and what they are",
            ["external_labels", "store_type"],
        );
        Self {
            pool,
            sources,
            options,
            known: BTreeMap::new(),
            connections,
        }
    }

    /// One round: who should be there, and who is.
    pub async fn refresh(&mut self) {
        let specs = self.sources.specs().await;
        self.meet(specs);
        let timeout = self.options.info_timeout;
        let asked = self
            .known
            .values()
            .map(|(_, endpoint)| ask(Arc::clone(endpoint), timeout));
        // Collected, because streams of borrowed things do not cross threads.
        let asked: Vec<_> = asked.collect();
        stream::iter(asked)
            .for_each_concurrent(ASKED_AT_ONCE, |asked| asked)
            .await;
        let now = Instant::now();
        let endpoints = self.known.values().map(|(_, endpoint)| endpoint);
        let kept = endpoints.filter(|endpoint| !endpoint.is_forgotten(now, self.options.unhealthy_timeout));
        self.pool.replace(kept.cloned().collect());
        self.report();
    }

    /// Refreshes until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = tokio::time::sleep(self.options.info_timeout);
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.refresh() => {}
            }
        }
    }

    /// Keeps connections to those who stay, makes those to new ones, and drops the others.
    fn meet(&mut self, specs: Vec<EndpointSpec>) {
        let mut before = std::mem::take(&mut self.known);
        for spec in specs {
            let kept = before.remove(&spec.address);
            let endpoint = match kept {
                Some((old, endpoint)) if (old.kind, &old.client) == (spec.kind, &spec.client) => {
                    if old.servers != spec.servers {
                        endpoint.set_channels(channels(&spec));
                    }
                    endpoint
                }
                _ => {
                    tracing::info!(address = spec.address, strict = spec.kind.strict, "new endpoint");
                    let channels = channels(&spec);
                    Arc::new(Endpoint::new(spec.address.as_str(), spec.kind, channels))
                }
            };
            self.known.insert(spec.address.clone(), (spec, endpoint));
        }
        for address in before.keys() {
            tracing::info!(address, "endpoint is gone");
        }
    }

    fn report(&self) {
        let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
        for status in self.pool.statuses().iter().filter(|status| status.healthy) {
            let component = status.component.clone().unwrap_or_else(|| "store".to_owned());
            *counts.entry((label_sets_text(status), component)).or_default() += 1;
        }
        self.connections.clear();
        for ((labels, component), count) in &counts {
            self.connections.with([labels, component]).set(*count);
        }
    }
}

fn channels(spec: &EndpointSpec) -> Vec<tonic::transport::Channel> {
    let servers = match spec.kind.group {
        true => spec.servers.as_slice(),
        false => std::slice::from_ref(&spec.address),
    };
    // The servers of a group are called by its name, not by their addresses.
    let name = spec.kind.group.then(|| {
        let name = spec
            .address
            .split_once('+')
            .map_or(spec.address.as_str(), |(_, name)| name);
        name.to_owned()
    });
    let dialled = servers.iter().filter_map(|server| {
        let channel = dial(server, name.as_deref(), &spec.client);
        channel
            .inspect_err(|error| tracing::warn!(address = spec.address, error, "endpoint cannot be asked"))
            .ok()
    });
    dialled.collect()
}

/// Asks an endpoint who it is, and notes what it says.
pub(super) async fn ask(endpoint: Arc<Endpoint>, timeout: Duration) {
    let outcome = ask_servers(&endpoint, timeout).await;
    if let Err(error) = &outcome {
        tracing::debug!(
            address = endpoint.address(),
            error,
            "endpoint does not say who it is"
        );
    }
    let now = Instant::now();
    tell(&endpoint, outcome.as_ref().err(), now);
    endpoint.note(outcome, clock::now_ms(), now);
}

/// Tells once that an endpoint does not answer, and once that it is back: it is asked every few seconds.
fn tell(endpoint: &Endpoint, error: Option<&String>, now: Instant) {
    let address = endpoint.address();
    match (endpoint.away_since(), error) {
        (None, Some(error)) if endpoint.is_new() && !endpoint.kind().strict => {
            tracing::warn!(
                address,
                error,
                "endpoint does not answer; until it does, queries leave it out without a warning"
            );
        }
        (None, Some(error)) => tracing::warn!(address, error, "endpoint does not answer any more"),
        (Some(since), None) => {
            let away_for = rounded(now.saturating_duration_since(since));
            tracing::info!(address, ?away_for, "endpoint answers again");
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
}

/// Asks all servers of an endpoint. As they have the same, the first that answers speaks for all.
async fn ask_servers(endpoint: &Endpoint, timeout: Duration) -> Result<PeerInfo, String> {
    let servers = endpoint.servers();
    let channels: Vec<_> = servers.iter().map(|server| server.channel.clone()).collect();
    let calls = channels.into_iter().map(|channel| info::ask(channel, timeout));
    let calls: Vec<_> = calls.collect();
    let answers: Vec<_> = stream::iter(calls).buffered(SERVERS_AT_ONCE).collect().await;
    let mut outcome = Err("its name stands for no server".to_owned());
    for (server, answer) in servers.iter().zip(answers) {
        server.note(answer.is_ok());
        if outcome.is_err() {
            outcome = answer;
        }
    }
    outcome
}

fn label_sets_text(status: &EndpointStatus) -> String {
    let texts: Vec<String> = status.label_sets.iter().map(ToString::to_string).collect();
    let mut text = texts.join(",");
    let mut end = MAX_LABELS_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
