//! Where series come from: the seam between what fans out and what evaluates.

use std::sync::Arc;
use std::time::Instant;

use futures::stream::BoxStream;
use sabre_model::{Labels, Matcher};
use sabre_proto::thanos::{AggrChunk, QueryHints, ShardInfo};
use sabre_runtime::budget::Budget;

/// What is asked of all stores.
#[derive(Clone, Debug, Default)]
pub struct SelectRequest {
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// The first time, in milliseconds, included.
    pub mint: i64,
    /// The last time, in milliseconds, included.
    pub maxt: i64,
    /// The coarsest resolution that will do, in milliseconds; 0 for raw data only.
    pub max_resolution_ms: i64,
    /// The aggregates of downsampled chunks that are needed, as numbers of `thanos::Aggr`.
    pub aggregates: Vec<i32>,
    /// Whether labels are all that is wanted.
    pub skip_chunks: bool,
    /// What the series are for.
    pub hints: Option<QueryHints>,
    /// The part of the series that is wanted.
    pub shard: Option<ShardInfo>,
    /// Most series; 0 for no limit.
    pub limit: u64,
}

/// How a request is to be answered.
#[derive(Clone, Debug)]
pub struct SelectOptions {
    /// Labels that tell replicas apart and are taken off; empty where replicas are kept apart.
    pub without_replica_labels: Vec<String>,
    /// Only stores that satisfy one of these sets of matchers are asked (`storeMatch[]`); empty for all.
    pub store_matchers: Vec<Vec<Matcher>>,
    /// Whether an answer without a store that fails is better than none.
    pub partial_response: bool,
    /// When all must have been answered.
    pub deadline: Option<Instant>,
    /// What goes to every peer in metadata, such as the tenant.
    pub metadata: Vec<(String, String)>,
    /// What is charged with all bytes that are held.
    pub budget: Budget,
    /// What the request costs.
    pub account: Arc<crate::source::Account>,
}

/// What a query cost: see `stats=all`.
#[derive(Debug, Default)]
pub struct Account {
    /// By endpoint address.
    pub endpoints: parking_lot::Mutex<std::collections::BTreeMap<String, EndpointAccount>>,
}

/// What one endpoint was asked, and gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointAccount {
    /// Calls.
    pub requests: u64,
    /// Series that came.
    pub series: u64,
    /// Chunks that came.
    pub chunks: u64,
    /// Samples in these, where their encoding tells.
    pub samples: u64,
    /// Bytes of the messages.
    pub bytes: u64,
    /// The time from the first call to the end of the last, in microseconds.
    pub time_us: u64,
}

/// A series with the chunks of all stores, or something to be told with the result.
#[derive(Clone, Debug)]
pub enum SeriesItem {
    /// Sorted by labels (of equal labels there is one); chunks sorted by `(mint, maxt)`, equal ones once.
    Series(Labels, Vec<AggrChunk>),
    /// A store that failed, by name and cause.
    Warning(String),
}

/// Why series cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceFailure {
    /// A store failed, and partial answers are not wanted.
    #[error("{0}")]
    Store(String),
    /// A limit: its name, the numbers and the flag are in the text.
    #[error("{0}")]
    Limit(String),
    /// The deadline passed.
    #[error("{0}")]
    Timeout(String),
    /// Whoever asked is gone.
    #[error("the query was cancelled")]
    Cancelled,
}

/// Series as they come.
pub type SeriesStream = BoxStream<'static, Result<SeriesItem, SourceFailure>>;

/// Values, sorted and each once, with warnings.
pub type Names = (Vec<String>, Vec<String>);

/// All stores behind the querier, as one. Dropping a stream cancels its calls.
#[async_trait::async_trait]
pub trait StoreSource: std::fmt::Debug + Send + Sync {
    /// Series of all stores that may have some, merged.
    ///
    /// # Errors
    /// No store can be asked, or one that must answer does not.
    async fn select(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<SeriesStream, SourceFailure>;

    /// Names of labels.
    ///
    /// # Errors
    /// As [`Self::select`].
    async fn label_names(
        &self,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<Names, SourceFailure>;

    /// Values of a label.
    ///
    /// # Errors
    /// As [`Self::select`].
    async fn label_values(
        &self,
        label: &str,
        request: SelectRequest,
        options: SelectOptions,
    ) -> Result<Names, SourceFailure>;
}
