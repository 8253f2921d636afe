//! The golden answers of a Thanos store, and what it means to give the same ones.
//!
//! The store must hold the blocks of [`BUCKET`] together.

pub mod acceptance;
mod compare;
mod load;
#[cfg(test)]
mod tests;

pub use compare::compare;
pub use load::load;

use crate::series::{self, SeriesAnswer};
use sabre_proto::thanos::store_client::StoreClient;
use sabre_proto::thanos::{
    LabelNamesRequest, LabelNamesResponse, LabelValuesRequest, LabelValuesResponse, SeriesRequest, info,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The folders whose blocks the store held, for [`crate::golden::Golden::copy`].
pub const BUCKET: &[&str] = &["thanos/plain", "thanos/long"];

/// How many of their blocks the one `Series` request with a limit matches: the raw ones of its 26 hours.
const LIMITED_BLOCKS: usize = 9;

const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;

/// One call and what Thanos answered.
#[derive(Debug, Clone)]
pub struct Case {
    /// Line in the file, from 1.
    pub line: usize,
    /// The request, readable.
    pub title: String,
    /// What to ask.
    pub call: Call,
    /// The answer, or the code of the error.
    pub expected: Result<Answer, Code>,
}

/// A request.
#[expect(clippy::large_enum_variant, reason = "a few dozen values, in tests")]
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `thanos.Store/Series`.
    Series(SeriesRequest),
    /// `thanos.Store/LabelNames`.
    LabelNames(LabelNamesRequest),
    /// `thanos.Store/LabelValues`.
    LabelValues(LabelValuesRequest),
    /// `thanos.info.Info/Info`.
    Info(info::InfoRequest),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Of `Series`.
    Series(SeriesAnswer),
    /// Of `LabelNames`.
    LabelNames(LabelNamesResponse),
    /// Of `LabelValues`.
    LabelValues(LabelValuesResponse),
    /// Of `Info`.
    Info(info::InfoResponse),
}

/// What a store under test said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// To the call of the case.
    pub answer: Result<Answer, Status>,
    /// For a `Series` call with a limit: to the same call without it.
    pub unlimited: Option<SeriesAnswer>,
}

impl Case {
    /// Asks a store what this case asks; for a `Series` call with a limit also without it.
    pub async fn ask(&self, channel: Channel) -> Outcome {
        let unlimited = match &self.call {
            Call::Series(request) if request.limit > 0 => {
                let request = SeriesRequest {
                    limit: 0,
                    ..request.clone()
                };
                match ask(channel.clone(), &Call::Series(request)).await {
                    Ok(Answer::Series(answer)) => Some(answer),
                    _ => None,
                }
            }
            _ => None,
        };
        Outcome {
            answer: ask(channel, &self.call).await,
            unlimited,
        }
    }
}

/// Makes one call.
pub async fn ask(channel: Channel, call: &Call) -> Result<Answer, Status> {
    let mut store = StoreClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Ok(match call.clone() {
        Call::Series(request) => Answer::Series(series::series(&mut store, request).await?),
        Call::LabelNames(request) => Answer::LabelNames(store.label_names(request).await?.into_inner()),
        Call::LabelValues(request) => Answer::LabelValues(store.label_values(request).await?.into_inner()),
        Call::Info(request) => {
            let mut client = info::info_client::InfoClient::new(channel);
            Answer::Info(client.info(request).await?.into_inner())
        }
    })
}

/// Asks all golden calls and returns the differences, one text for each case that has some.
pub async fn check(cases: &[Case], channel: Channel) -> Vec<String> {
    let mut differences = Vec::new();
    for case in cases {
        let outcome = case.ask(channel.clone()).await;
        if let Err(difference) = compare(case, &outcome) {
            differences.push(format!("line {} ({}): {difference}", case.line, case.title));
        }
    }
    differences
}
