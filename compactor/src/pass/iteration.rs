//! One iteration: everything that is due, in Thanos' order.

use std::sync::atomic::Ordering;

use crate::compactor::Compactor;
use crate::error::PassError;
use crate::plan::{self, Action, PlanInput};
use crate::quarantine::Quarantine;

impl Compactor {
    /// Compacts until nothing is left, downsamples, retains and cleans. What fails does not keep the rest from being
    /// done.
    ///
    /// # Errors
    /// The first failure; blocks that are left alone are one.
    pub(crate) async fn iterate(&self) -> Result<(), PassError> {
        self.forget_unseen();
        let mut outcome = self.pass().await;
        if !self.is_halted() && self.has_healed().await {
            tracing::info!("blocks that could not be read at first can be read now, they get their turn");
            outcome = self.pass().await;
        }
        if self.is_halted() {
            return outcome;
        }
        outcome = first_error(outcome, self.all_were_seen());
        let trouble = match self.trouble() {
            Some(trouble) => Err(PassError::Trouble(trouble)),
            None => Ok(()),
        };
        outcome = first_error(outcome, trouble);
        match &outcome {
            Ok(()) | Err(PassError::Trouble(_)) => {
                self.metrics.iterations.inc();
            }
            Err(_) => {
                self.metrics.retries.inc();
            }
        }
        outcome
    }

    /// Everything once.
    async fn pass(&self) -> Result<(), PassError> {
        let mut outcome = self.compact_all().await;
        if let Err(PassError::Halt(_)) = &outcome {
            self.halt();
            return outcome;
        }
        if self.config.policy.downsamples {
            outcome = first_error(outcome, self.downsample_all().await);
        }
        outcome = first_error(outcome, self.retain().await);
        self.has_passed.store(true, Ordering::SeqCst);
        first_error(outcome, self.clean().await)
    }

    /// What goes on beside the iterations: marks what is past its retention, and deletes what is due. After a halt nothing
    /// is marked any more, as Thanos does it: an operator looks at the bucket first. Nor is anything before the first pass
    /// has ended: which aggregates are broken, and so do not stand for raw data, is not kept over a restart.
    pub(crate) async fn tidy(&self) -> Result<(), PassError> {
        let mut outcome = Ok(());
        if !self.is_halted() && self.has_passed.load(Ordering::SeqCst) {
            outcome = self.retain().await;
        }
        first_error(outcome, self.clean().await)
    }

    /// Everything that is to be done, as a plan. Nothing is written.
    ///
    /// # Errors
    /// A bucket that cannot be looked at.
    pub async fn plan(&self) -> Result<Vec<Action>, String> {
        let view = self.sync().await.map_err(|error| error.to_string())?;
        if let Err(error) = self.prove_aggregates(&view).await {
            tracing::warn!(%error, "an aggregate could not be read, finer data waits in this plan");
        }
        let pending = self.context.bucket.pending_uploads("").await;
        let pending = pending.map_err(|error| error.to_string())?;
        Ok(plan::plan_all(&PlanInput {
            view: &view,
            pending: &pending,
            own: &self.own_leftovers(),
            avoided: &self.with_quarantine(Quarantine::reasons),
            unclear: &self.unclear_reasons(),
            restraint: &self.restraint(&view),
            policy: &self.config.policy,
            now_ms: self.now_ms(),
        }))
    }
}

/// The first failure; one that is tried again hides one that waits for an operator, who can do nothing about the first.
pub(super) fn first_error(one: Result<(), PassError>, other: Result<(), PassError>) -> Result<(), PassError> {
    match (one, other) {
        (Err(PassError::Trouble(trouble)), Err(other)) if !matches!(other, PassError::Trouble(_)) => {
            tracing::error!(error = trouble, "blocks are left alone");
            Err(other)
        }
        (Err(error), Err(other)) => {
            tracing::error!(error = %other, "another part of the iteration failed too");
            Err(error)
        }
        (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(()),
    }
}
