//! Metrics of runs.

use sabre_runtime::metrics::{Counters, Gauge, Gauges, Registry};

use crate::{
    execute::{Outcome, Report},
    plan::{Step, What},
};

/// What a run leaves for Prometheus, in `schedule` as counters that go on, else in a file or at a push gateway.
#[derive(Debug, Clone)]
pub struct RunMetrics {
    runs: Counters<1>,
    steps: Counters<2>,
    things: Gauges<3>,
    last_run: Gauge,
    last_success: Gauge,
    last_exit_code: Gauge,
    findings: Gauge,
}

const STEPS: [&str; 4] = ["delete snapshot", "delete index", "take snapshot", "create index"];

impl RunMetrics {
    /// Makes the metrics; counters begin at 0.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self {
            runs: registry.counters(
                "sabre_es_retention_runs_total",
                "Runs by how they ended",
                ["result"],
            ),
            steps: registry.counters(
                "sabre_es_retention_steps_total",
                "Steps by what was to be done and what came of it",
                ["step", "result"],
            ),
            things: registry.gauges(
                "sabre_es_retention_things",
                "Indices and snapshots at the last run, by what was decided on them",
                ["prefix", "what", "decision"],
            ),
            last_run: registry.gauge(
                "sabre_es_retention_last_run_timestamp_seconds",
                "When the last run ended",
            ),
            last_success: registry.gauge(
                "sabre_es_retention_last_success_timestamp_seconds",
                "When the last run ended that did all that was due",
            ),
            last_exit_code: registry.gauge(
                "sabre_es_retention_last_exit_code",
                "How the last run ended: 0 done, 1 failed, 3 done in part",
            ),
            findings: registry.gauge(
                "sabre_es_retention_findings",
                "Full disks, blocks and limits found by the last run",
            ),
        };
        for result in ["done", "failed", "part"] {
            metrics.runs.with([result]);
        }
        for step in STEPS {
            for result in ["done", "failed", "held", "not-tried"] {
                metrics.steps.with([step, result]);
            }
        }
        metrics
    }

    /// Takes note of a run that ended, `None` for one that could not even begin.
    pub fn observe(&self, report: Option<&Report>, now_ms: i64) {
        let now = now_ms / 1000;
        let code = report.map_or(1, Report::exit_code);
        self.last_run.set(now);
        self.last_exit_code.set(i64::from(code));
        let result = match code {
            0 => "done",
            1 => "failed",
            _ => "part",
        };
        self.runs.with([result]).inc();
        let Some(report) = report else { return };
        if code == 0 {
            self.last_success.set(now);
        }
        self.findings
            .set(i64::try_from(report.findings.len()).unwrap_or(i64::MAX));
        self.things.clear();
        for reported in &report.entries {
            let entry = &reported.entry;
            let what = match entry.what {
                What::Index => "index",
                What::Snapshot => "snapshot",
            };
            self.things.with([&entry.prefix, what, entry.step.words()]).inc();
            let result = match &reported.outcome {
                Outcome::Done(_) => "done",
                Outcome::Failed(_) => "failed",
                Outcome::Held(_) => "held",
                Outcome::NotTried(_) => "not-tried",
                Outcome::Nothing => continue,
            };
            debug_assert!(!matches!(entry.step, Step::Keep));
            self.steps.with([entry.step.words(), result]).inc();
        }
    }
}
