//! One block to the bucket.

use std::{io, sync::Arc};

use sabre_block::{
    BlockError, Cause, layout,
    upload::{UploadOptions, upload_block_as},
};
use sabre_model::Labels;
use tokio_util::sync::CancellationToken;

use super::{
    LocalBlock, Shipper, SyncError,
    overlap::{Place, place_of},
    pause::has_passed,
    staging::{Identity, Staged},
};

/// Files that an earlier try sent are not sent again for this long. Compactors remove partial blocks after two days.
const RESUME_MS: i64 = 24 * 3_600_000;

/// A compacted block without a place in the bucket is looked at again after this: it costs a request for each block.
const REFUSED_MS: i64 = 3_600_000;

/// What came of it, when the others may go on.
pub(super) enum Outcome {
    Shipped,
    Found,
    Failed,
}

impl Shipper {
    pub(super) async fn ship(
        &self,
        block: &LocalBlock,
        check_overlap: bool,
        external_labels: &Labels,
        stop: &CancellationToken,
    ) -> Result<Outcome, SyncError> {
        let meta_key = layout::key(block.id, layout::META_FILE);
        if self.bucket.exists(&meta_key).await? {
            return Ok(Outcome::Found);
        }
        if check_overlap {
            match self.place(block, external_labels).await? {
                Place::Free => {}
                Place::Covered => return Ok(Outcome::Found),
                Place::Taken(_) => return Ok(Outcome::Failed),
            }
        }
        let staged = match self.stage(block, external_labels).await? {
            Ok(staged) => staged,
            Err(error) => return self.local_failure(block, &error).await,
        };
        let is_linked = self.note_staging(block, staged.why_not_linked());
        let now_ms = self.config.now_ms;
        let options = UploadOptions {
            concurrency: self.config.upload_concurrency.max(1),
            hash: self.config.hash,
            resume_since_ms: Some(now_ms().saturating_sub(RESUME_MS)),
            ..UploadOptions::default()
        };
        let started = tokio::time::Instant::now();
        // Abandoning is clean: what was sent has no meta.json, and the next start sends the rest.
        let uploaded = tokio::select! {
            () = stop.cancelled() => return Ok(Outcome::Failed),
            uploaded = upload_block_as(&*self.bucket, staged.dir(), staged.meta.clone(), options, now_ms) => uploaded,
        };
        self.on_disk(move || drop(staged)).await?;
        match uploaded {
            Ok(uploaded) => {
                self.metrics.uploads.inc();
                self.memory.lock().complained.remove(&block.id);
                let took_ms = started.elapsed().as_millis();
                tracing::info!(block = %block.id, mint = block.meta.min_time, maxt = block.meta.max_time, series = block.meta.stats.num_series, bytes = uploaded.size_bytes, resumed_bytes = uploaded.resumed_bytes, took_ms, "block shipped");
                Ok(Outcome::Shipped)
            }
            Err(error) => {
                if !is_linked && !self.is_there(block).await? {
                    return Ok(Outcome::Failed);
                }
                self.metrics.upload_failures.inc();
                self.judge_upload(block, error)
            }
        }
    }

    /// Whether the block is sent from links. That it is not is told once, until one is again.
    fn note_staging(&self, block: &LocalBlock, why_not_linked: Option<&io::Error>) -> bool {
        let was_said = std::mem::replace(&mut self.memory.lock().is_unlinked_said, why_not_linked.is_some());
        if let Some(error) = why_not_linked
            && !was_said
        {
            tracing::warn!(block = %block.id, %error, "no links to blocks can be made, they are sent from where they lie");
        }
        why_not_linked.is_none()
    }

    /// Whether Prometheus has the block still.
    async fn is_there(&self, block: &LocalBlock) -> Result<bool, SyncError> {
        let (disk, dir) = (Arc::clone(&self.disk), block.dir.clone());
        let is_there = self.on_disk(move || disk.is_dir(&dir)).await?;
        if !is_there {
            tracing::warn!(block = %block.id, "Prometheus deleted a block before it was shipped");
        }
        Ok(is_there)
    }

    async fn stage(
        &self,
        block: &LocalBlock,
        external_labels: &Labels,
    ) -> Result<io::Result<Staged>, SyncError> {
        let identity = Identity {
            external_labels: external_labels.clone(),
            source: self.config.source.clone(),
        };
        let (disk, tsdb_dir, block) = (
            Arc::clone(&self.disk),
            self.config.tsdb_dir.clone(),
            block.clone(),
        );
        self.on_disk(move || Staged::create(&disk, &tsdb_dir, &block, &identity))
            .await
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
        if self.is_first_complaint(block.id) {
            tracing::error!(block = %block.id, %error, "block could not be shipped, tried again at every sync");
        }
        Ok(Outcome::Failed)
    }

    async fn local_failure(&self, block: &LocalBlock, error: &io::Error) -> Result<Outcome, SyncError> {
        if !self.is_there(block).await? {
            return Ok(Outcome::Failed);
        }
        if error.kind() == io::ErrorKind::InvalidData {
            self.metrics.corrupted_blocks.inc();
        }
        self.metrics.upload_failures.inc();
        if self.is_first_complaint(block.id) {
            tracing::error!(block = %block.id, %error, "block cannot be read and is not shipped, the others are");
        }
        Ok(Outcome::Failed)
    }

    /// Whether a compacted block overlaps what the bucket has of this Prometheus.
    async fn place(&self, block: &LocalBlock, external_labels: &Labels) -> Result<Place, SyncError> {
        let now_ms = (self.config.now_ms)();
        let refused_ms = self.memory.lock().refused_ms.get(&block.id).copied();
        if refused_ms.is_some_and(|at_ms| !has_passed(at_ms, REFUSED_MS, now_ms)) {
            return Ok(Place::Taken(block.id));
        }
        let place = place_of(&self.bucket, external_labels, &block.meta).await?;
        if let Place::Taken(other) = place {
            self.metrics.upload_failures.inc();
            if self.is_first_complaint(block.id) {
                tracing::error!(block = %block.id, %other, "compacted block overlaps one in the bucket and is not shipped (--shipper.allow-out-of-order-uploads ships it all the same)");
            }
            self.memory.lock().refused_ms.insert(block.id, now_ms);
        }
        Ok(place)
    }
}
