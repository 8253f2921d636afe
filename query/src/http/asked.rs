//! From parameters to what the evaluator is asked.

#[cfg(test)]
mod tests;

use std::time::Duration;

use sabre_model::{Matcher, quote::GoQuoted};
use sabre_promql::parse_selector;
use sabre_proto::thanos::ShardInfo;
use serde::Deserialize;

use super::{
    failure::ApiFailure,
    form::Form,
    options::ApiOptions,
    tenant::Tenant,
    values::{self, MAX_TIME_MS, MIN_TIME_MS},
};
use crate::evaluate::{QueryRequest, QueryTimes, RequestContext, Resolution, SeriesRequest};

/// Most steps between the points of a range query; the points are one more.
const MAX_STEPS: i64 = 11_000;
/// A range without a step is cut into so many.
const STEPS_OF_A_RANGE: i64 = 250;
const NANOS_PER_MS: i64 = 1_000_000;
const MS_PER_SECOND: i64 = 1_000;

/// A query as it was asked, and what of it concerns the answer only.
#[derive(Clone, Debug)]
pub(crate) struct AskedQuery {
    pub(crate) request: QueryRequest,
    pub(crate) statistics: WantedStatistics,
    /// `analyze`: whether the answer is to say what the query cost at each endpoint.
    pub(crate) analyze: bool,
}

/// `stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedStatistics {
    None,
    /// Those of Prometheus.
    Some,
    /// `all`: also what only Sabre has.
    All,
}

/// `shard_info`, as Thanos' query-frontend sends it.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Shard {
    shard_index: i64,
    total_shards: i64,
    by: bool,
    labels: Vec<String>,
}

/// Reads a query at one time.
pub(crate) fn instant_query(form: &Form, tenant: Tenant, now_ms: i64) -> Result<AskedQuery, ApiFailure> {
    let time_ms = time_or(form, "time", now_ms)?;
    query(form, tenant, QueryTimes::Instant { time_ms })
}

