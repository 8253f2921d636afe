//! Asking everybody who offers something, at once.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};
use http::uri::PathAndQuery;
use prost::Message;
use sabre_proto::thanos::PartialResponseStrategy;
use sabre_runtime::budget::{Budget, Reservation};
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    metadata::{MetadataKey, MetadataValue},
    transport::Channel,
};

use super::allowance::Allowance;
use crate::{
    endpoints::{Api, Endpoint, Pool},
    fanout::Shape,
    http::{failure::ApiFailure, options::ApiOptions, tenant::Tenant},
    raw_codec::RawCodec,
};

/// However many peers are asked, a message of one may have so many bytes.
const MIN_MESSAGE_BYTES: usize = 32 << 20;

/// However much memory there is: a message is charged once all of it is there.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// However small the budget is, the answers of all may take so many bytes together, if they are free.
const MIN_ANSWERS_BYTES: usize = 64 << 20;

/// The share of the budget that the answers to one call may take, if no limit is given.
const BUDGET_SHARE: u64 = 4;

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
    /// Most bytes that the answers of all together may take in memory.
    pub max_bytes: usize,
    /// What they are charged to.
    pub budget: Budget,
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
    /// What flags say of them.
    pub fn of(options: &ApiOptions) -> Self {
        let share = options.budget.limit_bytes() / BUDGET_SHARE;
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        Self {
            timeout: options.timeout,
            max_bytes: options.max_peer_bytes.unwrap_or(share.max(MIN_ANSWERS_BYTES)),
            budget: options.budget.clone(),
        }
    }
}

impl Call {
    pub(crate) fn new(what: &'static str, partial: bool, options: &ApiOptions, tenant: &Tenant) -> Self {
        Self {
            what,
            partial,
            limits: PeerLimits::of(options),
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

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.limits.timeout);
        for (name, value) in &self.metadata {
            let name = MetadataKey::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, MetadataValue::try_from(value.as_str())) {
                request.metadata_mut().insert(name, value);
            }
        }
        request
    }
}

/// Asks everybody who offers what is asked for. `message` makes the request for a peer, `None` to leave it out.
pub(super) async fn gather<Q, R, T>(
    pool: &Pool,
    call: &Call,
    question: Question<R, T>,
    message: impl Fn(&Endpoint) -> Option<Q>,
) -> Result<Gathered<T>, ApiFailure>
where
    Q: Message + Clone + 'static,
    R: Message + Default + 'static,
{
    let PeerLimits {
        timeout: patience,
        max_bytes,
        ref budget,
    } = call.limits;
    let allowance = Allowance::new(max_bytes, budget.clone());
    let peers = pool.channels(question.api);
    let share = max_bytes.checked_div(peers.len()).unwrap_or(max_bytes);
    let most_bytes = share.clamp(MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES).min(max_bytes);
    let mut asked = Vec::new();
    for (endpoint, channels) in peers {
        let Some(message) = message(&endpoint) else {
            continue;
        };
        let (allowance, question) = (&allowance, &question);
        asked.push(async move {
            let mut said = Vec::new();
            let asking = async {
                let mut ended = Ok(());
                for channel in channels {
                    let request = call.request(message.clone());
                    ended = read_all(channel, request, question, most_bytes, allowance, &mut said).await;
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
        charge: Arc::new(allowance.into_charge()),
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

/// Reads until the end, the first error, or more than is allowed. What was read counts in any case.
async fn read_all<Q, R, T>(
    channel: Channel,
    request: Request<Q>,
    question: &Question<R, T>,
    most_bytes: usize,
    allowance: &Allowance,
    said: &mut Vec<Said<T>>,
) -> Result<(), Status>
where
    Q: Message + 'static,
    R: Message + Default,
{
    let mut client = Grpc::new(channel).max_decoding_message_size(most_bytes);
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static(question.path);
    let answers = client.server_streaming(request, path, RawCodec::new()).await?;
    let mut answers = answers.into_inner();
    while let Some(message) = answers.next().await {
        let message = message.map_err(|status| too_long(status, most_bytes))?;
        said.push(question.read(message, allowance).await?);
    }
    Ok(())
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
        "{text}; a message may have {most_bytes} bytes: raise --sabre.memory-budget"
    ))
}

fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
