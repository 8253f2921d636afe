//! Asking a peer who it is.

use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use sabre_proto::thanos::{
    InfoRequest as OldRequest, InfoResponse as OldResponse,
    info::{InfoRequest, InfoResponse, StoreInfo, TsdbInfo},
};
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};

use super::PeerInfo;
use crate::{
    fanout::Shape,
    http::peers::{LABEL, LABEL_SET},
    raw_codec::RawCodec,
};

/// The longest answer: a store with ten thousands of tenants fits.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// The most that an answer may take once it is decoded.
const MAX_DECODED_BYTES: usize = 32 << 20;

const INFO: Shape = Shape {
    bytes: size_of::<InfoResponse>(),
    nested: &[
        (1, &LABEL_SET),
        (
            3,
            &Shape {
                bytes: size_of::<StoreInfo>(),
                nested: &[(
                    6,
                    &Shape {
                        bytes: size_of::<TsdbInfo>(),
                        nested: &[(1, &LABEL_SET)],
                    },
                )],
            },
        ),
    ],
};

const OLD_INFO: Shape = Shape {
    bytes: size_of::<OldResponse>(),
    nested: &[(1, &LABEL), (5, &LABEL_SET)],
};

/// Asks `thanos.info.Info`, and those who do not know it `thanos.Store/Info`.
pub(super) async fn ask(channel: Channel, timeout: Duration) -> Result<PeerInfo, String> {
    match tokio::time::timeout(timeout, answer(channel)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!(
            "no answer for {timeout:?}, which is as long as --endpoint.info-timeout allows"
        )),
    }
}

async fn answer(channel: Channel) -> Result<PeerInfo, String> {
    let new = call(
        channel.clone(),
        "/thanos.info.Info/Info",
        InfoRequest::default(),
        &INFO,
    );
    match new.await {
        Ok(answer) => PeerInfo::from_info(answer),
        Err(status) if status.code() == Code::Unimplemented => {
            let old = call(channel, "/thanos.Store/Info", OldRequest::default(), &OLD_INFO).await;
            PeerInfo::from_old_info(&old.map_err(|status| words(&status))?)
        }
        Err(status) => Err(words(&status)),
    }
}

async fn call<Q: Message + 'static, R: Message + Default>(
    channel: Channel,
    path: &'static str,
    request: Q,
    shape: &Shape,
) -> Result<R, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static(path);
    let answer = client.unary(Request::new(request), path, RawCodec::new()).await?;
    let answer = answer.into_inner();
    let none = |error: &dyn std::fmt::Display| Status::internal(format!("an answer that is none: {error}"));
    let weight = shape.weigh(&answer).map_err(|error| none(&error))?;
    if weight > MAX_DECODED_BYTES {
        return Err(Status::resource_exhausted(format!(
            "what it says of itself takes {weight} bytes of memory, {MAX_DECODED_BYTES} are allowed"
        )));
    }
    R::decode(answer).map_err(|error| none(&error))
}

fn words(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let code = sabre_runtime::grpc_server::code_name(status.code());
    match cause.downcast_ref::<Status>() {
        Some(status) => format!("rpc error: code = {code} desc = {}", status.message()),
        None => format!("rpc error: code = {code} desc = {cause}"),
    }
}
