//! What the passes share: the bucket, the settings, and what this process knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use sabre_block::fetcher::{DiscoveryStrategy, FetcherMetrics, FetcherOptions};
use sabre_block::filter::{FilterChain, TimePartition};
use sabre_block::mark::MarkKind;
use sabre_block::{MetaFetcher, View};
use sabre_model::{BlockId, relabel::RelabelConfig};
use sabre_objstore::SharedBucket;
use sabre_runtime::budget::Budget;
use sabre_runtime::metrics::Registry;
use sabre_tsdb::merge::OverlapRule;

use crate::Clock;
use crate::execute::{JobContext, JobOptions};
use crate::leftovers;
use crate::look::Looked;
use crate::metrics::CompactorMetrics;
use crate::pass::Proving;
use crate::plan::{BlockInfo, CompactionPlan, Group, Policy};
use crate::quarantine::{Quarantine, Work};
use crate::status::Board;

/// The settings of a compactor.
#[derive(Debug, Clone)]
pub struct CompactorConfig {
    /// Folder for local files; may be lost at any time.
    pub data_dir: PathBuf,
    /// Whether metas are kept there over a restart.
    pub keeps_metas: bool,
    /// Whether the process goes on for ever. Else it ends with its first iteration, and another comes later.
    pub waits: bool,
    /// The settings of all planners.
    pub policy: Policy,
    /// Labels that tell replicas apart, which are merged.
    pub replica_labels: Vec<String>,
    /// What becomes of samples that overlap.
    pub rule: OverlapRule,
    /// Fresh blocks younger than this are not looked at, in milliseconds.
    pub consistency_delay_ms: i64,
    /// Only blocks of this part of time are worked on.
    pub time_partition: Option<TimePartition>,
    /// Only blocks whose external labels these keep are worked on.
    pub selector: Vec<RelabelConfig>,
    /// How blocks are found.
    pub discovery: DiscoveryStrategy,
    /// How many metas are read at once.
    pub meta_fetch_concurrency: usize,
    /// How many groups are compacted at once.
    pub compact_concurrency: usize,
    /// How many blocks are downsampled at once.
    pub downsample_concurrency: usize,
    /// Whether label names out of order are accepted.
    pub accepts_malformed_index: bool,
    /// Whether a block with chunks out of order gets a mark in the bucket; else this process leaves it alone.
    pub marks_out_of_order: bool,
    /// Whether a broken block stops the process, as it stops Thanos.
    pub halts_on_error: bool,
    /// Whether files are hashed.
    pub hashes: bool,
    /// The size at which segments are cut.
    pub segment_bytes: u32,
}

/// Compacts, downsamples, retains and cleans the blocks of a bucket.
pub struct Compactor {
    pub(crate) config: CompactorConfig,
    pub(crate) context: JobContext,
    pub(crate) metrics: CompactorMetrics,
    pub(crate) clock: Clock,
    pub(crate) board: Board,
    pub(crate) fetcher: MetaFetcher,
    pub(crate) quarantine: Mutex<Quarantine>,
    pub(crate) overlaps: Mutex<BTreeMap<String, Vec<BlockId>>>,
    /// What the looks at the bucket found.
    pub(crate) looked: Mutex<Looked>,
    /// What is remembered of aggregates that are to be proven.
    pub(crate) proving: tokio::sync::Mutex<Proving>,
    /// Whether the process was told to stop at an error, and did.
    pub(crate) has_halted: AtomicBool,
    /// Whether this process has gone through all of its work once, and so knows again which blocks are broken.
    pub(crate) has_passed: AtomicBool,
    /// Names of the results of compactions that failed, so that the next try writes over what the last one left.
    ids: Mutex<HashMap<Vec<BlockId>, [BlockId; 2]>>,
    /// Plans that failed although all their blocks were found sound.
    doubts: Mutex<BTreeSet<Vec<BlockId>>>,
    /// Blocks that an earlier run was writing when it stopped.
    own: Mutex<Vec<BlockId>>,
}

