//! Downsampling of blocks that are due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use sabre_block::View;

use super::iteration::first_error;
use crate::compactor::Compactor;
use crate::error::{Class, PassError};
use crate::execute::{downsample, verify_block};
use crate::merge::{JobError, JobProgress};
use crate::metrics::CompactorMetrics;
use crate::plan::{BlockInfo, DownsamplePlan, plan_downsampling};
use crate::quarantine::Work;
use crate::status::Running;

/// Passes over the blocks: what the first makes of raw data may be due in the second.
const PASSES: usize = 2;

impl Compactor {
    /// Downsamples all that is due. A block that fails does not stop the others.
    pub(super) async fn downsample_all(&self) -> Result<(), PassError> {
        let mut outcome = Ok(());
        for _ in 0..PASSES {
            let view = self.sync().await?;
            let due = plan_downsampling(
                &BlockInfo::all(&view),
                &self.restraint(&view),
                &self.config.policy,
                self.now_ms(),
            );
            let jobs: Vec<_> = due.iter().map(|plan| self.downsample_one(&view, plan)).collect();
            let done: Vec<Result<(), PassError>> = stream::iter(jobs)
                .buffer_unordered(self.config.downsample_concurrency.max(1))
                .collect()
                .await;
            for result in done {
                outcome = first_error(outcome, result);
            }
        }
        outcome
    }

    async fn downsample_one(&self, view: &View, plan: &DownsamplePlan) -> Result<(), PassError> {
        let source = plan.block.id();
        let resolution = CompactorMetrics::resolution(plan.block.meta.resolution_ms());
        let [id, _] = self.names_for(&[source]);
        let progress = Arc::new(JobProgress::default());
        let running = self
            .board
            .begin(Running::downsampling(plan, &progress, self.now_ms()));
        let started = Instant::now();
        let done = downsample(&self.context, view, plan, id, Arc::clone(&progress), &self.clock).await;
        drop(running);
        self.metrics
            .read_bytes
            .inc_by(progress.read_bytes.load(Ordering::Relaxed));
        let seconds = started.elapsed().as_secs_f64();
        match done {
            Ok(block) => {
                self.names_taken(&[source]);
                self.absolve([source], Work::Downsampling);
                self.metrics.downsamples.with([&resolution]).inc();
                self.metrics
                    .downsample_seconds
                    .with([&resolution])
                    .observe(seconds);
                match block {
                    Some(block) => tracing::info!(
                        %source,
                        block = %block.ulid,
                        resolution_ms = plan.to_ms,
                        series = block.stats.num_series,
                        samples = block.stats.num_samples,
                        seconds,
                        "block is downsampled"
                    ),
                    None => {
                        // It holds stale markers alone: that is no fault, and would be the same the next time.
                        tracing::info!(%source, resolution_ms = plan.to_ms, "block has nothing to downsample");
                        self.nothing_due_from(source);
                    }
                }
                Ok(())
            }
            Err(error) => {
                self.metrics.downsample_failures.with([&resolution]).inc();
                self.handle_downsampling(view, plan, error).await
            }
        }
    }

    async fn handle_downsampling(
        &self,
        view: &View,
        plan: &DownsamplePlan,
        error: JobError,
    ) -> Result<(), PassError> {
        let source = plan.block.id();
        tracing::error!(%source, %error, "block could not be downsampled");
        match Class::of(&error) {
            Class::Retry => return Err(PassError::Retry(error.to_string())),
            Class::Suspect(_) => match verify_block(&self.context, view, &plan.block.meta).await {
                Err(found) if Class::of(&found) == Class::Retry => {
                    return Err(PassError::Retry(found.to_string()));
                }
                Err(found) => self.set_apart(source, Work::Downsampling, found.to_string()),
                // Sound when read again: what came the first time was not.
                Ok(_) if matches!(error, JobError::Source(_)) => {
                    return Err(PassError::Retry(error.to_string()));
                }
                Ok(_) => self.set_apart(source, Work::Downsampling, error.to_string()),
            },
            Class::TooLarge | Class::Stuck => self.set_apart(source, Work::Downsampling, error.to_string()),
        }
        Ok(())
    }
}
