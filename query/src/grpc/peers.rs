//! `thanos.Rules`, `Targets`, `Metadata`, `Exemplars` and `Status`: what peers say, handed up as it comes.
//!
//! As in Thanos nothing is merged here: replica labels are known to the querier that answers people, and it merges the
//! answers of all, however many queriers they came through.

use futures::{StreamExt as _, stream, stream::BoxStream};
use sabre_proto::thanos::{
    ExemplarsRequest, ExemplarsResponse, MetricMetadataRequest, MetricMetadataResponse, RulesRequest,
    RulesResponse, TargetsRequest, TargetsResponse, TsdbStatisticsRequest, TsdbStatisticsResponse,
    exemplars_response, exemplars_server::Exemplars, metadata_server::Metadata, metric_metadata_response,
    rules_response, rules_server::Rules, status_server::Status as StatusApi, targets_response,
    targets_server::Targets, tsdb_statistics_response,
};
use tonic::{Request, Response, Status, async_trait, metadata::MetadataMap};

use super::{Services, forwarded};
use crate::{
    evaluate::FailureKind,
    http::{
        failure::ApiFailure,
        peers::{
            Call, Gathered,
            exemplars::{self, WantedExemplars},
            metadata, rules, statistics, targets,
        },
    },
};

/// Messages, one for each thing said, warnings last.
type Answer<M> = Result<Response<BoxStream<'static, Result<M, Status>>>, Status>;

impl Services {
    fn call(&self, what: &'static str, strategy: i32, metadata: &MetadataMap) -> Call {
        Call::handed_down(what, strategy, self.peers, forwarded(metadata))
    }
}

fn answer<T, M>(
    gathered: Result<Gathered<T>, ApiFailure>,
    item: fn(T) -> M,
    warning: fn(String) -> M,
) -> Answer<M>
where
    T: Send + 'static,
    M: Send + 'static,
{
    let gathered = gathered.map_err(|failure| status(&failure))?;
    let items = stream::iter(gathered.items).map(item);
    let warnings = stream::iter(gathered.warnings).map(warning);
    Ok(Response::new(items.chain(warnings).map(Ok).boxed()))
}

/// A peer that fails where all must answer ends the call as it does for series.
fn status(failure: &ApiFailure) -> Status {
    let text = failure.message.clone();
    match failure.kind {
        FailureKind::BadData => Status::invalid_argument(text),
        _ => Status::aborted(text),
    }
}

#[async_trait]
impl Rules for Services {
    async fn rules(&self, request: Request<RulesRequest>) -> Answer<RulesResponse> {
        let strategy = request.get_ref().partial_response_strategy;
        let call = self.call("rules", strategy, request.metadata());
        let gathered = rules::fetch(&self.pool, &call, request.get_ref()).await;
        answer(
            gathered,
            |group| RulesResponse {
                result: Some(rules_response::Result::Group(group)),
            },
            |text| RulesResponse {
                result: Some(rules_response::Result::Warning(text)),
            },
        )
    }
}

#[async_trait]
impl Targets for Services {
    async fn targets(&self, request: Request<TargetsRequest>) -> Answer<TargetsResponse> {
        let asked = request.get_ref();
        let call = self.call("targets", asked.partial_response_strategy, request.metadata());
        let gathered = targets::fetch(&self.pool, &call, asked.state).await;
        answer(
            gathered,
            |targets| TargetsResponse {
                result: Some(targets_response::Result::Targets(targets)),
            },
            |text| TargetsResponse {
                result: Some(targets_response::Result::Warning(text)),
            },
        )
    }
}

#[async_trait]
impl Metadata for Services {
    async fn metric_metadata(
        &self,
        request: Request<MetricMetadataRequest>,
    ) -> Answer<MetricMetadataResponse> {
        let asked = request.get_ref();
        let call = self.call("metadata", asked.partial_response_strategy, request.metadata());
        let gathered = metadata::fetch(&self.pool, &call, &asked.metric, asked.limit).await;
        answer(
            gathered,
            |metadata| MetricMetadataResponse {
                result: Some(metric_metadata_response::Result::Metadata(metadata)),
            },
            |text| MetricMetadataResponse {
                result: Some(metric_metadata_response::Result::Warning(text)),
            },
        )
    }
}

#[async_trait]
impl Exemplars for Services {
    async fn exemplars(&self, request: Request<ExemplarsRequest>) -> Answer<ExemplarsResponse> {
        let asked = request.get_ref();
        let call = self.call("exemplars", asked.partial_response_strategy, request.metadata());
        let own = self.fanout.own_labels();
        let wanted = WantedExemplars::of(&asked.query, own, (asked.start, asked.end));
        let wanted = wanted.map_err(|failure| status(&failure))?;
        let gathered = exemplars::fetch(&self.pool, &call, &wanted).await;
        answer(
            gathered,
            |data| ExemplarsResponse {
                result: Some(exemplars_response::Result::Data(data)),
            },
            |text| ExemplarsResponse {
                result: Some(exemplars_response::Result::Warning(text)),
            },
        )
    }
}

#[async_trait]
impl StatusApi for Services {
    async fn tsdb_statistics(
        &self,
        request: Request<TsdbStatisticsRequest>,
    ) -> Answer<TsdbStatisticsResponse> {
        let strategy = request.get_ref().partial_response_strategy;
        let call = self.call("tsdb statistics", strategy, request.metadata());
        let gathered = statistics::fetch(&self.pool, &call, request.get_ref()).await;
        answer(
            gathered,
            |statistics| TsdbStatisticsResponse {
                result: Some(tsdb_statistics_response::Result::Statistics(statistics)),
            },
            |text| TsdbStatisticsResponse {
                result: Some(tsdb_statistics_response::Result::Warning(text)),
            },
        )
    }
}
