//! What the querier says of itself: what those behind it say, together.

use std::collections::BTreeMap;

use sabre_model::Labels;
use sabre_proto::{
    convert::label_set,
    thanos::info::{
        ExemplarsInfo, InfoRequest, InfoResponse, MetricMetadataInfo, QueryApiInfo, RulesInfo, StatusInfo,
        StoreInfo, TargetsInfo, TsdbInfo, info_server::Info,
    },
};
use tonic::{Request, Response, Status, async_trait};

use super::Services;
use crate::endpoints::{Api, TsdbRange};

/// What peers know the component by.
const COMPONENT: &str = "query";

/// What there is behind the querier.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Advertised {
    /// Sorted, each once.
    pub(super) label_sets: Vec<Labels>,
    pub(super) mint: i64,
    pub(super) maxt: i64,
    pub(super) tsdbs: Vec<TsdbRange>,
}

impl Services {
    pub(super) fn advertised(&self) -> Advertised {
        let own = self.fanout.own_labels();
        let mut times: Option<(i64, i64)> = None;
        let mut label_sets = Vec::new();
        let mut tsdbs: BTreeMap<Labels, (i64, i64)> = BTreeMap::new();
        for endpoint in self
            .pool
            .endpoints()
            .iter()
            .filter(|endpoint| endpoint.offers(Api::Store))
        {
            let Some(peer) = endpoint.peer() else { continue };
            let (mint, maxt) = times.unwrap_or((i64::MAX, i64::MIN));
            times = Some((mint.min(peer.store.mint), maxt.max(peer.store.maxt)));
            label_sets.extend(peer.label_sets.iter().map(|labels| labels.overlaid(own)));
            for tsdb in &peer.store.tsdbs {
                let times = tsdbs
                    .entry(tsdb.labels.overlaid(own))
                    .or_insert((i64::MAX, i64::MIN));
                *times = (times.0.min(tsdb.mint), times.1.max(tsdb.maxt));
            }
        }
        if label_sets.is_empty() && !own.is_empty() {
            label_sets.push(own.clone());
        }
        label_sets.sort();
        label_sets.dedup();
        let (mint, maxt) = times.unwrap_or((i64::MIN, i64::MAX));
        let tsdbs = tsdbs
            .into_iter()
            .map(|(labels, (mint, maxt))| TsdbRange { labels, mint, maxt });
        Advertised {
            label_sets,
            mint,
            maxt,
            tsdbs: tsdbs.collect(),
        }
    }
}

#[async_trait]
impl Info for Services {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let Advertised {
            label_sets,
            mint,
            maxt,
            tsdbs,
        } = self.advertised();
        let tsdb_infos = tsdbs.iter().map(|tsdb| TsdbInfo {
            labels: Some(label_set(&tsdb.labels)),
            min_time: tsdb.mint,
            max_time: tsdb.maxt,
        });
        let store = StoreInfo {
            min_time: mint,
            max_time: maxt,
            supports_sharding: true,
            supports_without_replica_labels: true,
            tsdb_infos: tsdb_infos.collect(),
            supports_projections: false,
        };
        Ok(Response::new(InfoResponse {
            label_sets: label_sets.iter().map(label_set).collect(),
            component_type: COMPONENT.to_owned(),
            store: Some(store),
            rules: Some(RulesInfo {}),
            metric_metadata: Some(MetricMetadataInfo {}),
            targets: Some(TargetsInfo {}),
            // Whose exemplars are how old is not known here.
            exemplars: Some(ExemplarsInfo {
                min_time: i64::MIN,
                max_time: i64::MAX,
            }),
            query: Some(QueryApiInfo {}),
            status: Some(StatusInfo {}),
        }))
    }
}
