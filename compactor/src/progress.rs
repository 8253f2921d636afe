//! How much there is left to do: Thanos' `todo` metrics, the plan on the status page, and lines or bars for people.

use std::collections::{BTreeSet, HashMap};
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sabre_model::BlockId;
use sabre_model::duration::format_model;
use sabre_model::size::format_bytes;
use tokio_util::sync::CancellationToken;

use crate::compactor::Compactor;
use crate::error::PassError;
use crate::metrics::gauge;
use crate::plan::{self, BlockInfo, groups, plan_downsampling, todo};
use crate::quarantine::Work;
use crate::status::RunningStatus;

/// How often bars move.
const BAR_STEP: Duration = Duration::from_millis(200);
/// How often lines are logged where there is no terminal.
const LINE_STEP: Duration = Duration::from_secs(30);

impl Compactor {
    /// Counts what is left to do and shows the plan.
    pub(crate) async fn refresh_todo(&self) -> Result<(), PassError> {
        let view = self.sync().await?;
        let blocks = BlockInfo::all(&view);
        let policy = &self.config.policy;
        let mut excluded: BTreeSet<BlockId> = self.avoided(Work::Compaction);
        excluded.extend(view.marks.no_compact.keys());
        excluded.extend(view.marks.deletion.keys());
        let left = todo(&groups(&blocks), &excluded, policy);
        self.metrics.todo_compactions.set(gauge(left.compactions));
        self.metrics.todo_blocks.set(gauge(left.compaction_blocks));
        let due = plan_downsampling(&blocks, &self.not_downsampled(&view), policy, self.now_ms());
        self.metrics.todo_downsample.set(gauge(due.len()));
        let retention = self.plan_retention(&view);
        let unmarked = retention.expired.iter();
        let unmarked = unmarked.filter(|block| !view.marks.deletion.contains_key(&block.id()));
        self.metrics.todo_deletion.set(gauge(unmarked.count()));
        self.metrics.waiting.set(gauge(retention.kept.len()));
        let actions = self.plan().await.map_err(PassError::Sync)?;
        self.board
            .show_plan(plan::render(&actions, self.now_ms()), self.now_ms());
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
