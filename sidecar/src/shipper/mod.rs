//! Ships local blocks to the bucket.
//!
//! Every sync compares the data directory with the state file and the bucket: a pure [`plan`] says what happens to each
//! block, [`Shipper::sync`] does it, oldest block first. The bucket is asked before anything is sent, and meta.json goes
//! last; so after a crash at any point the next sync completes what is missing and sends nothing twice.

mod alarm;
mod backlog;
mod check;
pub(crate) mod disk;
mod foreign;
mod lock;
mod overlap;
mod pause;
mod plan;
mod retention;
mod scan;
mod ship;
mod staging;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod waiting;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use sabre_block::{BlockError, upload::HashFunc};
use sabre_model::{BlockId, Labels};
use sabre_objstore::SharedBucket;
use sabre_runtime::cpu::{WorkPanicked, blocking};
use tokio_util::sync::CancellationToken;

pub(crate) use self::lock::take_lock;
use self::{
    alarm::{Alarm, Loudness},
    backlog::Backlog,
    disk::{Disk, RealDisk},
    retention::Span,
    waiting::{WaitingBlocks, WaitingFile},
};
pub use self::{
    plan::{Policy, SkipReason, Step, overlaps, plan},
    retention::Retention,
    scan::{LocalBlock, LocalBlocks, UnreadableBlock, scan},
    state::{ReadState, StateFile},
    watch::Wakeups,
};
use crate::metrics::SidecarMetrics;

/// How blocks are shipped.
#[derive(Clone, Debug)]
pub struct ShipperConfig {
    /// Prometheus' data directory (`--tsdb.path`).
    pub tsdb_dir: PathBuf,
    /// The state file in it (`--shipper.meta-file-name`).
    pub state_file: String,
    /// `thanos.source` of shipped blocks.
    pub source: String,
    /// Which blocks.
    pub policy: Policy,
    /// Ship the others when a block's meta.json cannot be read; else the sync stops before it ships anything.
    pub skip_corrupted: bool,
    /// Files of a block that are sent at once (`--shipper.upload-concurrency`).
    pub upload_concurrency: usize,
    /// What is hashed into `thanos.files` (`--hash-func`).
    pub hash: HashFunc,
    /// Milliseconds since the epoch, for `thanos.upload_time`.
    pub now_ms: fn() -> i64,
}

/// Ships the blocks of one data directory.
#[derive(Debug)]
pub struct Shipper {
    config: ShipperConfig,
    bucket: SharedBucket,
    disk: Arc<dyn Disk>,
    state: Arc<StateFile>,
    waiting: Arc<WaitingFile>,
    metrics: SidecarMetrics,
    memory: Mutex<Memory>,
}

/// What is kept from sync to sync. After a restart only the count of losses hangs on it, for which the backlog is in a file.
#[derive(Debug, Default)]
struct Memory {
    /// Blocks whose trouble was logged: said once, not every 30 s.
    complained: BTreeSet<BlockId>,
    backlog: Backlog,
    /// What of it is in the file.
    written: WaitingBlocks,
    /// That the file cannot be written was said.
    is_unwritable_said: bool,
    /// Blocks that are in the bucket and not yet in the state file, which could not be written.
    unrecorded: BTreeSet<BlockId>,
    /// That it cannot was said.
    is_state_unwritable_said: bool,
    /// That no links to blocks can be made was said.
    is_unlinked_said: bool,
    alarm: Alarm,
    retention: Retention,
    /// The local blocks of the last look.
    spans: Vec<(BlockId, Span)>,
    /// Compacted blocks that have no place in the bucket, and when that was looked at.
    refused_ms: BTreeMap<BlockId, i64>,
    /// When foreign blocks were looked for.
    looked_for_foreign_ms: Option<i64>,
}

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Blocks sent.
    pub shipped: Vec<BlockId>,
    /// Blocks that the bucket had though the state file did not say so.
    pub found: Vec<BlockId>,
    /// Blocks that failed by themselves; the others went on.
    pub failed: Vec<BlockId>,
    /// The state file does not name all that it should: it could not be written, and will be at the next sync.
    pub is_state_stale: bool,
}

