//! Asking a peer who it is.

use std::time::Duration;

use sabre_proto::thanos::{
    InfoRequest as OldRequest,
    info::{InfoRequest, info_client::InfoClient},
    store_client::StoreClient,
};
use tonic::{Code, Status, transport::Channel};

use super::PeerInfo;

/// The longest answer: a store with a hundred thousand tenants fits.
const MAX_ANSWER_BYTES: usize = 64 << 20;

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
    let mut client = InfoClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
    match client.info(InfoRequest::default()).await {
        Ok(answer) => PeerInfo::from_info(answer.into_inner()),
        Err(status) if status.code() == Code::Unimplemented => {
            let mut client = StoreClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            let answer = client
                .info(OldRequest::default())
                .await
                .map_err(|status| words(&status))?;
            PeerInfo::from_old_info(answer.get_ref())
        }
        Err(status) => Err(words(&status)),
    }
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
