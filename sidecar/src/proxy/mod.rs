//! Rules, Targets, Metadata, Exemplars and Status: Prometheus' HTTP API as gRPC.
//!
//! Prometheus does not put its external labels into these answers, so they are laid over here. An answer that fails is
//! an error of the call: to leave a peer out and warn instead is up to whoever asks many.

mod exemplars;
mod json;
mod metadata;
mod rules;
mod status;
mod targets;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::{StreamExt, stream, stream::BoxStream};
use sabre_model::Labels;
use sabre_proto::{convert::label_set, thanos::LabelSet};
use tonic::{Response, Status};

use crate::{
    known::{ContactReader, Known},
    prometheus::{Charged, PrometheusClient},
};

/// Answers of a streaming call.
pub(crate) type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// The services beside StoreAPI.
#[derive(Clone, Debug)]
pub struct PrometheusProxy {
    client: PrometheusClient,
    contact: ContactReader,
}

impl PrometheusProxy {
    /// Asks the Prometheus behind `client`.
    pub fn new(client: PrometheusClient, contact: ContactReader) -> PrometheusProxy {
        PrometheusProxy { client, contact }
    }

    fn known(&self) -> Result<Arc<Known>, Status> {
        self.contact
            .last()
            .ok_or_else(|| Status::unavailable("not ready: Prometheus did not answer yet"))
    }
}

/// Sends messages one by one; their bytes stay charged until the last is sent.
fn answers<T: Send + 'static>(messages: Charged<Vec<T>>) -> Response<Answers<T>> {
    let (messages, bytes) = messages.into_parts();
    let sent = stream::iter(messages).map(move |message| {
        let _held = &bytes;
        Ok(message)
    });
    Response::new(sent.boxed())
}

/// The labels with the external ones laid over.
fn extended(labels: &Labels, external: &Labels) -> Option<LabelSet> {
    Some(label_set(&labels.overlaid(external)))
}
