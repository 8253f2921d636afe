//! How a store gateway works.

use std::{path::PathBuf, time::Duration};

use sabre_block::{fetcher::DiscoveryStrategy, filter::TimePartition};
use sabre_model::relabel::RelabelConfig;

use crate::{limits::LimitSettings, postings_cost::CostRule};

/// When index-headers are made, opened and closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderPolicy {
    /// Make them when a request first needs them; else when the sync finds the block.
    pub download_lazily: bool,
    /// Open them when a request needs them; else as soon as the store is ready.
    pub open_lazily: bool,
    /// Close them when they were not used for so long; never if `None`.
    pub idle: Option<Duration>,
}

impl HeaderPolicy {
    /// Whether index-headers are only opened for requests.
    pub fn is_lazy(&self) -> bool {
        self.open_lazily || self.download_lazily
    }
}

/// The settings of a store gateway.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Index-headers and metas are kept here.
    pub data_dir: PathBuf,
    /// Keep index-headers on disk; else they are held in memory.
    pub cache_index_header: bool,
    /// When index-headers are made, opened and closed.
    pub headers: HeaderPolicy,
    /// How often the blocks of the bucket are looked up.
    pub sync_interval: Duration,
    /// How many index-headers are loaded at once.
    pub block_sync_concurrency: usize,
    /// How many metas are read at once.
    pub meta_fetch_concurrency: usize,
    /// How blocks are found.
    pub discovery: DiscoveryStrategy,
    /// The part of time that is served; all of it if `None`.
    pub time_partition: Option<TimePartition>,
    /// Only blocks whose external labels, with `__block_id` added, these keep are served.
    pub selector: Vec<RelabelConfig>,
    /// Younger blocks are not served.
    pub consistency_delay_ms: i64,
    /// Blocks with an older deletion mark are not served.
    pub ignore_deletion_marks_delay_ms: i64,
    /// Limits of every request.
    pub limits: LimitSettings,
    /// How many `Series` calls run at once.
    pub series_concurrency: usize,
    /// Every so many values of a label one position is kept in memory.
    pub posting_offsets_sampling: u32,
    /// When postings lists are left out because they are not worth their bytes; never if `None`.
    pub cost_rule: Option<CostRule>,
    /// Bytes of the index cache in memory, unless another one is used.
    pub index_cache_bytes: u64,
    /// Bytes of index-header pages that are kept in memory.
    pub page_cache_bytes: u64,
    /// Bytes of labels that are kept in memory from request to request.
    pub warm_labels_bytes: u64,
    /// Asked for when the index does not tell how long a chunk is.
    pub estimated_chunk_bytes: u32,
    /// Asked for behind the start of the last series of a read if the block does not say how long its series are, and at
    /// most; `None` if nobody has said.
    pub estimated_series_bytes: Option<u64>,
}

impl StoreConfig {
    /// Thanos' defaults, with a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cache_index_header: true,
            headers: HeaderPolicy::default(),
            sync_interval: Duration::from_secs(15 * 60),
            block_sync_concurrency: 20,
            meta_fetch_concurrency: 32,
            discovery: DiscoveryStrategy::default(),
            time_partition: None,
            selector: Vec::new(),
            consistency_delay_ms: 0,
            ignore_deletion_marks_delay_ms: 24 * 3_600_000,
            limits: LimitSettings::default(),
            series_concurrency: 20,
            posting_offsets_sampling: 32,
            cost_rule: None,
            index_cache_bytes: 250 << 20,
            page_cache_bytes: 16 << 20,
            warm_labels_bytes: 16 << 20,
            estimated_chunk_bytes: 16_000,
            estimated_series_bytes: None,
        }
    }
}
