//! Does what a plan says, looking again before each step.
//!
//! A plan is made of what was seen minutes or hours ago. So every step reads anew what it depends on, right before it acts,
//! and does nothing when that has changed: the next run makes a new plan. Nothing is remembered between runs but what the
//! cluster and the repository hold, so a run may be killed anywhere, and two may run at once.

mod create_index;
mod delete_index;
mod delete_snapshot;
mod take_snapshot;
#[cfg(test)]
mod tests;
mod waiting;

pub(crate) use waiting::{Polls, wait_until_idle};

use std::time::Duration;

use jiff::civil::Date;
use serde::Serialize;

use crate::{
    cluster::{CallError, Client, snapshots::Snapshot},
    config::Warn,
    findings::findings,
    observe::{Look, observe},
    plan::{Entry, Policy, Step, plan},
};

/// How often a step is begun anew when it is not known whether it worked.
const ATTEMPTS: u32 = 5;
/// The first pause before that; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// One run: a cluster, a repository, the policies, and the day.
#[derive(Debug, Clone)]
pub struct Job {
    /// The cluster.
    pub client: Client,
    /// The name of the snapshot repository.
    pub repository: String,
    /// What is kept how long.
    pub policies: Vec<Policy>,
    /// Deletions beyond a day's usual ones.
    pub max_deletes: u32,
    /// From how many percent on something is reported.
    pub warn: Warn,
    /// The day of the run.
    pub day: Date,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", content = "detail", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is done.
    Done(String),
    /// There was nothing to do.
    Nothing,
    /// Things had changed, or something was in the way; the next run decides anew.
    Held(String),
    /// It failed.
    Failed(String),
    /// The run ended before.
    NotTried(String),
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The day.
    pub day: Date,
    /// What was found before anything was done.
    pub findings: Vec<String>,
    /// All indices and snapshots, in the order in which they were dealt with.
    pub entries: Vec<Reported>,
}

/// An entry of the plan with what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reported {
    /// What was to be done.
    #[serde(flatten)]
    pub entry: Entry,
    /// What came of it.
    pub outcome: Outcome,
}

/// Why a run did nothing at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JobError {
    /// The cluster did not answer as it should.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The repository is not there.
    #[error("the snapshot repository {0} is not registered: run `sabre es-retention register-repo` first")]
    NoRepository(String),
    /// The repository cannot be written to.
    #[error("the snapshot repository {0} is read-only, nothing can be snapshotted into it")]
    ReadOnlyRepository(String),
    /// The nodes cannot use the repository.
    #[error("the snapshot repository {name} does not work: {source}")]
    BrokenRepository {
        /// Its name.
        name: String,
        /// What the cluster says.
        source: CallError,
    },
}

impl Job {
    /// Checks the repository, makes a plan and does it.
    ///
    /// # Errors
    /// When it is not known what there is; then nothing was changed.
    pub async fn run(&self) -> Result<Report, JobError> {
        self.check_repository().await?;
        // Whatever runs, of ours or of the service, changes what the plan must say.
        wait_until_idle(&self.client).await?;
        let state = observe(
            &self.client,
            &self.repository,
            &self.policies,
            self.day,
            Look::Refresh,
        )
        .await?;
        let findings = findings(&self.client, &self.warn, &self.policies, &state).await;
        for finding in &findings {
            tracing::warn!(finding, "found before acting");
        }
        let plan = plan(self.day, &state, &self.policies, self.max_deletes);
        let mut report = Report {
            day: self.day,
            findings,
            entries: Vec::new(),
        };
        let mut over: Option<String> = None;
        for entry in plan.entries {
            let outcome = match &over {
                Some(why) if entry.step.is_action() => Outcome::NotTried(why.clone()),
                _ => self.step(&entry, &mut over).await,
            };
            log(&entry, &outcome);
            report.entries.push(Reported { entry, outcome });
        }
        Ok(report)
    }

