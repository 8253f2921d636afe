//! Names and values of labels of all stores: few and small, so that they are gathered whole.

use std::collections::BTreeSet;

use futures::future::join_all;
use prost::Message;
use sabre_proto::thanos::{LabelNamesResponse, LabelValuesResponse};
use sabre_runtime::grpc_server::MAX_MESSAGE_BYTES;
use tonic::Status;

use super::{
    Asked, Chosen, Fanout,
    messages::{self, Call, Messages},
    request,
    stream::{MAX_WARNINGS, PeerFailure, Reading, within},
    tally::Tally,
    wire::{self, WireError},
};
use crate::source::{Names, SelectOptions, SelectRequest, SourceFailure};

const LABEL_NAMES: &str = "/thanos.Store/LabelNames";
const LABEL_VALUES: &str = "/thanos.Store/LabelValues";

/// What an allocator adds to a short text.
const ALLOCATION_BYTES: usize = 16;

/// What a peer says: texts, and warnings. With the call, which holds the bytes they are charged to.
struct Said {
    texts: Vec<String>,
    warnings: Vec<String>,
    _call: Messages,
}

pub(super) async fn names(
    fanout: &Fanout,
    request: &SelectRequest,
    options: &SelectOptions,
) -> Result<Names, SourceFailure> {
    let Some(chosen) = fanout.choose(request, options)? else {
        return Ok(Names::default());
    };
    let message = |asked: &Asked| request::label_names(request, options, &asked.matchers);
    let messages = chosen.asked.iter().map(message).collect();
    let read = |bytes: &[u8]| LabelNamesResponse::decode(bytes).map(|said| (said.names, said.warnings));
    let (mut names, warnings) = gather(fanout, chosen, LABEL_NAMES, messages, options, read).await?;
    // Older peers do not know that they are not wanted.
    names.retain(|name| !options.without_replica_labels.contains(name));
    Ok((cut(names, request.limit), warnings))
}

pub(super) async fn values(
    fanout: &Fanout,
    label: &str,
    request: &SelectRequest,
    options: &SelectOptions,
) -> Result<Names, SourceFailure> {
    if options
        .without_replica_labels
        .iter()
        .any(|without| without == label)
    {
        return Ok(Names::default());
    }
    let Some(chosen) = fanout.choose(request, options)? else {
        return Ok(Names::default());
    };
    let message = |asked: &Asked| request::label_values(label, request, options, &asked.matchers);
    let messages = chosen.asked.iter().map(message).collect();
    let read = |bytes: &[u8]| LabelValuesResponse::decode(bytes).map(|said| (said.values, said.warnings));
    let (values, warnings) = gather(fanout, chosen, LABEL_VALUES, messages, options, read).await?;
    Ok((cut(values, request.limit), warnings))
}

fn cut(texts: BTreeSet<String>, limit: u64) -> Vec<String> {
    let most = match limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    texts.into_iter().take(most).collect()
}

async fn gather<M, R>(
    fanout: &Fanout,
    chosen: Chosen,
    path: &'static str,
    messages: Vec<M>,
    options: &SelectOptions,
    read: R,
) -> Result<(BTreeSet<String>, Vec<String>), SourceFailure>
where
    M: Message,
    R: Fn(&[u8]) -> Result<(Vec<String>, Vec<String>), prost::DecodeError>,
{
    let window_bytes = request::window_bytes(&options.budget, chosen.asked.len());
    let asked = chosen.asked.iter().zip(&messages);
    let calls = asked.map(|(asked, message)| ask(fanout, asked, path, message, options, window_bytes, &read));
    let answers = join_all(calls).await;
    let mut texts = BTreeSet::new();
    let absent = chosen.absent.iter();
    let mut warnings: Vec<String> = absent
        .map(|(address, error)| format!("fetch labels from {address}: {error}"))
        .collect();
    for (asked, answer) in chosen.asked.iter().zip(answers) {
        let address = asked.endpoint.address();
        match answer {
            Ok(said) => {
                texts.extend(said.texts);
                let told = said.warnings.iter().take(MAX_WARNINGS);
                warnings.extend(told.map(|text| format!("{address}: {}", wire::told(text))));
            }
            Err(PeerFailure::Peer(cause)) => warnings.push(format!("fetch labels from {address}: {cause}")),
            Err(PeerFailure::Memory(cause)) => return Err(SourceFailure::Limit(cause)),
            Err(PeerFailure::Deadline) => return Err(request::too_late(address)),
        }
    }
    match warnings.first() {
        Some(first) if !options.partial_response => Err(SourceFailure::Store(first.clone())),
        _ => Ok((texts, warnings)),
    }
}

async fn ask<M: Message>(
    fanout: &Fanout,
    asked: &Asked,
    path: &'static str,
    message: &M,
    options: &SelectOptions,
    window_bytes: u64,
    read: impl Fn(&[u8]) -> Result<(Vec<String>, Vec<String>), prost::DecodeError>,
) -> Result<Said, PeerFailure> {
    let fail = |cause: &str| PeerFailure::Peer(cause.to_owned());
    let mut tally = Tally::start(&options.account, &asked.endpoint.address().into());
    let channels = asked.endpoint.channels();
    if channels.is_empty() {
        return Err(fail("the group has no server"));
    }
    let window = options
        .budget
        .reserve_within(window_bytes, request::PATIENCE)
        .await;
    let reserved = window.map_err(|error| PeerFailure::Memory(error.to_string()))?;
    let reading = Reading {
        timeout: fanout.options.response_timeout,
        deadline: Fanout::deadline(options),
        ..Reading::default()
    };
    let call = Call {
        channels,
        path,
        metadata: &request::metadata(options, reading.deadline, fanout.options.asks_for_zstd),
        reserved,
        max_message_bytes: MAX_MESSAGE_BYTES,
        metrics: fanout.calls.start(path).about(asked.endpoint.address()),
    };
    let call = async {
        let mut call = messages::start(call, message).await?;
        let answer = call.next().await?;
        let answer = answer.ok_or_else(|| Status::internal("an answer without a message"))?;
        // The status comes behind the message.
        call.next().await?;
        Ok((call, answer))
    };
    let (mut call, answer) = within(&reading, call).await?;
    tally.message(answer.len());
    let held = text_bytes(&answer).map_err(|error| fail(&error.to_string()))?;
    call.reserve(held)
        .await
        .map_err(|status| fail(&super::stream::status_text(&status)))?;
    let (texts, warnings) =
        read(&answer).map_err(|error| fail(&format!("an answer that is none: {error}")))?;
    Ok(Said {
        texts,
        warnings,
        _call: call,
    })
}

/// What the texts of an answer take, each a field of its own.
fn text_bytes(answer: &[u8]) -> Result<usize, WireError> {
    let count = wire::count_fields(answer)?;
    let each = size_of::<String>() + ALLOCATION_BYTES;
    Ok(answer.len().saturating_add(count.saturating_mul(each)))
}