/// Why a sync ended early. Blocks shipped before are recorded all the same.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The data directory or, before the first sync, the staging directory or the state file.
    #[error("{path}: {source}")]
    Local {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A block cannot be read, and the operator wants that to stop the sync.
    #[error("block {block} cannot be read, nothing is shipped (--no-shipper.skip-corrupted-blocks): {why}")]
    Corrupted {
        /// The block.
        block: BlockId,
        /// File and reason.
        why: String,
    },
    /// The bucket does not take blocks.
    #[error("{0}")]
    Bucket(#[from] sabre_objstore::Error),
    /// A block could not be sent for a reason that will strike the next one too.
    #[error("{0}")]
    Block(#[from] BlockError),
    /// Prometheus has no external labels: its blocks could not be told from another's.
    #[error("no external labels, nothing is shipped")]
    NoExternalLabels,
    /// Work on local files panicked, or the process ends.
    #[error("{0}")]
    Work(#[from] WorkPanicked),
}

impl Shipper {
    /// A shipper from a data directory into `bucket`.
    pub fn new(config: ShipperConfig, bucket: SharedBucket, metrics: SidecarMetrics) -> Shipper {
        Shipper::on(Arc::new(RealDisk), config, bucket, metrics)
    }

    /// [`Shipper::new`] on a disk of choice.
    pub(crate) fn on(
        disk: Arc<dyn Disk>,
        config: ShipperConfig,
        bucket: SharedBucket,
        metrics: SidecarMetrics,
    ) -> Shipper {
        let state = StateFile::on(Arc::clone(&disk), &config.tsdb_dir, &config.state_file);
        let waiting = WaitingFile::on(Arc::clone(&disk), &config.tsdb_dir);
        Shipper {
            config,
            bucket,
            disk,
            state: Arc::new(state),
            waiting: Arc::new(waiting),
            metrics,
            memory: Mutex::default(),
        }
    }

    /// Removes what a killed sidecar left staged, and makes sure that Prometheus finds a state file: without one it
    /// compacts blocks that were never shipped. May block.
    ///
    /// # Errors
    /// The data directory cannot be written, for another reason than that it is full: of a full one blocks are shipped.
    pub fn prepare(&self) -> Result<(), SyncError> {
        staging::clear(&*self.disk, &self.config.tsdb_dir)
            .map_err(local(&staging::staging_root(&self.config.tsdb_dir)))?;
        let write = || {
            let path = self.state.path();
            match self.state.write(&BTreeSet::new()) {
                Err(error) if is_full(&error) => {
                    self.metrics.state_write_failures.inc();
                    tracing::error!(path = %path.display(), %error, "the state file cannot be written, blocks are shipped all the same; without it Prometheus may compact them before");
                    Ok(())
                }
                other => other.map_err(local(path)),
            }
        };
        match self.state.read() {
            ReadState::Known(_) => Ok(()),
            ReadState::Missing => write(),
            ReadState::Unusable(reason) => {
                tracing::warn!(path = %self.state.path().display(), %reason, "state file is unusable, every block is looked up in the bucket again");
                write()
            }
        }
    }

    /// Says what Prometheus keeps, so that warnings can tell how much time is left.
    pub fn set_retention(&self, retention: Retention) {
        self.memory.lock().retention = retention;
    }

    /// Ships what is missing in the bucket, with `external_labels` laid over the blocks' own. May be dropped at any
    /// await: the next sync completes what this one began.
    ///
    /// # Errors
    /// What stopped it: see [`SyncError`]. A block that fails by itself does not, it is in the report.
    pub async fn sync(
        &self,
        external_labels: &Labels,
        stop: &CancellationToken,
    ) -> Result<SyncReport, SyncError> {
        self.metrics.dir_syncs.inc();
        let result = self.try_sync(external_labels, stop).await;
        let failed = !matches!(&result, Ok(report) if report.failed.is_empty() && !report.is_state_stale);
        if failed {
            self.metrics.dir_sync_failures.inc();
        }
        self.warn_in_time(failed);
        result
    }

    /// Says what waits and how long it can, in metrics and, when it is time to, in the log.
    fn warn_in_time(&self, failed: bool) {
        let now_ms = (self.config.now_ms)();
        let mut memory = self.memory.lock();
        let waiting = memory.backlog.len();
        let left_ms = memory.oldest_left_ms(now_ms);
        self.metrics
            .unshipped_blocks
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let deletion_ms = left_ms.map_or(0, |left| now_ms.saturating_add(left));
        self.metrics
            .unshipped_deletion_seconds
            .set(deletion_ms as f64 / 1000.0);
        let said = memory.alarm.after_sync(now_ms, failed && waiting > 0, left_ms);
        drop(memory);
        let Some((loudness, since_ms)) = said else {
            return;
        };
        let since = sabre_model::time::format_rfc3339_ms(since_ms);
        let left = left_ms.map_or("an unknown time".to_string(), |left| {
            sabre_model::duration::format_model(left / 60_000 * 60_000)
        });
        match loudness {
            Loudness::Warning => {
                tracing::warn!(blocks = waiting, %since, deleted_in = %left, "blocks are not shipped; Prometheus will delete the oldest by its retention");
            }
            Loudness::Urgent => {
                tracing::error!(blocks = waiting, %since, deleted_in = %left, "blocks are not shipped and are about to be lost: mend the bucket, or raise Prometheus' retention");
            }
        }
    }

    /// Works on local files where that may take its time.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, SyncError> {
        Ok(blocking(work).await?)
    }

    /// Logs the trouble with a block once.
    fn is_first_complaint(&self, block: BlockId) -> bool {
        self.memory.lock().complained.insert(block)
    }
}

impl Memory {
    /// Takes what a look found, and returns the blocks that are known to be in the bucket.
    fn begin(
        &mut self,
        spans: Vec<(BlockId, Span)>,
        inherited: Option<WaitingBlocks>,
        recorded: Option<&BTreeSet<BlockId>>,
    ) -> BTreeSet<BlockId> {
        self.spans = spans;
        let mut known = recorded.cloned().unwrap_or_default();
        known.extend(&self.unrecorded);
        if let Some(inherited) = inherited {
            self.backlog.inherit(&inherited, &known);
            self.written = inherited;
        }
        known
    }

    fn oldest_left_ms(&self, now_ms: i64) -> Option<i64> {
        let oldest = self.backlog.oldest()?;
        let position = self.spans.iter().position(|(id, _)| *id == oldest)?;
        let spans: Vec<Span> = self.spans.iter().map(|(_, span)| *span).collect();
        self.retention.left_ms(&spans, position, now_ms)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn local(path: &Path) -> impl FnOnce(io::Error) -> SyncError + use<> {
    let path = path.to_path_buf();
    move |source| SyncError::Local { path, source }
}
