//! `/thanos.Exemplars/Exemplars`, from `/api/v1/query_exemplars`.

use sabre_model::Labels;
use sabre_proto::{
    convert::label_set,
    thanos::{
        Exemplar, ExemplarData, ExemplarsRequest, ExemplarsResponse, exemplars_response,
        exemplars_server::Exemplars,
    },
};
use sabre_runtime::yaml::null_is_default;
use serde::Deserialize;
use tonic::{Request, Response, Status};

use super::{
    Answers, PrometheusProxy, answers, extended,
    json::{Milliseconds, SampleValue},
};
use crate::{prometheus::seconds, store_api::status_of};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeriesJson {
    #[serde(default, deserialize_with = "null_is_default")]
    series_labels: Labels,
    #[serde(default, deserialize_with = "null_is_default")]
    exemplars: Vec<ExemplarJson>,
}

#[derive(Deserialize)]
struct ExemplarJson {
    #[serde(default, deserialize_with = "null_is_default")]
    labels: Labels,
    value: SampleValue,
    timestamp: Milliseconds,
}

#[tonic::async_trait]
impl Exemplars for PrometheusProxy {
    async fn exemplars(
        &self,
        request: Request<ExemplarsRequest>,
    ) -> Result<Response<Answers<ExemplarsResponse>>, Status> {
        let known = self.known()?;
        let ExemplarsRequest {
            query, start, end, ..
        } = request.into_inner();
        let params = [("query", query), ("start", seconds(start)), ("end", seconds(end))];
        let found = self
            .client
            .get::<Option<Vec<SeriesJson>>>("query_exemplars", "api/v1/query_exemplars", &params)
            .await
            .map_err(status_of)?;
        let response = |series: SeriesJson| ExemplarsResponse {
            result: Some(exemplars_response::Result::Data(
                series.into_wire(&known.external_labels),
            )),
        };
        Ok(answers(found.map(|found| {
            found.into_iter().flatten().map(response).collect()
        })))
    }
}

impl SeriesJson {
    fn into_wire(self, external: &Labels) -> ExemplarData {
        let exemplar = |exemplar: ExemplarJson| Exemplar {
            labels: Some(label_set(&exemplar.labels)),
            value: exemplar.value.0,
            ts: exemplar.timestamp.0,
        };
        ExemplarData {
            series_labels: extended(&self.series_labels, external),
            exemplars: self.exemplars.into_iter().map(exemplar).collect(),
        }
    }
}
