//! One question to many stores, and their answers as one.
//!
//! | question | here |
//! |---|---|
//! | whom to ask | `choose` |
//! | how does a call go out and its answer come in | `messages`, `request` |
//! | what do the bytes say | `wire`, `weight` |
//! | what comes of one peer | `stream`, `tally` |
//! | how do many become one | `merge`, `chunks`, `labels` |
//!
//! Nothing is read ahead of the merge but what the window of a connection holds, so that the memory of a query does not
//! grow with the answer. A peer that fails, lies, is slow or sends without end costs its own share: a warning names it.

mod choose;
mod chunks;
mod client_metrics;
mod labels;
mod merge;
mod messages;
mod request;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod unpack;
mod weight;
mod wire;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, future::join_all, stream::unfold};
use sabre_model::{Labels, Matcher, relabel::RelabelConfig, shard::Shard};
use sabre_runtime::{
    grpc_server::MAX_MESSAGE_BYTES,
    metrics::{Counter, Registry},
};
use tokio::time::Instant;

use self::{
    choose::{Wanted, refusal},
    merge::Merge,
    stream::{Next, PeerFailure, PeerStream, Reading, within},
    tally::Tally,
};
use crate::{
    endpoints::{Api, Endpoint, PeerInfo, Pool},
    source::{Names, SelectOptions, SelectRequest, SeriesStream, SourceFailure, StoreSource},
};

pub(crate) use choose::without_own;
pub(crate) use client_metrics::ClientMetrics;
pub(crate) use messages::{Call, start};
pub(crate) use request::{timeout_text, window_bytes};
pub(crate) use tally::samples_of;
pub(crate) use weight::Shape;

/// What a connection may read ahead for one call.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1 << 20;

const SERIES: &str = "/thanos.Store/Series";

/// Reads what a peer may answer.
pub(crate) fn fuzz_answer(message: &bytes::Bytes) {
    wire::fuzz_answer(message);
    unpack::fuzz(message);
}

/// All stores behind the querier.
#[derive(Clone, Debug)]
pub struct Fanout {
    pool: Pool,
    options: FanoutOptions,
    empty_streams: Counter,
    calls: ClientMetrics,
}

/// How stores are asked.
#[derive(Clone, Debug, Default)]
pub struct FanoutOptions {
    /// The longest pause before a frame of an answer.
    pub response_timeout: Option<Duration>,
    /// Labels of the querier itself: requests that contradict them are answered with nothing.
    pub own_labels: Labels,
    /// Which external labels are asked for at all (`--selector.relabel-config`); empty for all.
    pub selector: Vec<RelabelConfig>,
    /// Whether answers are asked for under zstd, which peers send that speak it.
    pub asks_for_zstd: bool,
}

/// An endpoint that is to be asked.
struct Asked {
    endpoint: Arc<Endpoint>,
    peer: Arc<PeerInfo>,
    /// All that its series must match.
    matchers: Vec<Matcher>,
}

/// Who may have something.
#[derive(Default)]
struct Chosen {
    asked: Vec<Asked>,
    /// Those who answered not long ago and do not now, and why.
    absent: Vec<(String, String)>,
    /// How many matchers there are besides those on the querier's own labels.
    matchers: usize,
}

impl Fanout {
    /// Asks those in `pool`.
    pub fn new(pool: Pool, options: FanoutOptions, registry: &Registry) -> Self {
        let empty_streams = registry.counter(
            "thanos_proxy_store_empty_stream_responses_total",
            "Streams of stores that ended without an answer",
        );
        Self {
            pool,
            options,
            empty_streams,
            calls: ClientMetrics::register(registry),
        }
    }

    /// Labels of the querier itself.
    pub fn own_labels(&self) -> &Labels {
        &self.options.own_labels
    }

    /// Those who may have something; `None` if nobody can have anything.
    fn choose(
        &self,
        request: &SelectRequest,
        options: &SelectOptions,
    ) -> Result<Option<Chosen>, SourceFailure> {
        let Some(matchers) = without_own(&request.matchers, &self.options.own_labels) else {
            return Ok(None);
        };
        let known = self.pool.endpoints();
        if known.is_empty() && !options.partial_response {
            return Err(SourceFailure::Store(
                "no StoreAPIs are known: see --endpoint, and /stores for what became of them".to_owned(),
            ));
        }
        let wanted = Wanted {
            mint: request.mint,
            maxt: request.maxt,
            matchers: &matchers,
            store_matchers: &options.store_matchers,
        };
        let mut chosen = Chosen {
            matchers: matchers.len(),
            ..Chosen::default()
        };
        for endpoint in known.iter() {
            let Some(peer) = endpoint.peer() else { continue };
            if !peer.apis.contains(&Api::Store) {
                continue;
            }
            let picked = choose::picked(&self.options.selector, &peer.label_sets);
            let refused = match &picked {
                None => Some("the selector picks none of its external labels"),
                Some(_) => refusal(&wanted, endpoint.address(), &peer),
            };
            if let Some(reason) = refused {
                tracing::debug!(address = endpoint.address(), reason, "store is not asked");
                continue;
            }
            if let Some(error) = endpoint.absence() {
                chosen.absent.push((endpoint.address().to_owned(), error));
                continue;
            }
            let besides = picked.unwrap_or_default();
            chosen.asked.push(Asked {
                endpoint: Arc::clone(endpoint),
                peer,
                matchers: matchers.iter().cloned().chain(besides).collect(),
            });
        }
        // Where replicas say different things at the same times, the first one counts: which one that is must depend
        // neither on who answers first nor on addresses, which change with every restart.
        chosen.asked.sort_by(|a, b| {
            let sets = a.peer.label_sets.cmp(&b.peer.label_sets);
            sets.then_with(|| a.endpoint.address().cmp(b.endpoint.address()))
        });
        Ok(Some(chosen))
    }

