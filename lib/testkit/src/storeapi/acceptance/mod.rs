//! What every implementation of StoreAPI must do, whatever it reads from.
//!
//! ```ignore
//! acceptance(&MySubject).await.assert_passed();
//! ```
//! The suite puts data sets into an implementation and compares all answers with those of a loop over the data. What
//! it does not look at is how much of a chunk outside the range asked for an answer has.

mod checks;
mod data;
mod labels;
mod streams;

use std::any::Any;

use anyhow::Result;
use async_trait::async_trait;
use tonic::transport::Channel;

pub use self::data::{BULK_SERIES, DataSet, SAMPLES, START_MS, STEP_MS, data_set};

/// An implementation under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// What failures call it.
    fn name(&self) -> &str;

    /// Serves `data` and nothing else: one data set, or several if [`Subject::serves_many`].
    async fn start(&self, data: &[DataSet]) -> Result<Running>;

    /// Whether it can serve several data sets with external labels of their own at once.
    fn serves_many(&self) -> bool {
        true
    }

    /// Whether a `Series` request whose matchers are all on external labels is refused; else its answer is empty.
    fn refuses_external_matchers_alone(&self) -> bool {
        false
    }
}

/// An implementation that serves; what it holds is dropped with it.
#[expect(missing_debug_implementations, reason = "what is kept alive may be anything")]
pub struct Running {
    /// A connection to it.
    pub channel: Channel,
    /// Lives as long as it must serve.
    pub alive: Box<dyn Any + Send + Sync>,
}

/// The outcome of the suite.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The checks that passed.
    pub passed: Vec<String>,
    /// The checks that failed, with the reason.
    pub failed: Vec<String>,
}

/// What checks work with.
pub(in crate::storeapi) struct World<'a> {
    pub(in crate::storeapi) subject: &'a dyn Subject,
    pub(in crate::storeapi) data: &'a [DataSet],
    pub(in crate::storeapi) channel: Channel,
}

/// Runs all checks.
///
/// # Panics
/// When the implementation cannot be started.
pub async fn acceptance(subject: &dyn Subject) -> Report {
    let mut report = Report::default();
    let one = [data_set(&[("cluster", "eu"), ("replica", "r1")], 1)];
    run(subject, &one, "one data set", &mut report).await;
    let none = [data_set(&[], 2)];
    run(subject, &none, "no external labels", &mut report).await;
    if subject.serves_many() {
        of_many(subject, &mut report).await;
    }
    report
}

/// Runs the checks on several data sets alone; [`acceptance`] runs them as well, if [`Subject::serves_many`].
///
/// # Panics
/// When the implementation cannot be started.
pub async fn acceptance_of_many(subject: &dyn Subject) -> Report {
    let mut report = Report::default();
    of_many(subject, &mut report).await;
    report
}

async fn of_many(subject: &dyn Subject, report: &mut Report) {
    let many = [
        data_set(&[("cluster", "eu"), ("replica", "r1")], 1),
        data_set(&[("cluster", "eu"), ("replica", "r2")], 2),
        data_set(&[("cluster", "us"), ("replica", "r1")], 3),
    ];
    run(subject, &many, "three data sets", report).await;
}

async fn run(subject: &dyn Subject, data: &[DataSet], what: &str, report: &mut Report) {
    let running = match subject.start(data).await {
        Ok(running) => running,
        Err(error) => panic!("{} does not start with {what}: {error:#}", subject.name()),
    };
    let world = World {
        subject,
        data,
        channel: running.channel.clone(),
    };
    let mut note = |check: &str, outcome: Result<(), String>| match outcome {
        Ok(()) => report.passed.push(format!("{check}, {what}")),
        Err(why) => report
            .failed
            .push(format!("{}, {what}, {check}: {why}", subject.name())),
    };
    note("matchers", checks::matchers(&world).await);
    note("time bounds", checks::time_bounds(&world).await);
    note("labels only", checks::labels_only(&world).await);
    note("limits", checks::limits(&world).await);
    note("shards", checks::shards(&world).await);
    note("replica labels", checks::replica_labels(&world).await);
    note("batches", checks::batches(&world).await);
    note("bad requests", checks::bad_requests(&world).await);
    note(
        "external matchers alone",
        checks::external_matchers_alone(&world).await,
    );
    note("label names", labels::names(&world).await);
    note("label values", labels::values(&world).await);
    note("info", labels::info(&world).await);
    note("cancellation", streams::cancellation(&world).await);
    note("slow readers", streams::slow_readers(&world).await);
    note("callers at once", streams::callers_at_once(&world).await);
    drop(running);
}

impl Report {
    /// Fails a test unless all checks passed.
    ///
    /// # Panics
    /// When a check failed: the message names all that did.
    pub fn assert_passed(&self) {
        assert!(
            self.failed.is_empty(),
            "{} of {} checks failed:\n{}",
            self.failed.len(),
            self.failed.len() + self.passed.len(),
            self.failed.join("\n")
        );
    }
}