impl std::fmt::Debug for Compactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compactor")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl CompactorConfig {
    /// The defaults, with `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            keeps_metas: true,
            waits: false,
            policy: Policy::default(),
            replica_labels: Vec::new(),
            rule: OverlapRule::OneToOne,
            consistency_delay_ms: 30 * 60_000,
            time_partition: None,
            selector: Vec::new(),
            discovery: DiscoveryStrategy::default(),
            meta_fetch_concurrency: 32,
            compact_concurrency: 1,
            downsample_concurrency: 1,
            accepts_malformed_index: false,
            marks_out_of_order: false,
            halts_on_error: false,
            hashes: false,
            segment_bytes: sabre_tsdb::segment::DEFAULT_SEGMENT_BYTES,
        }
    }

    /// The defaults for what writes no blocks, and so needs no local files.
    pub fn without_data_dir() -> Self {
        Self {
            keeps_metas: false,
            ..Self::new("")
        }
    }

    fn filters(&self) -> FilterChain {
        FilterChain {
            time_partition: self.time_partition.clone(),
            shard: self.selector.clone(),
            consistency_delay_ms: self.consistency_delay_ms,
            // Marked blocks are hidden well before they are deleted.
            ignore_deletion_marks_delay_ms: Some(self.policy.delete_delay_ms / 2),
            replica_labels: self.replica_labels.clone(),
            drop_duplicates: true,
        }
    }
}

impl Compactor {
    /// Makes a compactor; nothing is read or written yet.
    pub fn new(
        bucket: SharedBucket,
        config: CompactorConfig,
        budget: Budget,
        registry: &Registry,
        clock: Clock,
    ) -> Self {
        let options = FetcherOptions {
            strategy: config.discovery,
            concurrency: config.meta_fetch_concurrency,
            data_dir: config.keeps_metas.then(|| config.data_dir.clone()),
            marks: MarkKind::ALL.to_vec(),
        };
        let metrics = FetcherMetrics::register(registry);
        let fetcher = MetaFetcher::new(SharedBucket::clone(&bucket), options, config.filters(), metrics);
        let job_options = JobOptions {
            scratch_dir: config.data_dir.join(SCRATCH_DIR),
            accepts_label_order: config.accepts_malformed_index,
            hashes: config.hashes,
            segment_bytes: config.segment_bytes,
            concurrency: config.compact_concurrency.max(config.downsample_concurrency),
            ..JobOptions::default()
        };
        let metrics = CompactorMetrics::register(registry);
        metrics
            .delete_delay
            .set(config.policy.delete_delay_ms as f64 / 1000.0);
        metrics
            .consistency_delay
            .set(config.consistency_delay_ms as f64 / 1000.0);
        Self {
            config,
            context: JobContext {
                bucket,
                budget,
                options: Arc::new(job_options),
            },
            metrics,
            clock,
            board: Board::default(),
            fetcher,
            quarantine: Mutex::default(),
            overlaps: Mutex::default(),
            looked: Mutex::default(),
            proving: tokio::sync::Mutex::default(),
            has_halted: AtomicBool::new(false),
            has_passed: AtomicBool::new(false),
            ids: Mutex::default(),
            doubts: Mutex::default(),
            own: Mutex::default(),
        }
    }

    /// The time, in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Leaves a block alone.
    pub(crate) fn set_apart(&self, block: BlockId, work: Work, why: String) {
        self.board.error(self.now_ms(), format!("{block}: {why}"));
        self.quarantine.lock().add(block, work, why, self.now_ms());
        self.show_trouble();
    }

    /// Forgets that blocks were found broken.
    pub(crate) fn absolve(&self, blocks: impl IntoIterator<Item = BlockId>, work: Work) {
        {
            let mut quarantine = self.quarantine.lock();
            for block in blocks {
                quarantine.clear(block, work);
            }
        }
        self.show_trouble();
    }

