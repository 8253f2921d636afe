//! StoreAPI and Info, answered from Prometheus.

mod answer;
mod assemble;
mod delivery;
mod labels;
mod limits;
mod outlet;
mod relabel;
mod select;
mod series;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use sabre_model::time::TimeOrDuration;
use sabre_proto::{
    Held, RawSeries,
    convert::{label_set, matchers_from_wire},
    raw_body::{FrameReceiver, frame_channel},
    thanos::{
        self, LabelNamesRequest, LabelNamesResponse, LabelValuesRequest, LabelValuesResponse, SeriesRequest,
        StoreType,
        info::{
            self, ExemplarsInfo, InfoResponse, MetricMetadataInfo, RulesInfo, StatusInfo, StoreInfo,
            TargetsInfo, TsdbInfo,
        },
        store_server::Store,
    },
};
use sabre_runtime::{
    budget::{Budget, requests_budget},
    clock,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

pub use self::limits::Limits;
pub(crate) use self::series::status_of;
use self::{
    select::{Selected, select},
    series::SeriesCall,
};
use crate::{
    known::{ContactReader, Known},
    metrics::SidecarMetrics,
    prometheus::PrometheusClient,
};

/// Pieces of an answer that wait for the network; each about 256 KiB, within [`series::WINDOW_BYTES`].
const FRAMES_IN_FLIGHT: usize = 2;

/// The sidecar's gRPC services.
#[derive(Clone, Debug)]
pub struct SidecarApi {
    client: PrometheusClient,
    contact: ContactReader,
    min_time: TimeOrDuration,
    budget: Budget,
    /// Of requests that are large themselves.
    requests: Budget,
    limits: Limits,
    metrics: SidecarMetrics,
}

impl SidecarApi {
    /// Serves what the Prometheus behind `client` has from `min_time` on.
    pub fn new(
        client: PrometheusClient,
        contact: ContactReader,
        min_time: TimeOrDuration,
        budget: Budget,
        metrics: SidecarMetrics,
    ) -> SidecarApi {
        SidecarApi {
            client,
            contact,
            min_time,
            requests: requests_budget(&budget),
            budget,
            limits: Limits::default(),
            metrics,
        }
    }

    /// Refuses answers beyond `limits`.
    #[must_use]
    pub fn limited(self, limits: Limits) -> SidecarApi {
        SidecarApi { limits, ..self }
    }

    /// Calls are tried even while the heartbeat fails: it may be late, and the error of the call tells more.
    fn known(&self) -> Result<Arc<Known>, Status> {
        self.contact
            .last()
            .ok_or_else(|| Status::unavailable("not ready: Prometheus did not answer yet"))
    }

    /// The range shown to queriers: open to the future, since Prometheus is still writing.
    fn range_ms(&self, known: &Known) -> (i64, i64) {
        let min_time = self.min_time.resolve(clock::now_ms());
        (min_time.max(known.lowest_ms.unwrap_or(i64::MIN)), i64::MAX)
    }

    fn ready(&self) -> Result<Arc<Known>, Status> {
        self.contact
            .up()
            .ok_or_else(|| Status::unavailable("not ready: Prometheus does not answer"))
    }
}

#[tonic::async_trait]
impl RawSeries for SidecarApi {
    async fn series_raw(
        &self,
        mut request: Request<SeriesRequest>,
        _deadline: Option<Instant>,
    ) -> Result<FrameReceiver, Status> {
        let held = request.extensions_mut().remove::<Held>();
        let request = request.into_inner();
        let known = self.known()?;
        let (sender, receiver) = frame_channel(FRAMES_IN_FLIGHT);
        let Selected::Matching(matchers) =
            select(matchers_from_wire(&request.matchers)?, &known.external_labels)
        else {
            sender.finish(Ok(()));
            return Ok(receiver);
        };
        if matchers.is_empty() {
            return Err(Status::invalid_argument(
                "no matchers specified (excluding external labels)",
            ));
        }
        // Prometheus itself is asked from the flag's time on, not from its lowest timestamp, which may be a heartbeat old.
        let mint_ms = request.min_time.max(self.min_time.resolve(clock::now_ms()));
        if mint_ms > request.max_time {
            sender.finish(Ok(()));
            return Ok(receiver);
        }
        let call = SeriesCall {
            client: self.client.clone(),
            known,
            matchers,
            mint_ms,
            request,
            budget: self.budget.child("Series"),
            limits: self.limits,
            metrics: self.metrics.clone(),
        };
        tokio::spawn(async move {
            let _request = held;
            call.run(sender).await;
        });
        Ok(receiver)
    }

    fn admit(&self, bytes: u64) -> Option<Held> {
        self.requests.try_reserve(bytes).map(Held::new)
    }
}

#[tonic::async_trait]
impl Store for SidecarApi {
    async fn label_names(
        &self,
        request: Request<LabelNamesRequest>,
    ) -> Result<Response<LabelNamesResponse>, Status> {
        let (answer, charge) = labels::label_names(&self.client, &*self.known()?, request.get_ref()).await?;
        Ok(Held::until_sent(answer, charge))
    }

    async fn label_values(
        &self,
        request: Request<LabelValuesRequest>,
    ) -> Result<Response<LabelValuesResponse>, Status> {
        let (answer, charge) = labels::label_values(&self.client, &*self.known()?, request.get_ref()).await?;
        Ok(Held::until_sent(answer, charge))
    }

    async fn info(&self, _: Request<thanos::InfoRequest>) -> Result<Response<thanos::InfoResponse>, Status> {
        let known = self.ready()?;
        let (min_time, max_time) = self.range_ms(&known);
        let labels = label_set(&known.external_labels);
        Ok(Response::new(thanos::InfoResponse {
            labels: labels.labels.clone(),
            min_time,
            max_time,
            store_type: StoreType::Sidecar as i32,
            label_sets: vec![labels],
        }))
    }
}

#[tonic::async_trait]
impl info::info_server::Info for SidecarApi {
    async fn info(&self, _: Request<info::InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let known = self.ready()?;
        let (min_time, max_time) = self.range_ms(&known);
        let labels = label_set(&known.external_labels);
        Ok(Response::new(InfoResponse {
            label_sets: vec![labels.clone()],
            component_type: "sidecar".to_string(),
            store: Some(StoreInfo {
                min_time,
                max_time,
                supports_sharding: true,
                supports_without_replica_labels: true,
                tsdb_infos: vec![TsdbInfo {
                    labels: Some(labels),
                    min_time,
                    max_time,
                }],
                ..StoreInfo::default()
            }),
            // Prometheus is asked for rules, targets, metadata and statistics of this moment. Exemplars have no range of
            // their own: open on both sides would be a promise, so nothing is said, as in Thanos.
            rules: Some(RulesInfo::default()),
            targets: Some(TargetsInfo::default()),
            metric_metadata: Some(MetricMetadataInfo::default()),
            exemplars: Some(ExemplarsInfo::default()),
            status: Some(StatusInfo::default()),
            ..InfoResponse::default()
        }))
    }
}
