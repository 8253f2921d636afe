//! How much there is left to do: Thanos' `todo` metrics, the plan on the status page, and lines or bars for people.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sabre_model::duration::format_model;
use sabre_model::size::format_bytes;
use tokio_util::sync::CancellationToken;

use crate::compactor::Compactor;
use crate::error::PassError;
use crate::metrics::gauge;
use crate::plan::{self, BlockInfo, plan_downsampling, planned_groups, todo};
use crate::status::RunningStatus;

/// How often bars move.
const BAR_STEP: Duration = Duration::from_millis(200);
/// How often lines are logged where there is no terminal.
const LINE_STEP: Duration = Duration::from_secs(30);

impl Compactor {
    /// Counts what is left to do and shows the plan.
    pub(crate) async fn refresh_todo(&self) -> Result<(), PassError> {
        let view = self.sync().await?;
        let policy = &self.config.policy;
        let restraint = self.restraint(&view);
        let groups = planned_groups(
            &BlockInfo::with_incomplete(&view),
            &restraint,
            policy,
            self.now_ms(),
        );
        let left = todo(&groups, &restraint.not_compacted, policy);
        self.metrics.todo_compactions.set(gauge(left.compactions));
        self.metrics.todo_blocks.set(gauge(left.compaction_blocks));
        let due = plan_downsampling(&BlockInfo::all(&view), &restraint, policy, self.now_ms());
        self.metrics.todo_downsample.set(gauge(due.len()));
        let retention = self.plan_retention(&view);
        let unmarked = retention.expired.iter();
        let unmarked = unmarked.filter(|block| !view.marks.deletion.contains_key(&block.id()));
        self.metrics.todo_deletion.set(gauge(unmarked.count()));
        self.metrics.waiting.set(gauge(retention.kept.len()));
        let actions = self.plan().await.map_err(PassError::Sync)?;
        let text = plan::render(&actions, &self.young(), self.now_ms());
        self.board.show_plan(text, self.now_ms());
        Ok(())
    }

    /// Tells of running jobs until `stop`: bars on a terminal, lines in the log elsewhere.
    pub(crate) async fn tell_progress(&self, stop: CancellationToken) {
        if std::io::stderr().is_terminal() {
            self.draw_bars(stop).await;
        } else {
            self.log_lines(stop).await;
        }
    }

    async fn log_lines(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LINE_STEP) => {}
            }
            for job in self.board.running(self.now_ms()) {
                tracing::info!(
                    what = job.what,
                    name = job.name,
                    read = format_bytes(job.read_bytes),
                    of = format_bytes(job.size_bytes),
                    samples_per_second = job.samples_per_second,
                    left = job.left_ms.map(format_model),
                    "under way"
                );
            }
        }
    }

    async fn draw_bars(&self, stop: CancellationToken) {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let mut known: HashMap<String, ProgressBar> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(BAR_STEP) => {}
            }
            let running = self.board.running(self.now_ms());
            known.retain(|name, bar| {
                let goes_on = running.iter().any(|job| job.name == *name);
                if !goes_on {
                    bar.finish_and_clear();
                }
                goes_on
            });
            for job in running {
                let bar = known
                    .entry(job.name.clone())
                    .or_insert_with(|| bars.add(new_bar(&job)));
                bar.set_position(job.read_bytes);
                bar.set_message(message(&job));
            }
        }
        for bar in known.into_values() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(job: &RunningStatus) -> ProgressBar {
    let bar = ProgressBar::new(job.size_bytes);
    let template = "{prefix:40} {bar:30} {bytes}/{total_bytes} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(format!("{} {}", job.what, job.name));
    bar
}

fn message(job: &RunningStatus) -> String {
    let left = job.left_ms.map_or_else(String::new, |left_ms| {
        format!(", {} left", format_model(left_ms / 1000 * 1000))
    });
    format!("{} samples/s{left}", job.samples_per_second)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use parking_lot::Mutex;
    use sabre_objstore::MemoryBucket;
    use sabre_runtime::budget::Budget;
    use sabre_runtime::metrics::Registry;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::compactor::CompactorConfig;
    use crate::merge::JobProgress;
    use crate::plan::{DownsamplePlan, tests::block};
    use crate::status::Running;

    /// Collects the lines of a log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, "{}={value:?} ", field.name()).unwrap();
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().push(line.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_terminal_lines_tell_of_every_job_that_runs() {
        let compactor = Compactor::new(
            Arc::new(MemoryBucket::new("b")),
            CompactorConfig::without_data_dir(),
            Budget::unlimited(),
            &Registry::new(),
            Arc::new(|| 3_000),
        );
        let progress = Arc::new(JobProgress::default());
        progress.read_bytes.store(25, Ordering::Relaxed);
        progress.samples.store(500, Ordering::Relaxed);
        let plan = DownsamplePlan {
            block: block(1, 0, 48),
            to_ms: 300_000,
        };
        let running = compactor
            .board
            .begin(Running::downsampling(&plan, &progress, 1_000));
        let lines = Lines::default();
        let _listening = tracing::subscriber::set_default(lines.clone());
        let minute = async |guard| {
            let told = compactor.log_lines(CancellationToken::new());
            assert!(tokio::time::timeout(LINE_STEP * 2, told).await.is_err());
            drop(guard);
            std::mem::take(&mut *lines.0.lock())
        };
        let told = minute(Some(running)).await;
        assert!(!told.is_empty());
        for part in [
            "under way",
            "downsample",
            "samples_per_second=250",
            "left=",
            "6s",
            "25B",
            "100B",
        ] {
            assert!(told[0].contains(part), "no {part} in {}", told[0]);
        }
        assert!(minute(None).await.is_empty(), "nothing runs");
    }

    #[test]
    fn a_bar_says_how_fast_it_goes_and_what_is_left() {
        let mut job = RunningStatus {
            what: "compact",
            name: "0@1".to_owned(),
            blocks: Vec::new(),
            size_bytes: 100,
            read_bytes: 25,
            samples: 500,
            samples_per_second: 250,
            running_ms: 2_000,
            left_ms: Some(6_200),
        };
        assert_eq!(message(&job), "250 samples/s, 6s left");
        let bar = new_bar(&job);
        assert_eq!((bar.length(), bar.prefix().as_str()), (Some(100), "compact 0@1"));
        job.left_ms = None;
        assert_eq!(message(&job), "250 samples/s");
    }
}
