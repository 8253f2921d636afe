//! `thanos.Query`: queries that another querier hands down.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use sabre_proto::{
    convert::matchers_from_wire,
    thanos::{
        QueryRangeRequest, QueryRangeResponse, QueryRequest as WireRequest, QueryResponse, QueryStats,
        ShardInfo, StoreMatchers, TimeSeriesBatch, query_range_response, query_response, query_server::Query,
    },
};
use sabre_runtime::clock;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Services,
    answers::time_series,
    forwarded, query_status,
    unread::{Messages, while_read},
};
use crate::evaluate::{Answer, QueryRequest, QueryTimes, RequestContext, Resolution};

/// Most series of a batch, whatever is asked for.
const MAX_BATCH: usize = 1024;

/// What both kinds of queries have.
struct Common {
    query: String,
    timeout_seconds: i64,
    max_resolution_seconds: i64,
    replica_labels: Vec<String>,
    store_matchers: Vec<StoreMatchers>,
    dedup: bool,
    partial_response: bool,
    shard: Option<ShardInfo>,
    lookback_delta_seconds: i64,
    batch_size: i64,
}

/// What both kinds of requests say.
macro_rules! common {
    ($request:ident) => {
        Common {
            query: $request.query,
            timeout_seconds: $request.timeout_seconds,
            max_resolution_seconds: $request.max_resolution_seconds,
            replica_labels: $request.replica_labels,
            store_matchers: $request.store_matchers,
            dedup: $request.enable_dedup,
            partial_response: $request.enable_partial_response,
            shard: $request.shard_info,
            lookback_delta_seconds: $request.lookback_delta_seconds,
            batch_size: $request.response_batch_size,
        }
    };
}

/// A message as both kinds of answers say it.
macro_rules! said {
    ($module:ident, $message:ident) => {
        match $message {
            Message::Warning(text) => $module::Result::Warnings(text),
            Message::Batch(batch) => $module::Result::TimeseriesBatch(batch),
            Message::One(series) => $module::Result::Timeseries(series),
            Message::Stats(stats) => $module::Result::Stats(stats),
        }
    };
}

impl Services {
    async fn evaluate(
        &self,
        common: Common,
        times: QueryTimes,
        metadata: Vec<(String, String)>,
    ) -> Result<Answer, Status> {
        let mut store_matchers = Vec::new();
        for set in &common.store_matchers {
            store_matchers.push(matchers_from_wire(&set.label_matchers)?);
        }
        let timeout = u64::try_from(common.timeout_seconds).unwrap_or(0);
        let tenant = metadata.iter().find(|(name, _)| name == super::TENANT);
        let request = QueryRequest {
            expression: common.query,
            times,
            lookback_delta_ms: positive_ms(common.lookback_delta_seconds),
            max_source_resolution: match (times, common.max_resolution_seconds) {
                // Left to the flag, as in Thanos.
                (QueryTimes::Instant { .. }, 0) => None,
                (_, seconds) => Some(Resolution::Ms(ms(seconds))),
            },
            limit: 0,
            wants_times: false,
            context: RequestContext {
                dedup: common.dedup,
                replica_labels: (!common.replica_labels.is_empty()).then_some(common.replica_labels),
                store_matchers,
                shard: common.shard,
                partial_response: Some(common.partial_response),
                timeout: (timeout > 0).then(|| Duration::from_secs(timeout)),
                tenant: tenant.map(|(_, tenant)| tenant.clone()),
                metadata,
            },
        };
        let answer = self.queries.query(&request).await;
        answer.map_err(|failure| query_status(&failure))
    }
}

#[async_trait]
impl Query for Services {
    async fn query(
        &self,
        request: Request<WireRequest>,
    ) -> Result<Response<Messages<QueryResponse>>, Status> {
        let metadata = forwarded(request.metadata())?;
        let request = request.into_inner();
        let times = QueryTimes::Instant {
            // As in Thanos: the beginning of 1970 is how a caller says now.
            time_ms: match request.time_seconds {
                0 => clock::now_ms(),
                seconds => ms(seconds),
            },
        };
        let common = common!(request);
        let batch_size = common.batch_size;
        let answer = self.evaluate(common, times, metadata).await?;
        let messages = messages(answer, batch_size).map(|message| {
            Ok(QueryResponse {
                result: Some(said!(query_response, message)),
            })
        });
        Ok(Response::new(while_read(messages.boxed())))
    }

    async fn query_range(
        &self,
        request: Request<QueryRangeRequest>,
    ) -> Result<Response<Messages<QueryRangeResponse>>, Status> {
        let metadata = forwarded(request.metadata())?;
        let request = request.into_inner();
        let times = QueryTimes::Range {
            start_ms: ms(request.start_time_seconds),
            end_ms: ms(request.end_time_seconds),
            step_ms: ms(request.interval_seconds),
        };
        let common = common!(request);
        let batch_size = common.batch_size;
        let answer = self.evaluate(common, times, metadata).await?;
        let messages = messages(answer, batch_size).map(|message| {
            Ok(QueryRangeResponse {
                result: Some(said!(query_range_response, message)),
            })
        });
        Ok(Response::new(while_read(messages.boxed())))
    }
}

enum Message {
    Warning(String),
    One(sabre_proto::prometheus_copy::TimeSeries),
    Batch(TimeSeriesBatch),
    Stats(QueryStats),
}

/// Warnings, then series, then what it cost.
fn messages(answer: Answer, batch_size: i64) -> impl futures::Stream<Item = Message> + Send + 'static {
    let stats = QueryStats {
        samples_total: i64::try_from(answer.statistics.samples).unwrap_or(i64::MAX),
        peak_samples: i64::try_from(answer.statistics.peak_samples()).unwrap_or(i64::MAX),
    };
    let charged = answer.statistics.charged.clone();
    let batch = usize::try_from(batch_size).unwrap_or(0).clamp(1, MAX_BATCH);
    let warnings = answer
        .warnings
        .into_iter()
        .chain(answer.infos)
        .map(Message::Warning);
    let series = stream::iter(time_series(answer.value))
        .chunks(batch)
        .map(move |mut series| match (batch, series.pop()) {
            (1, Some(one)) => Message::One(one),
            (_, last) => {
                series.extend(last);
                Message::Batch(TimeSeriesBatch { series })
            }
        });
    let all = stream::iter(warnings)
        .chain(series)
        .chain(stream::iter([Message::Stats(stats)]));
    // The memory of the value is charged until all of it is sent, or nobody reads on.
    all.map(move |message| {
        let _held = &charged;
        message
    })
}

fn ms(seconds: i64) -> i64 {
    seconds.saturating_mul(1000)
}

fn positive_ms(seconds: i64) -> Option<i64> {
    (seconds > 0).then(|| ms(seconds))
}
