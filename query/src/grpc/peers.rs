//! `thanos.Rules`, `Targets`, `Metadata`, `Exemplars` and `Status`: what peers say, handed up as it comes.
//!
//! As in Thanos nothing is merged here: replica labels are known to the querier that answers people, and it merges the
//! answers of all, however many queriers they came through.

use futures::{StreamExt as _, stream};
use sabre_proto::thanos::{
    ExemplarData, ExemplarsRequest, ExemplarsResponse, MetricMetadata, MetricMetadataRequest,
    MetricMetadataResponse, RuleGroup, RulesRequest, RulesResponse, TargetDiscovery, TargetsRequest,
    TargetsResponse, TsdbStatistics, TsdbStatisticsRequest, TsdbStatisticsResponse, exemplars_response,
    exemplars_server::Exemplars, metadata_server::Metadata, metric_metadata_response, rules_response,
    rules_server::Rules, status_server::Status as StatusApi, targets_response, targets_server::Targets,
    tsdb_statistics_response,
};
use tonic::{Request, Response, Status, async_trait, metadata::MetadataMap};

use super::{
    Services, forwarded,
    unread::{Messages, while_read},
};
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
type Answer<M> = Result<Response<Messages<M>>, Status>;

/// A message that is one thing said, or a warning.
trait Said: Sized + Send + 'static {
    type Item: Send + 'static;

    fn item(item: Self::Item) -> Self;

    fn warning(text: String) -> Self;
}

/// Says of a message which of its variants is the thing.
macro_rules! said {
    ($message:ident, $module:ident :: $variant:ident ( $item:ty )) => {
        impl Said for $message {
            type Item = $item;

            fn item(item: $item) -> Self {
                Self {
                    result: Some($module::Result::$variant(item)),
                }
            }

            fn warning(text: String) -> Self {
                Self {
                    result: Some($module::Result::Warning(text)),
                }
            }
        }
    };
}

said!(RulesResponse, rules_response::Group(RuleGroup));
said!(TargetsResponse, targets_response::Targets(TargetDiscovery));
said!(
    MetricMetadataResponse,
    metric_metadata_response::Metadata(MetricMetadata)
);
said!(ExemplarsResponse, exemplars_response::Data(ExemplarData));
said!(
    TsdbStatisticsResponse,
    tsdb_statistics_response::Statistics(TsdbStatistics)
);

impl Services {
    fn call(&self, what: &'static str, strategy: i32, metadata: &MetadataMap) -> Result<Call, Status> {
        let metadata = forwarded(metadata)?;
        Ok(Call::handed_down(what, strategy, self.peers.clone(), metadata))
    }
}

fn answer<M: Said>(gathered: Result<Gathered<M::Item>, ApiFailure>) -> Answer<M> {
    let gathered = gathered.map_err(|failure| status(&failure))?;
    let items = stream::iter(gathered.items).map(M::item);
    let warnings = stream::iter(gathered.warnings).map(M::warning);
    // They are charged until they are sent, or nobody reads on.
    let charge = gathered.charge;
    let charged = items.chain(warnings).map(move |message| {
        let _held = &charge;
        Ok(message)
    });
    Ok(Response::new(while_read(charged.boxed())))
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
        let asked = request.get_ref();
        let call = self.call("rules", asked.partial_response_strategy, request.metadata())?;
        answer(rules::fetch(&self.pool, &call, asked).await)
    }
}

#[async_trait]
impl Targets for Services {
    async fn targets(&self, request: Request<TargetsRequest>) -> Answer<TargetsResponse> {
        let asked = request.get_ref();
        let call = self.call("targets", asked.partial_response_strategy, request.metadata())?;
        answer(targets::fetch(&self.pool, &call, asked.state).await)
    }
}

#[async_trait]
impl Metadata for Services {
    async fn metric_metadata(
        &self,
        request: Request<MetricMetadataRequest>,
    ) -> Answer<MetricMetadataResponse> {
        let asked = request.get_ref();
        let call = self.call("metadata", asked.partial_response_strategy, request.metadata())?;
        answer(metadata::fetch(&self.pool, &call, &asked.metric, asked.limit).await)
    }
}

#[async_trait]
impl Exemplars for Services {
    async fn exemplars(&self, request: Request<ExemplarsRequest>) -> Answer<ExemplarsResponse> {
        let asked = request.get_ref();
        let call = self.call("exemplars", asked.partial_response_strategy, request.metadata())?;
        let own = self.fanout.own_labels();
        let wanted = WantedExemplars::of(&asked.query, own, (asked.start, asked.end));
        let wanted = wanted.map_err(|failure| status(&failure))?;
        answer(exemplars::fetch(&self.pool, &call, &wanted).await)
    }
}

#[async_trait]
impl StatusApi for Services {
    async fn tsdb_statistics(
        &self,
        request: Request<TsdbStatisticsRequest>,
    ) -> Answer<TsdbStatisticsResponse> {
        let asked = request.get_ref();
        let call = self.call(
            "tsdb statistics",
            asked.partial_response_strategy,
            request.metadata(),
        )?;
        answer(statistics::fetch(&self.pool, &call, asked).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sabre_runtime::budget::Budget;

    use super::*;
    use crate::watched::MAX_PAUSE;

    #[tokio::test(start_paused = true)]
    async fn what_peers_said_is_given_up_when_nobody_reads_it() {
        let budget = Budget::new(1000, "--sabre.memory-budget");
        let gathered = Gathered {
            items: vec![RuleGroup::default(); 3],
            warnings: vec!["a peer is gone".to_owned()],
            charge: Arc::new(budget.try_reserve(900).unwrap()),
        };
        let answer: Answer<RulesResponse> = answer(Ok(gathered));
        let mut messages = answer.unwrap().into_inner();
        assert!(messages.next().await.unwrap().is_ok());
        assert_eq!(budget.usage().used_bytes, 900);
        tokio::time::sleep(MAX_PAUSE * 3).await;
        assert_eq!(budget.usage().used_bytes, 0);
        let status = messages.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }
}
