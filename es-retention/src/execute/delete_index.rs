//! Deletes an index whose documents are all in a good snapshot.
//!
//! Engines delete by name, whatever stands behind it by then, and a document may come in between the last look and the
//! deletion. So writes are blocked first, then everything is looked at, then it is deleted, and after an answer that does
//! not come all of it is done again. Killed or failed in between, the index is blocked and otherwise whole; the next run
//! deletes it. Writes are let in again only where it is seen that the index has to stay: another run may have taken its last
//! look already, and would delete what comes in after it.

use super::{ATTEMPTS, Job, Outcome, wait_until_idle};
use crate::{
    cluster::{CallError, indices::Index},
    plan::{indices_prove, taken_on},
};

/// What came of one attempt.
enum Attempt {
    Over(Outcome),
    Again(String),
}

impl Job {
    pub(super) async fn delete_index(
        &self,
        prefix: &str,
        name: &str,
        uuid: &str,
        snapshot: &str,
    ) -> Result<Outcome, CallError> {
        let mut blocked_by_us = false;
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            self.before_attempt(attempt).await?;
            match self
                .attempt(prefix, name, uuid, snapshot, &mut blocked_by_us)
                .await
            {
                Ok(Attempt::Over(outcome @ Outcome::Done(_))) => return Ok(outcome),
                Ok(Attempt::Over(outcome)) => {
                    self.unblock(name, blocked_by_us).await;
                    return Ok(outcome);
                }
                Ok(Attempt::Again(why)) => last = why,
                // Another run was faster.
                Err(error) if error.is("index_not_found_exception") => {
                    return Ok(Outcome::Done("it is gone".to_owned()));
                }
                Err(error) => {
                    stays_blocked(name, blocked_by_us);
                    return Err(error);
                }
            }
            tracing::warn!(
                index = name,
                attempt,
                why = last,
                "not deleted yet, looking again"
            );
        }
        stays_blocked(name, blocked_by_us);
        Ok(Outcome::Failed(format!("tried {ATTEMPTS} times, at last {last}")))
    }

    async fn attempt(
        &self,
        prefix: &str,
        name: &str,
        uuid: &str,
        snapshot: &str,
        blocked_by_us: &mut bool,
    ) -> Result<Attempt, CallError> {
        let held = |why: String| Ok(Attempt::Over(Outcome::Held(why)));
        if self.client.engine.deletes_only_when_idle() && !wait_until_idle(&self.client).await? {
            return held("a snapshot is running, and this engine must not delete meanwhile".to_owned());
        }
        let Some(index) = self.client.index(name).await? else {
            return Ok(Attempt::Over(Outcome::Done("it is gone".to_owned())));
        };
        if let Err(why) = self.may_be_deleted(prefix, &index, uuid) {
            return held(why);
        }
        // A look before the block, so that an index that changed is never blocked.
        if let Err(why) = self.is_safe(name, snapshot).await? {
            return held(why);
        }
        if index.blocks.lets_write() {
            *blocked_by_us = true;
            self.client.block_writes(name).await?;
        }
        if let Err(why) = self.is_safe(name, snapshot).await? {
            return held(why);
        }
        if self.client.engine.deletes_only_when_idle() && !self.client.running_snapshots().await?.is_empty() {
            return Ok(Attempt::Again("a snapshot has begun".to_owned()));
        }
        match self.client.delete_index(name).await {
            Ok(()) => Ok(Attempt::Over(Outcome::Done(format!(
                "deleted, {snapshot} holds it"
            )))),
            Err(error) if error.is("index_not_found_exception") => {
                Ok(Attempt::Over(Outcome::Done("it is gone".to_owned())))
            }
            Err(error) if error.is_busy() || error.is_ambiguous() => Ok(Attempt::Again(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// What can be told from the index alone.
    fn may_be_deleted(&self, prefix: &str, index: &Index, uuid: &str) -> Result<(), String> {
        if index.uuid != uuid {
            return Err("it was made again since the plan was made".to_owned());
        }
        if let Some(writer) = &index.write_index_of {
            return Err(format!("it became the write index of {writer}"));
        }
        let policy = self.policy(prefix);
        let read = policy.and_then(|policy| Some((policy, policy.names.read(&index.name)?)));
        match read {
            Some((policy, read)) if self.day >= policy.deletion_due(read.day) => Ok(()),
            _ => Err("it is not due".to_owned()),
        }
    }

    /// Whether the snapshot, read from the repository now, holds what the index holds now.
    async fn is_safe(&self, name: &str, snapshot: &str) -> Result<Result<(), String>, CallError> {
        let contents = match self.client.measure(name).await? {
            Ok(contents) => contents,
            Err(problem) => return Ok(Err(problem)),
        };
        let Some(found) = self.read_snapshot(snapshot).await? else {
            return Ok(Err(format!("{snapshot} is gone")));
        };
        if !indices_prove(&found, name, &contents) {
            return Ok(Err(format!("{snapshot} does not hold what is in it now")));
        }
        if taken_on(&found).is_none_or(|taken| taken >= self.day) {
            return Ok(Err(format!("{snapshot} was not taken on an earlier day")));
        }
        Ok(Ok(()))
    }

    async fn unblock(&self, name: &str, blocked_by_us: bool) {
        if !blocked_by_us {
            return;
        }
        match self.client.unstoppable().unblock_writes(name).await {
            Ok(()) => {}
            Err(error) if error.is("index_not_found_exception") => {}
            Err(error) => tracing::error!(
                index = name,
                err = %error,
                "index.blocks.write was set before the deletion and could not be taken back"
            ),
        }
    }
}

fn stays_blocked(name: &str, blocked_by_us: bool) {
    if blocked_by_us {
        tracing::warn!(
            index = name,
            "index.blocks.write was set before the deletion, which failed; it stays for the next run, which deletes the index"
        );
    }
}
