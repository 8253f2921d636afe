//! How queries are evaluated, as the flags say.

use std::time::Duration;

use sabre_promql::ParseOptions;
use sabre_promql::source::HistogramMeans;
use sabre_runtime::budget::Budget;

use crate::dedup::DedupFunc;

/// How queries are evaluated.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Most queries at a time (`--query.max-concurrent`).
    pub max_concurrent: usize,
    /// Most selects of a query at a time (`--query.max-concurrent-select`).
    pub max_concurrent_select: usize,
    /// How long a select may take to open before others of the query, which are open and not wanted yet, are given up.
    pub select_patience: Duration,
    /// The longest that a query may take, its wait included (`--query.timeout`).
    pub timeout: Duration,
    /// How long a sample stands for its series, in milliseconds (`--query.lookback-delta`).
    pub lookback_delta_ms: i64,
    /// Whether that grows with the resolution of the data (`--query.dynamic-lookback-delta`).
    pub dynamic_lookback: bool,
    /// The step of subqueries that name none, in milliseconds (`--query.default-evaluation-interval`).
    pub subquery_step_ms: i64,
    /// Whether downsampled data may be used for ranges as a fifth of the step allows (`--query.auto-downsampling`).
    pub auto_downsampling: bool,
    /// The coarsest resolution for an instant, in milliseconds (`--query.instant.default.max_source_resolution`).
    pub instant_resolution_ms: i64,
    /// Labels that tell replicas apart (`--query.replica-label`).
    pub replica_labels: Vec<String>,
    /// Whether an answer without a store that fails is better than none (`--query.partial-response`).
    pub partial_response: bool,
    /// How replicas are made one (`--deduplication.func`).
    pub dedup_func: DedupFunc,
    /// How means of downsampled native histograms are made.
    pub histogram_means: HistogramMeans,
    /// What a query may contain (`--enable-feature`).
    pub parse: ParseOptions,
    /// The label that holds the tenant, where tenants may see their own series only (`--query.enforce-tenancy` with
    /// `--query.tenant-label-name`).
    pub enforced_tenant_label: Option<String>,
    /// How many threads evaluate a query.
    pub threads: usize,
    /// What all queries together may hold.
    pub budget: Budget,
    /// What one of them may hold.
    pub query_bytes: u64,
    /// The flag that says so, for errors.
    pub query_bytes_flag: String,
}

impl Default for EngineConfig {
    /// Thanos' defaults, its means of native histograms too, and no limit of memory.
    fn default() -> EngineConfig {
        EngineConfig {
            max_concurrent: 20,
            max_concurrent_select: 4,
            select_patience: Duration::from_millis(500),
            timeout: Duration::from_secs(120),
            lookback_delta_ms: 5 * 60_000,
            dynamic_lookback: true,
            subquery_step_ms: 60_000,
            auto_downsampling: false,
            instant_resolution_ms: 0,
            replica_labels: Vec::new(),
            partial_response: true,
            dedup_func: DedupFunc::Penalty,
            histogram_means: HistogramMeans::AsThanos,
            parse: ParseOptions::default(),
            enforced_tenant_label: None,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            budget: Budget::unlimited(),
            query_bytes: u64::MAX,
            query_bytes_flag: "no flag".to_owned(),
        }
    }
}
