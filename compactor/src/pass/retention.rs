//! Retention: blocks past their time are marked.

use sabre_block::View;
use sabre_model::duration::{GoDuration, format_go};

use super::iteration::first_error;
use crate::compactor::Compactor;
use crate::error::PassError;
use crate::metrics::gauge;
use crate::plan::{RetentionPlan, retention_of};

impl Compactor {
    /// Marks the blocks that are past their retention, except those from which an aggregate is still due.
    pub(crate) async fn retain(&self) -> Result<(), PassError> {
        let mut view = self.sync().await?;
        let proven = self.prove_aggregates(&view).await;
        if !matches!(proven, Ok(false)) {
            // That may have taken hours: an aggregate may be marked for deletion by now.
            view = self.sync().await?;
        }
        let mut outcome = proven.map(|_| ());
        let RetentionPlan { expired, kept } = self.plan_retention(&view);
        self.metrics.waiting.set(gauge(kept.len()));
        for kept in &kept {
            tracing::info!(
                block = %kept.block.id(),
                waits_for_ms = kept.waits_for_ms,
                "block is past its retention and waits for an aggregate"
            );
        }
        for block in expired {
            if view.marks.deletion.contains_key(&block.id()) {
                continue;
            }
            let kept_ms = self.config.policy.retention.of(block.meta.resolution_ms());
            let kept = GoDuration::from_ms(kept_ms.unwrap_or(0));
            let details = format!("block exceeding retention of {}", format_go(kept));
            // A mark that is there already and cannot be read is told of.
            if let Err(error) = self.mark_superfluous(block.id(), &details).await {
                outcome = first_error(outcome, Err(PassError::Retry(error.to_string())));
            }
        }
        outcome
    }

    /// What retention says of a view.
    pub(crate) fn plan_retention(&self, view: &View) -> RetentionPlan {
        let restraint = self.restraint(view);
        retention_of(view, &restraint, &self.config.policy, self.now_ms())
    }
}
