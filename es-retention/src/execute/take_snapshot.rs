//! Takes a snapshot of an index and sees it to its end.

use super::{ATTEMPTS, Job, Outcome, wait_until_idle, waiting::Polls};
use crate::{
    cluster::{
        CallError,
        indices::Index,
        record::Record,
        snapshots::{Phase, Snapshot},
    },
    plan::{indices_prove, snapshot_is_replaceable},
};

/// What came of one attempt.
enum Attempt {
    Over(Outcome),
    Again(String),
}

impl Job {
    pub(super) async fn take_snapshot(
        &self,
        index: &str,
        uuid: &str,
        name: &str,
        replaces: &[String],
    ) -> Result<Outcome, CallError> {
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            self.before_attempt(attempt).await?;
            match self.attempt_snapshot(index, uuid, name, replaces).await? {
                Attempt::Over(outcome) => return Ok(outcome),
                Attempt::Again(why) => last = why,
            }
            tracing::warn!(
                snapshot = name,
                attempt,
                why = last,
                "not taken yet, looking again"
            );
        }
        Ok(Outcome::Failed(format!("tried {ATTEMPTS} times, at last {last}")))
    }

    async fn attempt_snapshot(
        &self,
        index: &str,
        uuid: &str,
        name: &str,
        replaces: &[String],
    ) -> Result<Attempt, CallError> {
        let held = |why: String| Ok(Attempt::Over(Outcome::Held(why)));
        if !wait_until_idle(&self.client).await? {
            return held("another snapshot is still running".to_owned());
        }
        let Some(found) = self.client.index(index).await? else {
            return held("the index is gone".to_owned());
        };
        if found.uuid != uuid {
            return held("the index was made again since the plan was made".to_owned());
        }
        if let Some(writer) = &found.write_index_of {
            return held(format!("it became the write index of {writer}"));
        }
        for replaced in replaces.iter().filter(|replaced| *replaced != name) {
            if let Some(outcome) = self.make_room(&found, replaced).await? {
                return Ok(Attempt::Over(outcome));
            }
        }
        if let Some(there) = self.read_snapshot(name).await? {
            match there.phase {
                // Begun by the attempt before, or by another run.
                Phase::InProgress => return self.follow(name, index, None).await.map(Attempt::Over),
                Phase::Failed | Phase::Partial => {
                    if let Some(outcome) = self.make_room(&found, name).await? {
                        return Ok(Attempt::Over(outcome));
                    }
                }
                _ => return self.judge_existing(&there, index).await.map(Attempt::Over),
            }
        }
        let contents = match self.client.measure(index).await? {
            Ok(contents) => contents,
            Err(problem) => return held(problem),
        };
        let record = Record {
            day: self.day,
            index: index.to_owned(),
            contents,
        };
        match self.client.begin_snapshot(&self.repository, name, &record).await {
            Ok(()) => {}
            Err(error) if error.is_busy() || error.is_ambiguous() => {
                return Ok(Attempt::Again(error.to_string()));
            }
            // The name is taken: another run was faster, or the attempt before was.
            Err(error) if error.is("invalid_snapshot_name_exception") => {
                return Ok(Attempt::Again(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        if !self.client.engine.keeps_metadata()
            && let Some(begun) = self.client.snapshot(&self.repository, name).await?
            && !begun.uuid.is_empty()
        {
            self.client.write_record(&begun.uuid, &record).await?;
        }
        self.follow(name, index, Some(&record)).await.map(Attempt::Over)
    }

    /// Deletes a snapshot that did not end well, so that its name is free; an outcome when that is not possible.
    async fn make_room(&self, index: &Index, name: &str) -> Result<Option<Outcome>, CallError> {
        let check = |snapshot: &Snapshot| {
            if snapshot_is_replaceable(snapshot, &index.uuid, index.created_ms) {
                Ok(())
            } else {
                Err(format!(
                    "{name} is not replaced: it may hold what is nowhere else"
                ))
            }
        };
        match self.remove_snapshot(name, &check).await? {
            Outcome::Done(_) => {
                tracing::info!(snapshot = name, "deleted, it did not end well");
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// A snapshot of this name ended already: it is as good as one of ours when it proves the same.
    async fn judge_existing(&self, there: &Snapshot, index: &str) -> Result<Outcome, CallError> {
        match self.client.measure(index).await? {
            Ok(contents) if indices_prove(there, index, &contents) => Ok(Outcome::Done(format!(
                "{} is there and holds all of it",
                there.name
            ))),
            _ => Ok(Outcome::Held(format!(
                "{} is there and is not known to hold all of it, the next run takes another",
                there.name
            ))),
        }
    }

    /// Waits for the end of a snapshot and reads it from the repository.
    async fn follow(&self, name: &str, index: &str, ours: Option<&Record>) -> Result<Outcome, CallError> {
        let mut polls = Polls::new(&self.client);
        loop {
            let Some(snapshot) = self.read_snapshot(name).await? else {
                return Ok(Outcome::Failed(format!("{name} was begun and is not there")));
            };
            match &snapshot.phase {
                Phase::InProgress => {}
                Phase::Success if snapshot.holds_all_of(index) => return Ok(ended_well(&snapshot, ours)),
                Phase::Success => {
                    return Ok(Outcome::Failed(format!(
                        "{name} is SUCCESS and does not hold all of {index}"
                    )));
                }
                Phase::Partial | Phase::Failed => {
                    return Ok(Outcome::Failed(format!(
                        "{name} is {}; the next run takes it again",
                        snapshot.ending()
                    )));
                }
                Phase::Unknown(why) => return Ok(Outcome::Failed(format!("{name}: {why}"))),
            }
            tracing::info!(snapshot = name, "is being taken");
            if !polls.next().await? {
                return Ok(Outcome::Failed(format!(
                    "{name} still runs after {} s, the next run goes on",
                    self.client.patience.snapshot_timeout.as_secs()
                )));
            }
        }
    }
}

fn ended_well(snapshot: &Snapshot, ours: Option<&Record>) -> Outcome {
    let name = &snapshot.name;
    match (&snapshot.record, ours) {
        (Some(record), _) => Outcome::Done(format!("{name} holds {} documents", record.contents.docs)),
        (None, None) => Outcome::Held(format!(
            "{name} is SUCCESS and nothing says what it holds, the next run takes another"
        )),
        (None, Some(_)) => Outcome::Failed(format!("{name} is SUCCESS and has lost its record")),
    }
}
