//! Ships local blocks to the bucket.
//!
//! Every sync compares the data directory with the state file and the bucket: a pure [`plan`] says what happens to each
//! block, [`Shipper::sync`] does it, oldest block first. The bucket is asked before anything is sent, and meta.json goes
//! last; so after a crash at any point the next sync completes what is missing and sends nothing twice.

mod overlap;
mod plan;
mod scan;
mod staging;
mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use sabre_block::{
    BlockError, Cause,
    upload::{HashFunc, UploadOptions, upload_block},
};
use sabre_model::{BlockId, Labels};
use sabre_objstore::SharedBucket;
use tokio_util::sync::CancellationToken;

pub use self::{
    plan::{Policy, SkipReason, Step, overlaps, plan},
    scan::{LocalBlock, LocalBlocks, UnreadableBlock, scan},
    state::{ReadState, StateFile},
    watch::Wakeups,
};
use crate::metrics::SidecarMetrics;
use staging::{Identity, Staged};

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
    state: StateFile,
    metrics: SidecarMetrics,
    /// Blocks whose trouble was logged: said once, not every 30 s.
    complained: Mutex<BTreeSet<BlockId>>,
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
}

/// Why a sync ended early. Blocks shipped before are recorded all the same.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The data directory, the staging directory or the state file.
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
}

enum Outcome {
    Shipped,
    Found,
    Failed,
}

impl Shipper {
    /// A shipper from a data directory into `bucket`.
    pub fn new(config: ShipperConfig, bucket: SharedBucket, metrics: SidecarMetrics) -> Shipper {
        let state = StateFile::new(&config.tsdb_dir, &config.state_file);
        Shipper {
            config,
            bucket,
            state,
            metrics,
            complained: Mutex::default(),
        }
    }

    /// Removes what a killed sidecar left staged, and makes sure that Prometheus finds a state file: without one it
    /// compacts blocks that were never shipped.
    ///
    /// # Errors
    /// The data directory cannot be written.
    pub fn prepare(&self) -> Result<(), SyncError> {
        staging::clear(&self.config.tsdb_dir)
            .map_err(local(&staging::staging_root(&self.config.tsdb_dir)))?;
        match self.state.read() {
            ReadState::Known(_) => Ok(()),
            ReadState::Missing => self.write_state(&BTreeSet::new()),
            ReadState::Unusable(reason) => {
                tracing::warn!(path = %self.state.path().display(), %reason, "state file is unusable, every block is looked up in the bucket again");
                self.write_state(&BTreeSet::new())
            }
        }
    }

