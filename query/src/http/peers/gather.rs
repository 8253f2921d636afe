//! Asking everybody who offers something, at once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use prost::Message;
use sabre_proto::thanos::PartialResponseStrategy;
use sabre_runtime::{
    budget::{Budget, Reservation},
    metrics::Registry,
};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

use super::allowance::{Allowance, MEMORY_PATIENCE};
use crate::{
    endpoints::{Api, Endpoint, Pool},
    fanout::{self, ClientMetrics, Shape},
    http::{failure::ApiFailure, options::ApiOptions, tenant::Tenant},
};

/// However many peers are asked, a message of one may have so many bytes.
const MIN_MESSAGE_BYTES: usize = 32 << 20;

/// However much memory there is.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// However small the budget is, the answers of all may take so many bytes together, if they are free.
const MIN_ANSWERS_BYTES: usize = 64 << 20;

/// The share of the budget that the answers to one call may take, if no limit is given.
const BUDGET_SHARE: u64 = 4;

/// The flag that errors about memory name.
const BUDGET_FLAG: &str = "--sabre.memory-budget";

/// How peers are asked.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What is asked for, as errors name it.
    pub(crate) what: &'static str,
    /// Whether an answer without a peer that fails is better than none.
    pub(crate) partial: bool,
    pub(crate) limits: PeerLimits,
    metadata: Vec<(String, String)>,
}

/// How long peers may take, and how much they may say.
#[derive(Clone, Debug)]
pub struct PeerLimits {
    /// How long each may take.
    pub timeout: Duration,
    /// Most bytes that the answers of all together may take in memory, and most that messages may that are under way.
    pub max_bytes: usize,
    /// What they are charged to.
    pub budget: Budget,
    calls: ClientMetrics,
}

/// What all peers said.
#[derive(Clone, Debug)]
pub(crate) struct Gathered<T> {
    /// Peer by peer, sorted by their addresses.
    pub(crate) items: Vec<T>,
    /// Of peers, and of those that failed.
    pub(crate) warnings: Vec<String>,
    /// What it is charged; to be kept as long as it, or what is made of it.
    pub(crate) charge: Arc<Reservation>,
}

/// A message of a peer, taken apart.
pub(super) enum Said<T> {
    Item(T),
    Warning(String),
    Nothing,
}

/// What is asked, and how answers are read.
#[derive(Debug)]
pub(super) struct Question<R, T> {
    pub(super) api: Api,
    pub(super) path: &'static str,
    /// What an answer takes in memory.
    pub(super) shape: &'static Shape,
    /// Takes an answer apart.
    pub(super) read: fn(R) -> Said<T>,
}

impl PeerLimits {
    /// What flags say of them; calls are counted in `registry`.
    pub fn of(options: &ApiOptions, registry: &Registry) -> Self {
        let share = options.budget.limit_bytes() / BUDGET_SHARE;
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        Self {
            timeout: options.timeout,
            max_bytes: options.max_peer_bytes.unwrap_or(share.max(MIN_ANSWERS_BYTES)),
            budget: options.budget.clone(),
            calls: ClientMetrics::register(registry),
        }
    }
}

impl Call {
    pub(crate) fn new(what: &'static str, partial: bool, limits: PeerLimits, tenant: &Tenant) -> Self {
        Self {
            what,
            partial,
            limits,
            metadata: tenant.metadata(),
        }
    }

    /// A call that another querier makes, with its `thanos.PartialResponseStrategy` and what it wants to go on to peers.
    pub(crate) fn handed_down(
        what: &'static str,
        strategy: i32,
        limits: PeerLimits,
        metadata: Vec<(String, String)>,
    ) -> Self {
        Self {
            what,
            partial: strategy != i32::from(PartialResponseStrategy::Abort),
            limits,
            metadata,
        }
    }

    /// `thanos.PartialResponseStrategy`.
    pub(crate) fn strategy(&self) -> i32 {
        match self.partial {
            true => PartialResponseStrategy::Warn.into(),
            false => PartialResponseStrategy::Abort.into(),
        }
    }

    /// What goes with every question.
    fn metadata(&self) -> Vec<(String, String)> {
        let mut metadata = self.metadata.clone();
        let timeout = fanout::timeout_text(self.limits.timeout);
        metadata.push(("grpc-timeout".to_owned(), timeout));
        metadata
    }
}

/// How each message of a peer is read.
struct Reading<'c> {
    call: &'c Call,
    metadata: Vec<(String, String)>,
    /// What messages are charged to while they come.
    budget: Budget,
    /// What a connection may read ahead.
    window_bytes: u64,
    /// The longest message.
    most_bytes: usize,
    /// What is made of them.
    allowance: Allowance,
}