    /// The blocks that this work leaves alone now.
    pub(crate) fn avoided(&self, work: Work) -> BTreeSet<BlockId> {
        self.quarantine.lock().avoided(work, self.now_ms())
    }

    /// Runs `read` on what is left alone.
    pub(crate) fn with_quarantine<T>(&self, read: impl FnOnce(&Quarantine) -> T) -> T {
        read(&self.quarantine.lock())
    }

    /// Notes which blocks of a group overlap, and tells of it when that is new.
    pub(crate) fn note_overlaps(&self, group: &str, blocks: Vec<BlockId>) {
        {
            let mut overlaps = self.overlaps.lock();
            if overlaps.get(group).map_or(&[][..], Vec::as_slice) == blocks {
                return;
            }
            if blocks.is_empty() {
                overlaps.remove(group);
            } else {
                let names: Vec<String> = blocks.iter().map(ToString::to_string).collect();
                let why = format!(
                    "blocks of group {group} overlap and are left alone: {}; mark all but one no-compact or for deletion, \
                     or allow vertical compaction",
                    names.join(", ")
                );
                tracing::error!("{why}");
                self.board.error(self.now_ms(), why);
                overlaps.insert(group.to_owned(), blocks);
            }
        }
        self.show_trouble();
    }

    /// Forgets overlaps of groups that are not there any more.
    pub(crate) fn forget_overlaps_of_others(&self, view: &View, groups: &[Group]) {
        if view.is_complete() {
            let is_there = |key: &str| groups.iter().any(|group| group.key == key);
            self.overlaps.lock().retain(|key, _| is_there(key));
        }
        self.show_trouble();
    }

    /// Names for the results of a plan: those of the last try, if it failed.
    pub(crate) fn names_for(&self, sources: &[BlockId]) -> [BlockId; 2] {
        let mut ids = self.ids.lock();
        if let Some(known) = ids.get(sources) {
            return *known;
        }
        let time_ms = u64::try_from(self.now_ms()).unwrap_or(0);
        let new = [
            BlockId::from_parts(time_ms, rand::random()),
            BlockId::from_parts(time_ms, rand::random()),
        ];
        ids.insert(sources.to_vec(), new);
        new
    }

    /// Forgets the names: they are taken.
    pub(crate) fn names_taken(&self, sources: &[BlockId]) {
        self.ids.lock().remove(sources);
        self.doubts.lock().remove(sources);
    }

    /// Whether a plan fails for the first time although its blocks are sound.
    pub(crate) fn is_first_doubt(&self, plan: &CompactionPlan) -> bool {
        let sources = plan.sources.iter().map(BlockInfo::id).collect();
        self.doubts.lock().insert(sources)
    }

    /// Blocks that earlier runs were writing when they stopped.
    pub(crate) fn own_leftovers(&self) -> Vec<BlockId> {
        self.own.lock().clone()
    }

    /// Removes the local files that earlier runs left, and remembers which blocks they belong to. The empty folders stay
    /// until the uploads of these blocks are aborted: this run may be killed before it comes to that, too.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub async fn prepare(&self) -> std::io::Result<()> {
        let dir = self.context.options.scratch_dir.clone();
        let leftovers = sabre_runtime::blocking(move || leftovers::empty(&dir)).await;
        *self.own.lock() = leftovers.map_err(std::io::Error::other)??;
        Ok(())
    }

    /// Forgets the blocks of earlier runs, whose uploads are all aborted.
    pub(crate) async fn forget_leftovers(&self) {
        let blocks = std::mem::take(&mut *self.own.lock());
        let dir = self.context.options.scratch_dir.clone();
        let forgotten = sabre_runtime::blocking(move || leftovers::forget(&dir, &blocks)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "the folders of earlier runs could not be removed");
        }
    }
}

/// Folder below the data folder for the local files of results.
const SCRATCH_DIR: &str = "compact";
