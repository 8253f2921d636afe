//! `/thanos.Metadata/MetricMetadata`, from `/api/v1/metadata`.

use std::collections::BTreeMap;

use sabre_proto::thanos::{
    Meta, MetricMetadata, MetricMetadataEntry, MetricMetadataRequest, MetricMetadataResponse,
    metadata_server::Metadata, metric_metadata_response,
};
use serde::Deserialize;
use tonic::{Request, Response, Status};

use super::{Answers, PrometheusProxy, answers};
use crate::store_api::status_of;

#[derive(Deserialize)]
struct MetaJson {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    help: String,
    #[serde(default)]
    unit: String,
}

/// By metric name.
type MetadataJson = BTreeMap<String, Option<Vec<MetaJson>>>;

#[tonic::async_trait]
impl Metadata for PrometheusProxy {
    async fn metric_metadata(
        &self,
        request: Request<MetricMetadataRequest>,
    ) -> Result<Response<Answers<MetricMetadataResponse>>, Status> {
        self.known()?;
        let MetricMetadataRequest { metric, limit, .. } = request.into_inner();
        let mut params = Vec::new();
        if !metric.is_empty() {
            params.push(("metric", metric));
        }
        // 0 is a limit as well: of no metric at all.
        if limit >= 0 {
            params.push(("limit", limit.to_string()));
        }
        let found = self
            .client
            .get::<MetadataJson>("metadata", "api/v1/metadata", &params)
            .await
            .map_err(status_of)?;
        Ok(answers(found.map(|found| {
            let result = Some(metric_metadata_response::Result::Metadata(to_wire(found)));
            vec![MetricMetadataResponse { result }]
        })))
    }
}

fn to_wire(found: MetadataJson) -> MetricMetadata {
    let meta = |meta: MetaJson| Meta {
        r#type: meta.kind,
        help: meta.help,
        unit: meta.unit,
    };
    let entry = |metas: Option<Vec<MetaJson>>| MetricMetadataEntry {
        metas: metas.into_iter().flatten().map(meta).collect(),
    };
    MetricMetadata {
        metadata: found
            .into_iter()
            .map(|(name, metas)| (name, entry(metas)))
            .collect(),
    }
}
