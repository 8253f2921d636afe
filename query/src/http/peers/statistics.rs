//! Statistics of the databases of all peers: numbers of values are the greatest, all else is added up.

use std::collections::BTreeMap;

use sabre_proto::thanos::{
    HeadStatistics, LabelMatcher, Statistic, TsdbStatistics, TsdbStatisticsEntry, TsdbStatisticsRequest,
    TsdbStatisticsResponse, tsdb_statistics_response,
};
use serde_json::{Value, json};

use super::{
    Call, Gathered,
    gather::{Question, Said, gather},
    shapes::STATISTICS,
};
use crate::{
    endpoints::{Api, Pool},
    http::failure::ApiFailure,
};

/// What statistics are wanted.
#[derive(Clone, Debug)]
pub(crate) struct WantedStatistics {
    pub(crate) matchers: Vec<LabelMatcher>,
    /// How many of the greatest numbers.
    pub(crate) limit: usize,
    /// Of this tenant only.
    pub(crate) tenant: Option<String>,
}

/// Asks all peers.
pub(crate) async fn ask(
    pool: &Pool,
    call: &Call,
    wanted: &WantedStatistics,
) -> Result<Gathered<Value>, ApiFailure> {
    let request = TsdbStatisticsRequest {
        tenant: String::new(),
        limit: i32::try_from(wanted.limit).unwrap_or(i32::MAX),
        partial_response_strategy: call.strategy(),
        matchers: wanted.matchers.clone(),
    };
    let gathered = fetch(pool, call, &request).await?;
    let merged = merged(gathered.items, wanted).ok_or_else(|| {
        let tenant = wanted.tenant.as_deref().unwrap_or_default();
        ApiFailure::internal(format!("retrieving tsdb statistics: {tenant} tenant not found"))
    })?;
    Ok(Gathered {
        items: vec![merged],
        warnings: gathered.warnings,
        charge: gathered.charge,
    })
}

/// Statistics as all peers say them.
pub(crate) async fn fetch(
    pool: &Pool,
    call: &Call,
    request: &TsdbStatisticsRequest,
) -> Result<Gathered<TsdbStatistics>, ApiFailure> {
    let read = |response: TsdbStatisticsResponse| match response.result {
        Some(tsdb_statistics_response::Result::Statistics(statistics)) => Said::Item(statistics),
        Some(tsdb_statistics_response::Result::Warning(warning)) => Said::Warning(warning),
        None => Said::Nothing,
    };
    let question = Question {
        api: Api::Status,
        path: "/thanos.Status/TSDBStatistics",
        shape: &STATISTICS,
        read,
    };
    gather(pool, call, question, |_| Some(request.clone())).await
}

/// One answer of all; `None` if nobody knows the tenant.
pub(super) fn merged(all: Vec<TsdbStatistics>, wanted: &WantedStatistics) -> Option<Value> {
    let entries = all.into_iter().flat_map(|statistics| statistics.statistics);
    let mut entries: Vec<TsdbStatisticsEntry> = match &wanted.tenant {
        None => entries.map(|(_, entry)| entry).collect(),
        Some(tenant) => {
            let of_tenant = entries.filter(|(name, _)| name == tenant);
            of_tenant.map(|(_, entry)| entry).collect()
        }
    };
    if wanted.tenant.is_some() && entries.is_empty() {
        return None;
    }
    let head = merged_head(&entries);
    let mut list = |pick: fn(&mut TsdbStatisticsEntry) -> &mut Vec<Statistic>, merge: fn(u64, u64) -> u64| {
        let lists = entries.iter_mut().map(|entry| std::mem::take(pick(entry)));
        merged_list(lists, merge, wanted.limit)
    };
    Some(json!({
        "headStats": head,
        "seriesCountByMetricName": list(|entry| &mut entry.series_count_by_metric_name, u64::saturating_add),
        "labelValueCountByLabelName": list(|entry| &mut entry.label_value_count_by_label_name, u64::max),
        "memoryInBytesByLabelName": list(|entry| &mut entry.memory_in_bytes_by_label_name, u64::saturating_add),
        "seriesCountByLabelValuePair": list(|entry| &mut entry.series_count_by_label_value_pair, u64::saturating_add),
    }))
}

fn merged_head(entries: &[TsdbStatisticsEntry]) -> Value {
    let mut sum = HeadStatistics::default();
    for head in entries.iter().filter_map(|entry| entry.head_statistics) {
        sum.num_series = sum.num_series.saturating_add(head.num_series);
        sum.num_label_pairs = sum.num_label_pairs.saturating_add(head.num_label_pairs);
        sum.chunk_count = sum.chunk_count.saturating_add(head.chunk_count);
        if sum.min_time <= 0 || sum.min_time > head.min_time {
            sum.min_time = head.min_time;
        }
        sum.max_time = sum.max_time.max(head.max_time);
    }
    json!({
        "numSeries": sum.num_series,
        "numLabelPairs": sum.num_label_pairs,
        "chunkCount": sum.chunk_count,
        "minTime": sum.min_time,
        "maxTime": sum.max_time,
    })
}

fn merged_list(
    lists: impl Iterator<Item = Vec<Statistic>>,
    merge: fn(u64, u64) -> u64,
    limit: usize,
) -> Vec<Value> {
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    for statistic in lists.flatten() {
        let value = by_name.entry(statistic.name).or_default();
        *value = merge(*value, statistic.value);
    }
    let mut sorted: Vec<(String, u64)> = by_name.into_iter().collect();
    // Names are sorted already, and stay so among equals.
    sorted.sort_by_key(|(_, value)| std::cmp::Reverse(*value));
    sorted.truncate(limit);
    let list = sorted
        .into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }));
    list.collect()
}