    fn deadline(options: &SelectOptions) -> Option<Instant> {
        options.deadline.map(Instant::from_std)
    }

    /// Starts a call and reads what comes first.
    async fn open(
        &self,
        asked: Asked,
        request: &SelectRequest,
        options: &SelectOptions,
        window_bytes: u64,
    ) -> Result<(PeerStream, Result<Next, PeerFailure>), (Arc<str>, PeerFailure)> {
        let address: Arc<str> = asked.endpoint.address().into();
        let fail = |cause: &str| (Arc::clone(&address), PeerFailure::Peer(cause.to_owned()));
        let tally = Tally::start(&options.account, &address);
        let channels = asked.endpoint.channels();
        if channels.is_empty() {
            return Err(fail("the group has no server"));
        }
        let window = options
            .budget
            .reserve_within(window_bytes, request::PATIENCE)
            .await;
        let reserved =
            window.map_err(|error| (Arc::clone(&address), PeerFailure::Memory(error.to_string())))?;
        let reading = self.reading(&asked.peer, request, options);
        let call = Call {
            channels,
            path: SERIES,
            metadata: &request::metadata(options, reading.deadline, self.options.asks_for_zstd),
            reserved,
            max_message_bytes: MAX_MESSAGE_BYTES,
            metrics: self.calls.start(SERIES).about(&address),
        };
        let message = request::series(request, options, &asked.matchers);
        let call = messages::start(call, &message);
        let messages = match within(&reading, call).await {
            Ok(messages) => messages,
            Err(failure) => return Err((address, failure)),
        };
        let mut stream = PeerStream::new(address, reading, messages, tally);
        let first = stream.next().await;
        if matches!(first, Ok(Next::End)) && stream.is_empty() {
            self.empty_streams.inc();
        }
        Ok((stream, first))
    }

    fn reading(&self, peer: &PeerInfo, request: &SelectRequest, options: &SelectOptions) -> Reading {
        let store = &peer.store;
        let without = match store.supports_without_replica_labels {
            true => Vec::new(),
            false => options.without_replica_labels.clone(),
        };
        let shard = match (&request.shard, store.supports_sharding) {
            (Some(shard), false) => Shard::new(
                shard.shard_index,
                shard.total_shards,
                shard.by,
                shard.labels.clone(),
            ),
            _ => None,
        };
        Reading {
            without,
            shard,
            // External labels put the series of older peers out of order, with and without replica labels.
            sort: !store.supports_without_replica_labels,
            timeout: self.options.response_timeout,
            deadline: Self::deadline(options),
        }
    }
}

#[async_trait::async_trait]
impl StoreSource for Fanout {
    async fn select(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<SeriesStream, SourceFailure> {
        let Some(chosen) = self.choose(&request, &options)? else {
            return Ok(futures::stream::empty().boxed());
        };
        if chosen.matchers == 0 {
            return Err(SourceFailure::Store(
                "no matcher is left but those on the labels of the querier".to_owned(),
            ));
        }
        let window_bytes = request::window_bytes(&options.budget, chosen.asked.len());
        let calls = chosen
            .asked
            .into_iter()
            .map(|asked| self.open(asked, &request, &options, window_bytes));
        let opened = join_all(calls).await;
        let mut merge = Merge::new(options.partial_response, request.limit, options.budget.clone());
        for (address, error) in &chosen.absent {
            merge.add_failure(address, error);
        }
        for outcome in opened {
            match outcome {
                Ok((stream, first)) => merge.add(stream, first).await?,
                Err((address, PeerFailure::Peer(cause))) => merge.add_failure(&address, &cause),
                Err((_, PeerFailure::Memory(cause))) => return Err(SourceFailure::Limit(cause)),
                Err((address, PeerFailure::Deadline)) => return Err(request::too_late(&address)),
            }
        }
        let items = unfold(merge, |mut merge| async {
            let next = merge.next().await.transpose()?;
            Some((next, merge))
        });
        Ok(items.boxed())
    }

    async fn label_names(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        labels::names(self, &request, &options).await
    }

    async fn label_values(
        &self,
        label: &str,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<Names, SourceFailure> {
        labels::values(self, label, &request, &options).await
    }
}
