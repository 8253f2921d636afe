//! One comparison of the data directory with the bucket.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use sabre_block::layout::{META_FILE, key};
use sabre_model::{BlockId, Labels, time::format_rfc3339_ms};
use tokio_util::sync::CancellationToken;

use super::{
    LocalBlock, LocalBlocks, ReadState, Shipper, SkipReason, Step, SyncError, SyncReport,
    disk::Disk,
    foreign::{self, Own},
    local,
    pause::has_passed,
    plan,
    retention::Span,
    scan::scan_on,
    ship::Outcome,
    waiting::WaitingBlocks,
};

/// How often the bucket is searched for blocks of another Prometheus under the same labels.
const FOREIGN_INTERVAL_MS: i64 = 24 * 3_600_000;

/// What is there, before anything is done.
struct Look {
    local: LocalBlocks,
    /// As the state file says; `None` if there is none, or none that can be used: Prometheus would compact everything.
    recorded: Option<BTreeSet<BlockId>>,
    spans: Vec<(BlockId, Span)>,
    /// What waited when an earlier sidecar ended, at the first look.
    inherited: Option<WaitingBlocks>,
}

impl Shipper {
    pub(super) async fn try_sync(
        &self,
        external_labels: &Labels,
        stop: &CancellationToken,
    ) -> Result<SyncReport, SyncError> {
        if external_labels.is_empty() {
            return Err(SyncError::NoExternalLabels);
        }
        let Look {
            local,
            recorded,
            spans,
            inherited,
        } = self.look().await?;
        let known = self.memory.lock().begin(spans, inherited, recorded.as_ref());
        self.forget_gone(&local);
        let steps = plan(&local, &known, &self.config.policy);
        self.count_losses(&local, &steps).await;
        // Before anything is sent, which may take long.
        self.write_waiting().await;
        let mut report = SyncReport::default();
        self.judge_unreadable(&local, &mut report)?;

        // Blocks that Prometheus deleted fall out here.
        let mut uploaded: BTreeSet<BlockId> = steps
            .iter()
            .filter(|(_, step)| *step == Step::Keep)
            .map(|(id, _)| *id)
            .collect();
        let mut recorded = recorded;
        if recorded.is_none() {
            // At once: the bucket may be away for long.
            self.record(&uploaded, &mut recorded).await?;
        }
        for (block, (_, step)) in local.blocks.iter().zip(&steps) {
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
            {
                let mut memory = self.memory.lock();
                memory.backlog.shipped(block.id);
                memory.unrecorded.insert(block.id);
            }
            self.record(&uploaded, &mut recorded).await?;
        }
        if recorded.as_ref() != Some(&uploaded) {
            self.record(&uploaded, &mut recorded).await?;
        }
        report.is_state_stale = recorded.as_ref() != Some(&uploaded);
        self.write_waiting().await;
        let all_compacted = steps
            .iter()
            .all(|(id, step)| *step != Step::Skip(SkipReason::Compacted) && !report.failed.contains(id));
        self.metrics
            .upload_compacted_done
            .set(i64::from(self.config.policy.upload_compacted && all_compacted));
        if report.failed.is_empty() && !stop.is_cancelled() {
            self.look_for_foreign(&local, &uploaded, external_labels).await;
        }
        Ok(report)
    }

    async fn look(&self) -> Result<Look, SyncError> {
        let (with_sizes, has_inherited) = {
            let memory = self.memory.lock();
            (
                memory.retention.size_bytes.is_some(),
                memory.backlog.has_inherited(),
            )
        };
        let (disk, state) = (Arc::clone(&self.disk), Arc::clone(&self.state));
        let waiting = Arc::clone(&self.waiting);
        let tsdb_dir = self.config.tsdb_dir.clone();
        self.on_disk(move || {
            let found = scan_on(&*disk, &tsdb_dir).map_err(local(&tsdb_dir))?;
            let recorded = match state.read() {
                ReadState::Known(ids) => Some(ids),
                ReadState::Missing | ReadState::Unusable(_) => None,
            };
            let span = |block: &LocalBlock| Span {
                mint: block.meta.min_time,
                maxt: block.meta.max_time,
                size_bytes: if with_sizes {
                    size_bytes(&*disk, &block.dir)
                } else {
                    0
                },
            };
            Ok(Look {
                spans: found.blocks.iter().map(|block| (block.id, span(block))).collect(),
                local: found,
                recorded,
                inherited: (!has_inherited).then(|| waiting.read()),
            })
        })
        .await?
    }

    fn judge_unreadable(&self, local: &LocalBlocks, report: &mut SyncReport) -> Result<(), SyncError> {
        for block in &local.unreadable {
            self.metrics.corrupted_blocks.inc();
            if !self.config.skip_corrupted {
                return Err(SyncError::Corrupted {
                    block: block.id,
                    why: block.why.clone(),
                });
            }
            if self.is_first_complaint(block.id) {
                tracing::error!(block = %block.id, reason = %block.why, "local block cannot be read and is not shipped, the others are");
            }
            report.failed.push(block.id);
        }
        Ok(())
    }