    async fn check_repository(&self) -> Result<(), JobError> {
        let name = &self.repository;
        let Some(repository) = self.client.repository(name).await? else {
            return Err(JobError::NoRepository(name.clone()));
        };
        if repository.is_read_only() {
            return Err(JobError::ReadOnlyRepository(name.clone()));
        }
        match self.client.verify_repository(name).await {
            Ok(_) => Ok(()),
            Err(source @ CallError::Refused { .. }) => Err(JobError::BrokenRepository {
                name: name.clone(),
                source,
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn step(&self, entry: &Entry, over: &mut Option<String>) -> Outcome {
        let name = &entry.name;
        let result = match &entry.step {
            Step::DeleteSnapshot { index, .. } => self.delete_expired(&entry.prefix, index, name).await,
            Step::DeleteIndex { uuid, snapshot } => {
                self.delete_index(&entry.prefix, name, uuid, snapshot).await
            }
            Step::TakeSnapshot {
                uuid,
                snapshot,
                replaces,
            } => self.take_snapshot(name, uuid, snapshot, replaces).await,
            Step::CreateIndex { shards, replicas } => self.create_index(name, *shards, *replicas).await,
            Step::Keep | Step::Protected | Step::Stuck | Step::PutOff => return Outcome::Nothing,
        };
        match result {
            Ok(outcome) => outcome,
            Err(error) => {
                if error == CallError::Stopped {
                    *over = Some("the run was told to stop".to_owned());
                    return Outcome::NotTried("the run was told to stop".to_owned());
                }
                if error.is_unreachable() {
                    *over = Some("the cluster cannot be reached".to_owned());
                }
                if error.is("index_not_found_exception") {
                    return Outcome::Held("the index is gone by now".to_owned());
                }
                Outcome::Failed(error.to_string())
            }
        }
    }

    fn policy(&self, prefix: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.names.prefix == prefix)
    }

    /// Reads a snapshot from the repository, with its record.
    async fn read_snapshot(&self, name: &str) -> Result<Option<Snapshot>, CallError> {
        let read = self.client.snapshot(&self.repository, name).await?;
        let mut snapshots: Vec<Snapshot> = read.into_iter().collect();
        self.client.add_records(&mut snapshots).await?;
        Ok(snapshots.pop())
    }

    /// Waits before an attempt that is not the first.
    async fn before_attempt(&self, attempt: u32) -> Result<(), CallError> {
        if attempt < 2 {
            return self.client.check_stop();
        }
        let factor = 1_u32.checked_shl(attempt.saturating_sub(2)).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(factor);
        self.client
            .pause(pause.min(self.client.patience.longest_pause))
            .await
    }
}

impl Report {
    /// 0 when all that was due is done, 1 when nothing was and something failed, 3 when a part of it was.
    pub fn exit_code(&self) -> u8 {
        let mut done = false;
        let mut failed = false;
        let mut left = false;
        for reported in &self.entries {
            match &reported.outcome {
                Outcome::Done(_) => done = true,
                Outcome::Failed(_) | Outcome::NotTried(_) => failed = true,
                Outcome::Held(_) => left = true,
                Outcome::Nothing => {
                    left |= matches!(reported.entry.step, Step::Stuck | Step::PutOff);
                }
            }
        }
        match (failed, done, left) {
            (true, false, _) => 1,
            (true, true, _) | (false, _, true) => 3,
            (false, _, false) => 0,
        }
    }
}

fn log(entry: &Entry, outcome: &Outcome) {
    let (name, step, why) = (&entry.name, entry.step.words(), &entry.why);
    match outcome {
        Outcome::Done(detail) => tracing::info!(name, step, why, detail, "done"),
        Outcome::Failed(detail) => tracing::error!(name, step, why, detail, "failed"),
        Outcome::Held(detail) => tracing::warn!(name, step, why, detail, "held back"),
        Outcome::NotTried(detail) => tracing::warn!(name, step, why, detail, "not tried"),
        Outcome::Nothing if matches!(entry.step, Step::Stuck | Step::PutOff) => {
            tracing::warn!(name, why, "{step}");
        }
        Outcome::Nothing => tracing::debug!(name, why, "{step}"),
    }
}
