//! Deletes snapshots: those that expired, and those that did not end well and are in the way.

use super::{ATTEMPTS, Job, Outcome, wait_until_idle, waiting::Polls};
use crate::{
    cluster::{CallError, snapshots::Snapshot},
    plan::snapshot_expired_on,
};

/// Looks at a snapshot anew; a sentence when it must not be deleted.
type Check<'a> = &'a (dyn Fn(&Snapshot) -> Result<(), String> + Sync);

impl Job {
    /// Deletes a snapshot whose index is gone and whose days are over.
    pub(super) async fn delete_expired(
        &self,
        prefix: &str,
        index: &str,
        name: &str,
    ) -> Result<Outcome, CallError> {
        if self.client.index(index).await?.is_some() {
            return Ok(Outcome::Held(format!("{index} is there again")));
        }
        let check = |snapshot: &Snapshot| {
            let policy = self.policy(prefix);
            let due = policy.and_then(|policy| snapshot_expired_on(policy, index, snapshot));
            match due {
                Some(due) if due <= self.day => Ok(()),
                _ => Err("it is not what it was when the plan was made".to_owned()),
            }
        };
        self.remove_snapshot(name, &check).await
    }

    /// Deletes a snapshot, however long that takes. `check` sees it each time before it is tried.
    pub(super) async fn remove_snapshot(&self, name: &str, check: Check<'_>) -> Result<Outcome, CallError> {
        let mut last = String::new();
        let mut uuid = String::new();
        for attempt in 1..=ATTEMPTS {
            self.before_attempt(attempt).await?;
            if self.client.engine.deletes_only_when_idle() && !wait_until_idle(&self.client).await? {
                return Ok(Outcome::Held(
                    "a snapshot is running, and this engine must not delete meanwhile".to_owned(),
                ));
            }
            let Some(snapshot) = self.read_snapshot(name).await? else {
                self.client.delete_record(&uuid).await?;
                return Ok(Outcome::Done("it is gone".to_owned()));
            };
            uuid.clone_from(&snapshot.uuid);
            if let Err(why) = check(&snapshot) {
                return Ok(Outcome::Held(why));
            }
            match self.client.delete_snapshot(&self.repository, name).await {
                Ok(()) => {
                    self.client.delete_record(&uuid).await?;
                    return Ok(Outcome::Done("deleted".to_owned()));
                }
                Err(error) if error.is("snapshot_missing_exception") => {
                    self.client.delete_record(&uuid).await?;
                    return Ok(Outcome::Done("it is gone".to_owned()));
                }
                Err(error) if error.is_busy() => {
                    last = error.to_string();
                    wait_until_idle(&self.client).await?;
                }
                Err(error) if error.is_ambiguous() => {
                    last = error.to_string();
                    tracing::info!(
                        snapshot = name,
                        why = last,
                        "the deletion may go on, waiting for its end"
                    );
                    if self.is_gone_in_time(name).await? {
                        self.client.delete_record(&uuid).await?;
                        return Ok(Outcome::Done("deleted".to_owned()));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::Failed(format!("tried {ATTEMPTS} times, at last {last}")))
    }

    /// Looks a few times whether a deletion that was begun has ended.
    async fn is_gone_in_time(&self, name: &str) -> Result<bool, CallError> {
        let mut polls = Polls::new(&self.client);
        for _ in 0..10 {
            if self.read_snapshot(name).await?.is_none() {
                return Ok(true);
            }
            if !polls.next().await? {
                break;
            }
        }
        Ok(false)
    }
}
