//! Asking everybody who offers something, at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, future::join_all};
use prost::Message;
use sabre_proto::thanos::PartialResponseStrategy;
use tokio::time::timeout;
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{MetadataKey, MetadataValue},
    transport::Channel,
};

use crate::{
    endpoints::{Api, Endpoint, Pool},
    http::{failure::ApiFailure, options::ApiOptions, tenant::Tenant},
};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// How long each may take.
    pub timeout: Duration,
    /// Most bytes of the answers of all together.
    pub max_bytes: usize,
}

/// What all peers said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gathered<T> {
    /// Peer by peer, sorted by their addresses.
    pub(crate) items: Vec<T>,
    /// Of peers, and of those that failed.
    pub(crate) warnings: Vec<String>,
}

/// A message of a peer, taken apart.
pub(super) enum Said<T> {
    Item(T),
    Warning(String),
    Nothing,
}

/// What is left of the bytes of a call.
struct Allowance {
    left: AtomicUsize,
    limit: usize,
}

impl PeerLimits {
    /// What flags say of them.
    pub fn of(options: &ApiOptions) -> Self {
        Self {
            timeout: options.timeout,
            max_bytes: options.max_peer_bytes,
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

/// Asks everybody who offers `api`. `message` makes the request for a peer, `None` to leave it out; `ask` sends it, and
/// gets the most bytes a message may have; `read` takes the answers apart.
pub(super) async fn gather<Q, R, T, F>(
    pool: &Pool,
    api: Api,
    call: &Call,
    message: impl Fn(&Endpoint) -> Option<Q>,
    ask: impl Fn(Channel, Request<Q>, usize) -> F,
    read: fn(R) -> Said<T>,
) -> Result<Gathered<T>, ApiFailure>
where
    R: Message + Default + 'static,
    F: Future<Output = Result<Response<Streaming<R>>, Status>>,
{
    let PeerLimits {
        timeout: patience,
        max_bytes,
    } = call.limits;
    let allowance = Allowance {
        left: AtomicUsize::new(max_bytes),
        limit: max_bytes,
    };
    let mut asked = Vec::new();
    for (endpoint, channel) in pool.channels(api) {
        let Some(message) = message(&endpoint) else {
            continue;
        };
        let answer = ask(channel, call.request(message), max_bytes);
        let allowance = &allowance;
        asked.push(async move {
            let mut said = Vec::new();
            let reading = read_all(answer, read, allowance, &mut said);
            let ended = match timeout(patience, reading).await {
                Ok(ended) => ended.map_err(|status| describe(&status)),
                Err(_) => Err(format!("no answer within {} s", patience.as_secs_f64())),
            };
            (endpoint, said, ended)
        });
    }
    let mut gathered = Gathered {
        items: Vec::new(),
        warnings: Vec::new(),
    };
    for (endpoint, said, ended) in join_all(asked).await {
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
async fn read_all<R: Message, T>(
    answer: impl Future<Output = Result<Response<Streaming<R>>, Status>>,
    read: fn(R) -> Said<T>,
    allowance: &Allowance,
    said: &mut Vec<Said<T>>,
) -> Result<(), Status> {
    let mut answers = answer.await?.into_inner();
    while let Some(message) = answers.next().await {
        let message = message?;
        allowance.take(message.encoded_len())?;
        said.push(read(message));
    }
    Ok(())
}

impl Allowance {
    fn take(&self, bytes: usize) -> Result<(), Status> {
        // Empty messages take memory too.
        let bytes = bytes.saturating_add(64);
        let taken = self
            .left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        taken.map(drop).map_err(|_| {
            let limit = self.limit;
            Status::resource_exhausted(format!("answers of all peers are longer than {limit} bytes"))
        })
    }
}

fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