    /// Ships what is missing in the bucket, with `external_labels` laid over the blocks' own.
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
        if !matches!(&result, Ok(report) if report.failed.is_empty()) {
            self.metrics.dir_sync_failures.inc();
        }
        result
    }

    async fn try_sync(
        &self,
        external_labels: &Labels,
        stop: &CancellationToken,
    ) -> Result<SyncReport, SyncError> {
        if external_labels.is_empty() {
            return Err(SyncError::NoExternalLabels);
        }
        let local_blocks = scan(&self.config.tsdb_dir).map_err(local(&self.config.tsdb_dir))?;
        let mut report = SyncReport::default();
        self.judge_unreadable(&local_blocks, &mut report)?;

        let known = match self.state.read() {
            ReadState::Known(ids) => ids,
            ReadState::Missing | ReadState::Unusable(_) => BTreeSet::new(),
        };
        let steps = plan(&local_blocks, &known, &self.config.policy);
        // Blocks that Prometheus deleted fall out here.
        let mut uploaded: BTreeSet<BlockId> = steps
            .iter()
            .filter(|(_, step)| *step == Step::Keep)
            .map(|(id, _)| *id)
            .collect();
        let mut written = known;
        for (block, (_, step)) in local_blocks.blocks.iter().zip(&steps) {
            let Step::Ship { check_overlap } = step else {
                continue;
            };
            if stop.is_cancelled() {
                break;
            }
            match self.ship(block, *check_overlap, external_labels, stop).await? {
                Outcome::Shipped => report.shipped.push(block.id),
                Outcome::Found => report.found.push(block.id),
                Outcome::Failed => {
                    report.failed.push(block.id);
                    continue;
                }
            }
            // At once, so that Prometheus may compact it, and so that a kill right here costs one look-up.
            uploaded.insert(block.id);
            self.write_state(&uploaded)?;
            written.clone_from(&uploaded);
        }
        if written != uploaded {
            self.write_state(&uploaded)?;
        }
        let all_compacted = steps
            .iter()
            .all(|(id, step)| *step != Step::Skip(SkipReason::Compacted) && !report.failed.contains(id));
        self.metrics
            .upload_compacted_done
            .set(i64::from(self.config.policy.upload_compacted && all_compacted));
        Ok(report)
    }

    fn judge_unreadable(&self, local_blocks: &LocalBlocks, report: &mut SyncReport) -> Result<(), SyncError> {
        for block in &local_blocks.unreadable {
            self.metrics.corrupted_blocks.inc();
            if !self.config.skip_corrupted {
                return Err(SyncError::Corrupted {
                    block: block.id,
                    why: block.why.clone(),
                });
            }
            if self.complained.lock().insert(block.id) {
                tracing::error!(block = %block.id, reason = %block.why, "local block cannot be read and is not shipped, the others are");
            }
            report.failed.push(block.id);
        }
        Ok(())
    }

    async fn ship(
        &self,
        block: &LocalBlock,
        check_overlap: bool,
        external_labels: &Labels,
        stop: &CancellationToken,
    ) -> Result<Outcome, SyncError> {
        if self
            .bucket
            .exists(&sabre_block::layout::key(
                block.id,
                sabre_block::layout::META_FILE,
            ))
            .await?
        {
            return Ok(Outcome::Found);
        }
        if check_overlap && !self.fits(block, external_labels).await? {
            return Ok(Outcome::Failed);
        }
        let identity = Identity {
            external_labels,
            source: &self.config.source,
        };
        let staged = match Staged::create(&self.config.tsdb_dir, block, &identity) {
            Ok(staged) => staged,
            Err(error) => return self.local_failure(block, &error),
        };
        let options = UploadOptions {
            concurrency: self.config.upload_concurrency.max(1),
            hash: self.config.hash,
            ..UploadOptions::default()
        };
        let started = tokio::time::Instant::now();
        // Abandoning is clean: what was sent has no meta.json, and the next start sends the block again.
        let uploaded = tokio::select! {
            () = stop.cancelled() => return Ok(Outcome::Failed),
            uploaded = upload_block(&*self.bucket, staged.dir(), options, self.config.now_ms) => uploaded,
        };
        match uploaded {
            Ok(_) => {
                self.metrics.uploads.inc();
                self.complained.lock().remove(&block.id);
                let took_ms = started.elapsed().as_millis();
                tracing::info!(block = %block.id, mint = block.meta.min_time, maxt = block.meta.max_time, series = block.meta.stats.num_series, took_ms, "block shipped");
                Ok(Outcome::Shipped)
            }
            Err(error) => {
                self.metrics.upload_failures.inc();
                self.judge_upload(block, error)
            }
        }
    }

    /// What is wrong with this block alone does not stop the others; a bucket that fails would fail them too.
    fn judge_upload(&self, block: &LocalBlock, error: BlockError) -> Result<Outcome, SyncError> {
        let of_this_block = matches!(
            error.cause(),
            Cause::Local(_) | Cause::Corrupt(_) | Cause::Invalid(_)
        );
        if !of_this_block && !self.config.policy.allow_out_of_order {
            return Err(error.into());
        }
        if self.complained.lock().insert(block.id) {
            tracing::error!(block = %block.id, %error, "block could not be shipped, tried again at every sync");
        }
        Ok(Outcome::Failed)
    }

    fn local_failure(&self, block: &LocalBlock, error: &io::Error) -> Result<Outcome, SyncError> {
        if !block.dir.exists() {
            tracing::warn!(block = %block.id, "Prometheus deleted a block before it was shipped");
            return Ok(Outcome::Failed);
        }
        if error.kind() == io::ErrorKind::StorageFull {
            let source = io::Error::new(error.kind(), error.to_string());
            return Err(SyncError::Local {
                path: staging::staging_root(&self.config.tsdb_dir),
                source,
            });
        }
        self.metrics.upload_failures.inc();
        if self.complained.lock().insert(block.id) {
            tracing::error!(block = %block.id, %error, "block cannot be read and is not shipped, the others are");
        }
        Ok(Outcome::Failed)
    }

    /// Whether a compacted block overlaps nothing that the bucket has of this Prometheus.
    async fn fits(&self, block: &LocalBlock, external_labels: &Labels) -> Result<bool, SyncError> {
        let range = (block.meta.min_time, block.meta.max_time);
        let found = overlap::find(&self.bucket, external_labels, range).await?;
        if let Some(other) = found {
            self.metrics.upload_failures.inc();
            if self.complained.lock().insert(block.id) {
                tracing::error!(block = %block.id, %other, "compacted block overlaps one in the bucket and is not shipped (--shipper.allow-out-of-order-uploads ships it all the same)");
            }
        }
        Ok(found.is_none())
    }

    fn write_state(&self, uploaded: &BTreeSet<BlockId>) -> Result<(), SyncError> {
        self.state.write(uploaded).map_err(local(self.state.path()))
    }
}

fn local(path: &Path) -> impl FnOnce(io::Error) -> SyncError {
    let path = path.to_path_buf();
    move |source| SyncError::Local { path, source }
}