/// Asks everybody who offers what is asked for. `message` makes the request for a peer, `None` to leave it out.
pub(super) async fn gather<Q, R, T>(
    pool: &Pool,
    call: &Call,
    question: Question<R, T>,
    message: impl Fn(&Endpoint) -> Option<Q>,
) -> Result<Gathered<T>, ApiFailure>
where
    Q: Message,
    R: Message + Default,
{
    let peers = pool.channels(question.api);
    let reading = Reading::new(call, peers.len());
    let patience = call.limits.timeout;
    let mut asked = Vec::new();
    for (endpoint, channels) in peers {
        let Some(message) = message(&endpoint) else {
            continue;
        };
        let (reading, question) = (&reading, &question);
        asked.push(async move {
            let mut said = Vec::new();
            let asking = async {
                let mut ended = Ok(());
                for channel in channels {
                    ended = reading
                        .all(&endpoint, channel, &message, question, &mut said)
                        .await;
                    // Another server of a group may say what this one cannot.
                    let silent = matches!(&ended, Err(status) if status.code() == Code::Unavailable);
                    if !silent || !said.is_empty() {
                        break;
                    }
                }
                ended
            };
            let ended = match timeout(patience, asking).await {
                Ok(ended) => ended.map_err(|status| describe(&status)),
                Err(_) => Err(format!("no answer within {} s", patience.as_secs_f64())),
            };
            (endpoint, said, ended)
        });
    }
    let answers = join_all(asked).await;
    let mut gathered = Gathered {
        items: Vec::new(),
        warnings: Vec::new(),
        charge: Arc::new(reading.allowance.into_charge()),
    };
    for (endpoint, said, ended) in answers {
        for said in said {
            match said {
                Said::Item(item) => gathered.items.push(item),
                Said::Warning(warning) => gathered.warnings.push(warning),
                Said::Nothing => {}
            }
        }
        if let Err(problem) = ended {
            let text = format!("fetching {} from {}: {problem}", call.what, endpoint.address());
            if !call.partial {
                return Err(ApiFailure::internal(format!("retrieving {}: {text}", call.what)));
            }
            gathered.warnings.push(text);
        }
    }
    Ok(gathered)
}

impl<'c> Reading<'c> {
    fn new(call: &'c Call, peers: usize) -> Self {
        let PeerLimits {
            max_bytes, budget, ..
        } = &call.limits;
        let share = max_bytes.checked_div(peers).unwrap_or(*max_bytes);
        let under_way = budget.limited_child(call.what, *max_bytes as u64, BUDGET_FLAG);
        Self {
            call,
            metadata: call.metadata(),
            window_bytes: fanout::window_bytes(&under_way, peers),
            budget: under_way,
            most_bytes: share.clamp(MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES).min(*max_bytes),
            allowance: Allowance::new(*max_bytes, budget.clone()),
        }
    }

    /// Reads until the end, the first error, or more than is allowed. What was read counts in any case.
    async fn all<R: Message + Default, T>(
        &self,
        endpoint: &Endpoint,
        channel: Channel,
        message: &impl Message,
        question: &Question<R, T>,
        said: &mut Vec<Said<T>>,
    ) -> Result<(), Status> {
        let window = self
            .budget
            .reserve_within(self.window_bytes, MEMORY_PATIENCE)
            .await;
        let call = fanout::Call {
            channels: vec![channel],
            path: question.path,
            metadata: &self.metadata,
            reserved: window.map_err(|error| Status::resource_exhausted(error.to_string()))?,
            max_message_bytes: self.most_bytes,
            metrics: self
                .call
                .limits
                .calls
                .start(question.path)
                .about(endpoint.address()),
        };
        let mut messages = fanout::start(call, message).await?;
        while let Some(message) = messages
            .next()
            .await
            .map_err(|status| too_long(status, self.most_bytes))?
        {
            said.push(question.read(message, &self.allowance).await?);
        }
        Ok(())
    }
}

impl<R: Message + Default, T> Question<R, T> {
    async fn read(&self, message: Bytes, allowance: &Allowance) -> Result<Said<T>, Status> {
        let none =
            |error: &dyn std::fmt::Display| Status::internal(format!("an answer that is none: {error}"));
        let weight = self.shape.weigh(&message).map_err(|error| none(&error))?;
        allowance.take(weight).await?;
        let message = R::decode(message).map_err(|error| none(&error))?;
        Ok((self.read)(message))
    }
}

/// Says of a message that is longer than is read which flag decides that.
fn too_long(status: Status, most_bytes: usize) -> Status {
    if status.code() != Code::OutOfRange || most_bytes == MAX_MESSAGE_BYTES {
        return status;
    }
    let text = status.message();
    Status::resource_exhausted(format!(
        "{text}; a message may have {most_bytes} bytes: raise {BUDGET_FLAG}"
    ))
}

fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