/// Reads a query over a range of times.
pub(crate) fn range_query(
    form: &Form,
    tenant: Tenant,
    options: &ApiOptions,
) -> Result<AskedQuery, ApiFailure> {
    let start_ms = values::time_ms(form.first("start").unwrap_or_default())?;
    let end_ms = values::time_ms(form.first("end").unwrap_or_default())?;
    if end_ms < start_ms {
        return Err(end_before_start());
    }
    let length_ms = end_ms.saturating_sub(start_ms);
    let step_ms = step_ms(form, length_ms, options)?;
    if step_ms <= 0 {
        return Err(ApiFailure::bad_data(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if length_ms / step_ms > MAX_STEPS {
        return Err(ApiFailure::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let times = QueryTimes::Range {
        start_ms,
        end_ms,
        step_ms,
    };
    query(form, tenant, times)
}

/// Reads what series, or names and values of labels, are wanted.
pub(crate) fn series(
    form: &Form,
    tenant: Tenant,
    options: &ApiOptions,
    now_ms: i64,
) -> Result<SeriesRequest, ApiFailure> {
    let range_ms = i64::try_from(options.metadata_range.as_millis()).unwrap_or(i64::MAX);
    let (first, last) = match range_ms {
        0 => (MIN_TIME_MS, MAX_TIME_MS),
        _ => (now_ms.saturating_sub(range_ms), now_ms),
    };
    let start_ms = time_or(form, "start", first).map_err(|failure| typed(&failure))?;
    let end_ms = time_or(form, "end", last).map_err(|failure| typed(&failure))?;
    if end_ms < start_ms {
        return Err(typed(&end_before_start()));
    }
    Ok(SeriesRequest {
        matchers: selectors(form, "match[]")?,
        start_ms,
        end_ms,
        limit: values::limit(form.first("limit"))?,
        context: context(form, tenant)?,
    })
}

/// Thanos wraps these twice, so that the type stands in the text too.
fn typed(failure: &ApiFailure) -> ApiFailure {
    ApiFailure {
        kind: failure.kind,
        message: format!("{}: {}", failure.kind.as_str(), failure.message),
    }
}

fn end_before_start() -> ApiFailure {
    ApiFailure::bad_data("end timestamp must not be before start time")
}

fn query(form: &Form, tenant: Tenant, times: QueryTimes) -> Result<AskedQuery, ApiFailure> {
    let mut context = context(form, tenant)?;
    let resolution = resolution(form)?;
    context.shard = shard(form)?;
    engine(form)?;
    let lookback_delta_ms = lookback_delta_ms(form)?;
    let statistics = match form.first("stats") {
        None => WantedStatistics::None,
        Some("all") => WantedStatistics::All,
        Some(_) => WantedStatistics::Some,
    };
    let request = QueryRequest {
        expression: form.first("query").unwrap_or_default().to_owned(),
        times,
        lookback_delta_ms,
        max_source_resolution: resolution,
        limit: values::limit(form.first("limit"))?,
        wants_times: statistics == WantedStatistics::All,
        context,
    };
    Ok(AskedQuery {
        request,
        statistics,
        analyze: matches!(form.first("analyze"), Some("true" | "1")),
    })
}

/// What all requests have in common.
fn context(form: &Form, tenant: Tenant) -> Result<RequestContext, ApiFailure> {
    let timeout = form.first("timeout").map(values::duration_ns).transpose()?;
    let timeout = timeout.map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)));
    let truth = |name: &str| {
        let value = form.first(name).map(values::boolean);
        value.transpose().map_err(|failure| failure.of_parameter(name))
    };
    let dedup = truth("dedup")?.unwrap_or(true);
    let replica_labels = form.list("replicaLabels[]");
    let store_matchers = selectors(form, "storeMatch[]")?;
    Ok(RequestContext {
        dedup,
        shard: None,
        replica_labels: (!replica_labels.is_empty()).then_some(replica_labels),
        store_matchers,
        partial_response: truth("partial_response")?,
        timeout,
        metadata: tenant.metadata(),
        tenant: Some(tenant.0),
    })
}

/// The sets of matchers of a parameter that may come often.
pub(crate) fn selectors(form: &Form, name: &str) -> Result<Vec<Vec<Matcher>>, ApiFailure> {
    let parsed = form.all(name).map(parse_selector);
    parsed
        .map(|set| set.map_err(|error| ApiFailure::bad_data(error.to_string())))
        .collect()
}

/// A time, or what goes for it if it is not given.
pub(crate) fn time_or(form: &Form, name: &str, otherwise_ms: i64) -> Result<i64, ApiFailure> {
    let Some(text) = form.first(name) else {
        return Ok(otherwise_ms);
    };
    values::time_ms(text).map_err(|failure| ApiFailure {
        message: format!("Invalid time value for '{name}': {}", failure.message),
        ..failure
    })
}

fn step_ms(form: &Form, length_ms: i64, options: &ApiOptions) -> Result<i64, ApiFailure> {
    if let Some(text) = form.first("step") {
        let nanos = values::duration_ns(text).map_err(|failure| failure.of_parameter("step"))?;
        return Ok(nanos / NANOS_PER_MS);
    }
    let seconds = length_ms / MS_PER_SECOND / STEPS_OF_A_RANGE;
    let default = i64::try_from(options.default_step.as_secs()).unwrap_or(i64::MAX);
    Ok(seconds.max(default).saturating_mul(MS_PER_SECOND))
}

fn resolution(form: &Form) -> Result<Option<Resolution>, ApiFailure> {
    const NAME: &str = "max_source_resolution";
    let nanos = match form.first(NAME) {
        None => return Ok(None),
        Some("auto") => return Ok(Some(Resolution::Auto)),
        Some(text) => values::duration_ns(text).map_err(|failure| failure.of_parameter(NAME))?,
    };
    if nanos < 0 {
        let problem = format!("negative '{NAME}' is not accepted. Try a positive integer");
        return Err(ApiFailure::bad_data(problem));
    }
    Ok(Some(Resolution::Ms(nanos / NANOS_PER_MS)))
}

/// What is not positive leaves it to the flags.
fn lookback_delta_ms(form: &Form) -> Result<Option<i64>, ApiFailure> {
    const NAME: &str = "lookback_delta";
    let nanos = form.first(NAME).map(values::duration_ns).transpose();
    let nanos = nanos.map_err(|failure| failure.of_parameter(NAME))?;
    Ok(nanos.map(|nanos| nanos / NANOS_PER_MS).filter(|ms| *ms > 0))
}

/// There is one engine, which answers for both of Thanos'.
fn engine(form: &Form) -> Result<(), ApiFailure> {
    match form.first("engine") {
        None | Some("prometheus" | "thanos") => Ok(()),
        Some(other) => Err(ApiFailure::bad_data(format!("'{other}' bad engine"))),
    }
}

/// `shard_info`: the part of the series that is wanted.
fn shard(form: &Form) -> Result<Option<ShardInfo>, ApiFailure> {
    let Some(text) = form.first("shard_info") else {
        return Ok(None);
    };
    let shard: Shard = serde_json::from_str(text).map_err(|error| {
        let quoted = GoQuoted(text);
        ApiFailure::bad_data(format!(
            "could not unmarshal parameter shard_info: {error} in {quoted}"
        ))
    })?;
    Ok(Some(ShardInfo {
        shard_index: shard.shard_index,
        total_shards: shard.total_shards,
        by: shard.by,
        labels: shard.labels,
    }))
}
