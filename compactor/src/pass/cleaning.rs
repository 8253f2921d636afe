//! Cleaning: what is marked long enough, and uploads that were given up, are deleted.

use futures::stream::{self, StreamExt};
use sabre_block::{BlockError, View, delete_block, filter, layout, mark};
use sabre_model::BlockId;
use sabre_tsdb::meta::DeletionMark;

use super::iteration::first_error;
use crate::compactor::Compactor;
use crate::error::PassError;
use crate::plan::{CleaningPlan, plan_cleaning};

/// How many blocks are deleted at once.
const PARALLEL_DELETES: usize = 32;

impl Compactor {
    /// Deletes what is due, and aborts multipart uploads that were given up.
    pub(crate) async fn clean(&self) -> Result<(), PassError> {
        self.metrics.cleanup_loops.inc();
        let view = self.sync().await?;
        let own = self.own_leftovers();
        let pending = self.context.bucket.pending_uploads("").await;
        let (pending, mut outcome) = match pending {
            Ok(pending) => (pending, Ok(())),
            Err(error) => (Vec::new(), Err(PassError::Retry(error.to_string()))),
        };
        let CleaningPlan { partial, uploads, .. } =
            plan_cleaning(&view, &pending, &own, &self.config.policy, self.now_ms());
        for upload in uploads {
            match self.context.bucket.abort_upload(&upload).await {
                Ok(()) => {
                    self.metrics.uploads_aborted.inc();
                    tracing::info!(key = upload.key, "an upload that was given up is aborted");
                }
                Err(error) => outcome = first_error(outcome, Err(PassError::Retry(error.to_string()))),
            }
        }
        if outcome.is_ok() {
            self.forget_leftovers().await;
        }
        for (block, _) in partial {
            self.metrics.partial_deletions.inc();
            let deleted = self.delete_partial(block).await;
            outcome = first_error(outcome, deleted);
        }
        first_error(outcome, self.delete_marked(&view).await)
    }

    /// Cleans once.
    ///
    /// # Errors
    /// What could not be deleted.
    pub async fn clean_once(&self) -> Result<(), String> {
        self.clean().await.map_err(|error| error.to_string())
    }

    /// Deletes the blocks whose deletion mark is old enough.
    pub(super) async fn delete_marked(&self, view: &View) -> Result<(), PassError> {
        let plan = plan_cleaning(view, &[], &[], &self.config.policy, self.now_ms());
        let marked = plan.marked.into_iter();
        let deletions: Vec<_> = marked
            .map(|(block, _)| self.delete_if_still_marked(block))
            .collect();
        let mut deletions = stream::iter(deletions).buffer_unordered(PARALLEL_DELETES);
        let mut outcome = Ok(());
        while let Some(deleted) = deletions.next().await {
            outcome = first_error(outcome, deleted);
        }
        outcome
    }

    /// The mark is read again first: somebody may have removed it.
    async fn delete_if_still_marked(&self, block: BlockId) -> Result<(), PassError> {
        let bucket = &*self.context.bucket;
        let mark = mark::read::<DeletionMark>(bucket, block).await.map_err(retry)?;
        let delay_ms = self.config.policy.delete_delay_ms;
        let is_due = mark.is_some_and(|mark| filter::is_expired(&mark, delay_ms, self.now_ms()));
        if !is_due {
            tracing::info!(%block, "block is no longer marked for deletion, it stays");
            return Ok(());
        }
        match delete_block(bucket, block).await {
            Ok(()) => {
                self.metrics.blocks_cleaned.inc();
                tracing::info!(%block, "marked block is deleted");
                Ok(())
            }
            Err(error) => {
                self.metrics.cleanup_failures.inc();
                Err(retry(error))
            }
        }
    }

    /// The block is looked at again first: its upload may have come to a good end.
    async fn delete_partial(&self, block: BlockId) -> Result<(), PassError> {
        let bucket = &*self.context.bucket;
        let meta = layout::key(block, layout::META_FILE);
        let is_whole = bucket
            .exists(&meta)
            .await
            .map_err(|error| retry(BlockError::new(block, layout::META_FILE, error)))?;
        if is_whole {
            return Ok(());
        }
        delete_block(bucket, block).await.map_err(retry)?;
        tracing::info!(%block, "upload that was given up is deleted");
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn retry(error: BlockError) -> PassError {
    PassError::Retry(error.to_string())
}
