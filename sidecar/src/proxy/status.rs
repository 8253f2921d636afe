//! `/thanos.Status/TSDBStatistics`, from `/api/v1/status/tsdb`.

use sabre_model::Labels;
use sabre_proto::{
    convert::matchers_from_wire,
    thanos::{
        HeadStatistics, Statistic, TsdbStatistics, TsdbStatisticsEntry, TsdbStatisticsRequest,
        TsdbStatisticsResponse, status_server::Status as StatusApi, tsdb_statistics_response,
    },
};
use sabre_runtime::yaml::null_is_default;
use serde::Deserialize;
use tonic::{Request, Response, Status};

use super::{Answers, PrometheusProxy, answers};
use crate::store_api::status_of;

/// A Prometheus is one tenant, which has no name.
const TENANT: &str = "";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TsdbJson {
    #[serde(default, deserialize_with = "null_is_default")]
    head_stats: HeadJson,
    #[serde(default, deserialize_with = "null_is_default")]
    series_count_by_metric_name: Vec<StatisticJson>,
    #[serde(default, deserialize_with = "null_is_default")]
    label_value_count_by_label_name: Vec<StatisticJson>,
    #[serde(default, deserialize_with = "null_is_default")]
    memory_in_bytes_by_label_name: Vec<StatisticJson>,
    #[serde(default, deserialize_with = "null_is_default")]
    series_count_by_label_value_pair: Vec<StatisticJson>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HeadJson {
    num_series: u64,
    num_label_pairs: i64,
    chunk_count: i64,
    min_time: i64,
    max_time: i64,
}

#[derive(Deserialize)]
struct StatisticJson {
    name: String,
    value: u64,
}

#[tonic::async_trait]
impl StatusApi for PrometheusProxy {
    async fn tsdb_statistics(
        &self,
        request: Request<TsdbStatisticsRequest>,
    ) -> Result<Response<Answers<TsdbStatisticsResponse>>, Status> {
        let known = self.known()?;
        let request = request.into_inner();
        if !is_asked(&request, &known.external_labels)? {
            let nothing = response(TsdbStatistics::default());
            return Ok(Response::new(Box::pin(futures::stream::iter([Ok(nothing)]))));
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        let params: Vec<_> = limit
            .map(|limit| ("limit", limit.to_string()))
            .into_iter()
            .collect();
        let found = self
            .client
            .get::<TsdbJson>("status/tsdb", "api/v1/status/tsdb", &params)
            .await
            .map_err(status_of)?;
        Ok(answers(found.map(|found| {
            let entry = found.into_wire(limit.unwrap_or(usize::MAX));
            vec![response(TsdbStatistics {
                statistics: [(TENANT.to_string(), entry)].into(),
            })]
        })))
    }
}

/// Matchers look at the external labels, of which a missing one is empty.
fn is_asked(request: &TsdbStatisticsRequest, external: &Labels) -> Result<bool, Status> {
    let matchers = matchers_from_wire(&request.matchers)?;
    let matches = matchers
        .iter()
        .all(|matcher| matcher.matches(external.get(matcher.name()).unwrap_or_default()));
    Ok(matches && (request.tenant.is_empty() || request.tenant == TENANT))
}

fn response(statistics: TsdbStatistics) -> TsdbStatisticsResponse {
    let result = Some(tsdb_statistics_response::Result::Statistics(statistics));
    TsdbStatisticsResponse { result }
}

impl TsdbJson {
    fn into_wire(self, limit: usize) -> TsdbStatisticsEntry {
        // Prometheus before 2.45 answers ten of each whatever the limit.
        let list = |list: Vec<StatisticJson>| {
            let statistic = |StatisticJson { name, value }| Statistic { name, value };
            list.into_iter().take(limit).map(statistic).collect()
        };
        TsdbStatisticsEntry {
            head_statistics: Some(self.head_stats.to_wire()),
            series_count_by_metric_name: list(self.series_count_by_metric_name),
            label_value_count_by_label_name: list(self.label_value_count_by_label_name),
            memory_in_bytes_by_label_name: list(self.memory_in_bytes_by_label_name),
            series_count_by_label_value_pair: list(self.series_count_by_label_value_pair),
        }
    }
}

impl HeadJson {
    /// The range of an empty head is the wrong way round; its end is then 0, as in Thanos.
    fn to_wire(&self) -> HeadStatistics {
        HeadStatistics {
            num_series: self.num_series,
            num_label_pairs: self.num_label_pairs,
            chunk_count: self.chunk_count,
            min_time: self.min_time,
            max_time: self.max_time.max(0),
        }
    }
}