    /// What is remembered of blocks lasts as long as their directories.
    fn forget_gone(&self, local: &LocalBlocks) {
        let present: BTreeSet<BlockId> = local
            .blocks
            .iter()
            .map(|block| block.id)
            .chain(local.unreadable.iter().map(|block| block.id))
            .collect();
        let mut memory = self.memory.lock();
        memory.unrecorded.retain(|block| present.contains(block));
        memory.complained.retain(|block| present.contains(block));
        memory.refused_ms.retain(|block, _| present.contains(block));
    }

    /// Counts before it is written down that they wait no more: a crash between counts them once more, and none less.
    async fn count_losses(&self, local: &LocalBlocks, steps: &[(BlockId, Step)]) {
        let lost = self.memory.lock().backlog.note(local, steps, &self.config.policy);
        let mut is_bucket_away = false;
        for block in lost {
            // One whose end was not written down before a crash may be there.
            if !is_bucket_away {
                match self.bucket.exists(&key(block.block, META_FILE)).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(_) => is_bucket_away = true,
                }
            }
            let reason = block.how.reason();
            self.metrics.lost_blocks.with([reason]).inc();
            self.metrics.lost_samples.with([reason]).inc_by(block.samples);
            let (from, to) = (format_rfc3339_ms(block.mint), format_rfc3339_ms(block.maxt));
            tracing::error!(block = %block.block, %from, %to, samples = block.samples, reason, "block is lost: it is gone from the data directory and never got to the bucket");
        }
    }

    /// Writes the state file; what is in it then is `recorded`. One that cannot be written keeps no block from the bucket:
    /// what it lacks is remembered, and written with the next block or at the next sync.
    async fn record(
        &self,
        uploaded: &BTreeSet<BlockId>,
        recorded: &mut Option<BTreeSet<BlockId>>,
    ) -> Result<(), SyncError> {
        let (state, wanted) = (Arc::clone(&self.state), uploaded.clone());
        let written = self
            .on_disk(move || state.write(&wanted).map(|()| wanted).map_err(local(state.path())))
            .await?;
        match written {
            Ok(written) => {
                *recorded = Some(written);
                let mut memory = self.memory.lock();
                memory.unrecorded.clear();
                memory.is_state_unwritable_said = false;
            }
            Err(error) => {
                self.metrics.state_write_failures.inc();
                if !std::mem::replace(&mut self.memory.lock().is_state_unwritable_said, true) {
                    tracing::error!(%error, "the state file cannot be written, blocks are shipped all the same; Prometheus may hold back the compaction of those until it can");
                }
            }
        }
        Ok(())
    }

    /// Writes down what waits, if that has changed. A directory that cannot be written is told once.
    async fn write_waiting(&self) {
        let waiting = {
            let memory = self.memory.lock();
            if memory.written == *memory.backlog.waiting() {
                return;
            }
            memory.backlog.waiting().clone()
        };
        let file = Arc::clone(&self.waiting);
        let written = self
            .on_disk(move || {
                let result = file.write(&waiting).map_err(local(file.path()));
                (waiting, result)
            })
            .await;
        let error = match written {
            Ok((waiting, Ok(()))) => {
                self.memory.lock().written = waiting;
                return;
            }
            Ok((_, Err(error))) | Err(error) => error,
        };
        if !std::mem::replace(&mut self.memory.lock().is_unwritable_said, true) {
            tracing::warn!(%error, "what waits to be shipped cannot be written down, losses while no sidecar runs will not be counted");
        }
    }

    /// Warns of another Prometheus under the same labels. A bucket that cannot be searched is no failure of shipping.
    async fn look_for_foreign(
        &self,
        local: &LocalBlocks,
        uploaded: &BTreeSet<BlockId>,
        external_labels: &Labels,
    ) {
        let now_ms = (self.config.now_ms)();
        let looked_ms = self.memory.lock().looked_for_foreign_ms;
        let is_due = looked_ms.is_none_or(|at_ms| has_passed(at_ms, FOREIGN_INTERVAL_MS, now_ms));
        if local.blocks.is_empty() || !is_due {
            return;
        }
        let own = Own::of(local, uploaded);
        match foreign::find(&self.bucket, &own, external_labels, now_ms).await {
            Ok(found) => {
                self.metrics
                    .foreign_blocks
                    .set(i64::try_from(found.len()).unwrap_or(i64::MAX));
                if let Some(block) = found.first() {
                    tracing::warn!(%block, blocks = found.len(), labels = %external_labels, "another Prometheus ships blocks of the same time under the same external labels; nothing is overwritten, but queries and compaction take both for one: give each a label of its own");
                }
                self.memory.lock().looked_for_foreign_ms = Some(now_ms);
            }
            Err(error) => tracing::debug!(%error, "the bucket was not searched for blocks of others"),
        }
    }
}

/// What the files of a block take; those that cannot be read nothing.
fn size_bytes(disk: &dyn Disk, dir: &Path) -> u64 {
    let chunks = dir.join("chunks");
    let segments = disk.names(&chunks).unwrap_or_default();
    let files = segments.iter().map(|name| chunks.join(name));
    files
        .chain([dir.join("index"), dir.join("meta.json"), dir.join("tombstones")])
        .map(|path| disk.size_bytes(&path).unwrap_or(0))
        .fold(0, u64::saturating_add)
}
