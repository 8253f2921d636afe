//! What can be asked of the querier.

use std::time::Duration;

use sabre_model::Matcher;
use sabre_proto::thanos::ShardInfo;

/// A PromQL query.
#[derive(Clone, Debug)]
pub struct QueryRequest {
    /// The query's text.
    pub expression: String,
    /// When it is evaluated.
    pub times: QueryTimes,
    /// How long a sample stands for its series, in milliseconds, in place of the flags; must be positive.
    pub lookback_delta_ms: Option<i64>,
    /// The coarsest resolution that will do, in place of the flags.
    pub max_source_resolution: Option<Resolution>,
    /// Most series in the answer; 0 for no limit.
    pub limit: usize,
    /// Whether times of the parts of the evaluation are wanted in [`Statistics`](super::Statistics): measuring them
    /// takes a little time itself.
    pub wants_times: bool,
    /// Of whom it is asked, and how.
    pub context: RequestContext,
}

/// The times at which a query is evaluated, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryTimes {
    /// One time.
    Instant {
        /// That time.
        time_ms: i64,
    },
    /// All times from `start_ms` to `end_ms` that are `step_ms` apart.
    Range {
        /// The first time.
        start_ms: i64,
        /// No later time.
        end_ms: i64,
        /// The distance.
        step_ms: i64,
    },
}

/// `max_source_resolution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This many milliseconds; 0 for raw data only.
    Ms(i64),
    /// What goes with the step: a fifth of it for a range, the flag's default for an instant.
    Auto,
}

/// Series, names or values of labels by matchers.
#[derive(Clone, Debug)]
pub struct SeriesRequest {
    /// Series satisfy all matchers of one of these sets (`match[]`). Series cannot be had without; labels of all series
    /// can.
    pub matchers: Vec<Vec<Matcher>>,
    /// The first time in milliseconds, included.
    pub start_ms: i64,
    /// The last time in milliseconds, included.
    pub end_ms: i64,
    /// Most items in the answer; 0 for no limit.
    pub limit: usize,
    /// Of whom it is asked, and how.
    pub context: RequestContext,
}

/// Of whom something is asked, and how.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// Whether replicas are made one.
    pub dedup: bool,
    /// Labels that tell replicas apart, in place of those of the flags.
    pub replica_labels: Option<Vec<String>>,
    /// Only stores that satisfy one of these sets are asked (`storeMatch[]`); empty for all.
    pub store_matchers: Vec<Vec<Matcher>>,
    /// The part of the series that is wanted (`shard_info`).
    pub shard: Option<ShardInfo>,
    /// Whether an answer without a store that fails is better than none, in place of the flag.
    pub partial_response: Option<bool>,
    /// How long it may take, if that is less than what the flag allows.
    pub timeout: Option<Duration>,
    /// The tenant, whose label is enforced where the configuration says so.
    pub tenant: Option<String>,
    /// What goes to every peer in metadata, such as the tenant.
    pub metadata: Vec<(String, String)>,
}

impl QueryTimes {
    /// As Thanos calls the step of a trace.
    pub(super) fn span_name(self) -> &'static str {
        match self {
            Self::Instant { .. } => "promql_instant_query",
            Self::Range { .. } => "promql_range_query",
        }
    }
}
