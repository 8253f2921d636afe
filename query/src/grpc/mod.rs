//! The gRPC services of a querier: itself a store to other queriers, an engine to those who split queries, and the
//! way to what peers know beside series.

mod answers;
mod info;
mod peers;
mod query;
mod series;
mod store;
#[cfg(test)]
mod tests;
mod unread;

use std::sync::Arc;

use sabre_proto::{
    StoreService,
    thanos::{
        exemplars_server::ExemplarsServer, info::info_server::InfoServer, metadata_server::MetadataServer,
        query_server::QueryServer, rules_server::RulesServer, status_server::StatusServer,
        targets_server::TargetsServer,
    },
};
use sabre_runtime::{
    budget::{Budget, requests_budget},
    grpc_server::MAX_MESSAGE_BYTES,
};
use tonic::Status;

use crate::{
    endpoints::Pool,
    evaluate::{FailureKind, QueryFailure},
    fanout::Fanout,
    http::{PeerLimits, Queries},
    source::SourceFailure,
};

/// What flags say of the services.
#[derive(Clone, Debug, Default)]
pub struct ServiceOptions {
    /// Most series of an answer of StoreAPI; 0 for no limit.
    pub max_series: u64,
    /// Most samples of one; 0 for no limit.
    pub max_samples: u64,
    /// What tells replicas apart, where a request does not say.
    pub replica_labels: Vec<String>,
}

/// The services. Clones share what is behind them.
#[derive(Clone, Debug)]
pub struct Services {
    fanout: Fanout,
    queries: Arc<dyn Queries>,
    pool: Pool,
    budget: Budget,
    /// Of requests that are large themselves.
    requests: Budget,
    options: Arc<ServiceOptions>,
    peers: PeerLimits,
}

impl Services {
    /// Services of what is behind a querier.
    pub fn new(
        fanout: Fanout,
        queries: Arc<dyn Queries>,
        pool: Pool,
        budget: Budget,
        options: ServiceOptions,
        peers: PeerLimits,
    ) -> Self {
        Self {
            fanout,
            queries,
            pool,
            requests: requests_budget(&budget),
            budget,
            options: Arc::new(options),
            peers,
        }
    }

    /// `thanos.Store`.
    pub fn store_service(&self) -> StoreService<Services> {
        StoreService::new(Arc::new(self.clone()))
    }

    /// `thanos.info.Info`.
    pub fn info_service(&self) -> InfoServer<Services> {
        InfoServer::new(self.clone())
    }

    /// `thanos.Query`.
    pub fn query_service(&self) -> QueryServer<Services> {
        QueryServer::new(self.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// `thanos.Rules`.
    pub fn rules_service(&self) -> RulesServer<Services> {
        RulesServer::new(self.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// `thanos.Targets`.
    pub fn targets_service(&self) -> TargetsServer<Services> {
        TargetsServer::new(self.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// `thanos.Metadata`.
    pub fn metadata_service(&self) -> MetadataServer<Services> {
        MetadataServer::new(self.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// `thanos.Exemplars`.
    pub fn exemplars_service(&self) -> ExemplarsServer<Services> {
        ExemplarsServer::new(self.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// `thanos.Status`.
    pub fn status_service(&self) -> StatusServer<Services> {
        StatusServer::new(self.clone()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// What goes on to those who are asked in turn.
fn forwarded(metadata: &tonic::metadata::MetadataMap) -> Result<Vec<(String, String)>, Status> {
    let Some(tenant) = metadata.get(TENANT) else {
        return Ok(Vec::new());
    };
    // A name that cannot be read is not nobody's.
    let tenant = tenant.to_str().map_err(|_| {
        let text = format!("tenant name not valid: {TENANT} has characters beside those of ASCII");
        Status::invalid_argument(text)
    })?;
    Ok(vec![(TENANT.to_owned(), tenant.to_owned())])
}

/// The metadata that names the tenant.
const TENANT: &str = "thanos-tenant";

fn source_status(failure: &SourceFailure) -> Status {
    let text = failure.to_string();
    match failure {
        SourceFailure::Store(_) => Status::aborted(text),
        SourceFailure::Limit(_) => Status::resource_exhausted(text),
        SourceFailure::Timeout(_) => Status::deadline_exceeded(text),
        SourceFailure::Cancelled => Status::cancelled(text),
    }
}

fn query_status(failure: &QueryFailure) -> Status {
    let text = failure.message.clone();
    match failure.kind {
        FailureKind::BadData => Status::invalid_argument(text),
        FailureKind::Execution => Status::aborted(text),
        FailureKind::Timeout => Status::deadline_exceeded(text),
        FailureKind::Canceled => Status::cancelled(text),
        FailureKind::Internal => Status::internal(text),
    }
}
