//! Metrics by Thanos' names, and a few of our own.

use sabre_block::mark::MarkKind;
use sabre_runtime::metrics::{Counter, Counters, Gauge, GaugeF64, Gauges, Histogram, Histograms, Registry};

/// Upper bounds of how long garbage collection takes, in seconds.
const GC_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of how long downsampling a block takes, in seconds.
const DOWNSAMPLE_BUCKETS: [f64; 9] = [
    60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0,
];

/// The reasons of marks that are exported from the start.
const MARKED: [(MarkKind, &str); 5] = [
    (MarkKind::Deletion, ""),
    (MarkKind::NoCompact, "block-index-out-of-order-chunk"),
    (MarkKind::NoCompact, "index-size-exceeding"),
    (MarkKind::NoCompact, "downsample-vertical-compaction"),
    (MarkKind::NoDownsample, ""),
];

/// The resolutions of blocks, in milliseconds, as labels have them.
const RESOLUTIONS: [&str; 3] = ["0", "300000", "3600000"];

/// All metrics of the compactor.
#[derive(Debug, Clone)]
pub(crate) struct CompactorMetrics {
    pub(crate) halted: Gauge,
    pub(crate) retries: Counter,
    pub(crate) iterations: Counter,
    pub(crate) cleanup_loops: Counter,
    pub(crate) cleanup_failures: Counter,
    pub(crate) blocks_cleaned: Counter,
    pub(crate) partial_deletions: Counter,
    pub(crate) marked: Counters<2>,
    pub(crate) garbage_blocks: Counter,
    pub(crate) garbage_runs: Counter,
    pub(crate) garbage_failures: Counter,
    pub(crate) garbage_seconds: Histogram,
    pub(crate) compactions: Counters<1>,
    pub(crate) runs_started: Counters<1>,
    pub(crate) runs_completed: Counters<1>,
    pub(crate) compaction_failures: Counters<1>,
    pub(crate) vertical: Counters<1>,
    pub(crate) todo_compactions: Gauge,
    pub(crate) todo_blocks: Gauge,
    pub(crate) todo_downsample: Gauge,
    pub(crate) todo_deletion: Gauge,
    pub(crate) downsamples: Counters<1>,
    pub(crate) downsample_failures: Counters<1>,
    pub(crate) downsample_seconds: Histograms<1>,
    pub(crate) delete_delay: GaugeF64,
    pub(crate) consistency_delay: GaugeF64,
    pub(crate) quarantined: Gauges<1>,
    pub(crate) overlapping: Gauge,
    pub(crate) unclear: Gauges<1>,
    pub(crate) waiting: Gauge,
    pub(crate) uploads_aborted: Counter,
    pub(crate) read_bytes: Counter,
    pub(crate) written_samples: Counter,
    pub(crate) wrong_stats: Counter,
}

impl CompactorMetrics {
    /// Makes the metrics.
    pub(crate) fn register(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registry.counter(&format!("thanos_compact_{name}"), help);
        let gauge = |name: &str, help: &str| registry.gauge(&format!("thanos_compact_{name}"), help);
        let by_resolution = |name: &str, help: &str| {
            registry.counters(&format!("thanos_compact_{name}"), help, ["resolution"])
        };
        let metrics = Self {
            halted: gauge("halted", "1 while blocks are left alone because they are broken"),
            retries: counter("retries_total", "Failures that are tried again"),
            iterations: counter("iterations_total", "Iterations that came to a good end"),
            cleanup_loops: counter("block_cleanup_loops_total", "Runs of cleaning"),
            cleanup_failures: counter("block_cleanup_failures_total", "Blocks that could not be deleted"),
            blocks_cleaned: counter(
                "blocks_cleaned_total",
                "Blocks deleted because their mark was old enough",
            ),
            partial_deletions: counter(
                "aborted_partial_uploads_deletion_attempts_total",
                "Uploads given up that were to be deleted",
            ),
            marked: registry.counters(
                "thanos_compact_blocks_marked_total",
                "Marks written",
                ["marker", "reason"],
            ),
            garbage_blocks: counter(
                "garbage_collected_blocks_total",
                "Blocks marked because others cover them",
            ),
            garbage_runs: counter("garbage_collection_total", "Runs of garbage collection"),
            garbage_failures: counter(
                "garbage_collection_failures_total",
                "Failed runs of garbage collection",
            ),
            garbage_seconds: registry.histogram(
                "thanos_compact_garbage_collection_duration_seconds",
                "How long garbage collection took",
                &GC_BUCKETS,
            ),
            compactions: by_resolution("group_compactions_total", "Compactions that made a block"),
            runs_started: by_resolution("group_compaction_runs_started_total", "Groups looked at"),
            runs_completed: by_resolution("group_compaction_runs_completed_total", "Groups dealt with"),
            compaction_failures: by_resolution("group_compactions_failures_total", "Compactions that failed"),
            vertical: by_resolution(
                "group_vertical_compactions_total",
                "Compactions of blocks that overlap",
            ),
            todo_compactions: gauge("todo_compactions", "Compactions to be done"),
            todo_blocks: gauge("todo_compaction_blocks", "Blocks to be compacted"),
            todo_downsample: gauge("todo_downsample_blocks", "Blocks to be downsampled"),
            todo_deletion: gauge(
                "todo_deletion_blocks",
                "Blocks past their retention and not yet marked",
            ),
            downsamples: by_resolution("downsample_total", "Blocks downsampled"),
            downsample_failures: by_resolution(
                "downsample_failures_total",
                "Blocks that could not be downsampled",
            ),
            downsample_seconds: registry.histograms(
                "thanos_compact_downsample_duration_seconds",
                "How long downsampling a block took",
                ["resolution"],
                &DOWNSAMPLE_BUCKETS,
            ),
            delete_delay: registry.gauge_f64(
                "thanos_delete_delay_seconds",
                "Age at which marked blocks are deleted",
            ),
            consistency_delay: registry.gauge_f64(
                "thanos_consistency_delay_seconds",
                "Age at which fresh blocks are looked at",
            ),
            quarantined: registry.gauges(
                "sabre_compact_quarantined_blocks",
                "Blocks that are left alone because they are broken",
                ["work"],
            ),
            overlapping: registry.gauge(
                "sabre_compact_overlapping_blocks",
                "Blocks that are left alone because they overlap",
            ),
            unclear: registry.gauges(
                "sabre_compact_unclear_blocks",
                "Blocks whose files cannot be read or are not all there, so that nothing is done with them",
                ["reason"],
            ),
            waiting: registry.gauge(
                "sabre_compact_retention_waiting_blocks",
                "Blocks past their retention that wait for an aggregate",
            ),
            uploads_aborted: registry.counter(
                "sabre_compact_multipart_uploads_aborted_total",
                "Multipart uploads that were given up and aborted",
            ),
            read_bytes: registry.counter(
                "sabre_compact_read_bytes_total",
                "Bytes of sources read by compactions",
            ),
            written_samples: registry.counter("sabre_compact_written_samples_total", "Samples written"),
            wrong_stats: registry.counter(
                "sabre_compact_wrong_stats_total",
                "Sources whose meta.json counts other than they hold",
            ),
        };
        for (kind, reason) in MARKED {
            metrics.marked.with([kind.file_name(), reason]);
        }
        metrics.show_zeros();
        metrics
    }

    /// Exports counters of all resolutions from the start: without the zero before it the first failure is no increase, and
    /// a share of nothing is no number.
    fn show_zeros(&self) {
        for resolution in RESOLUTIONS {
            for counters in [
                &self.compactions,
                &self.compaction_failures,
                &self.runs_started,
                &self.runs_completed,
                &self.vertical,
            ] {
                counters.with([resolution]);
            }
        }
        // The coarsest is made of nothing else.
        for resolution in RESOLUTIONS.into_iter().take(2) {
            self.downsamples.with([resolution]);
            self.downsample_failures.with([resolution]);
        }
    }

    /// The value of the label `resolution`.
    pub(crate) fn resolution(resolution_ms: i64) -> String {
        resolution_ms.to_string()
    }
}

impl Default for CompactorMetrics {
    fn default() -> Self {
        Self::register(&Registry::new())
    }
}

/// A count as a gauge takes it.
pub(crate) fn gauge(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_every_resolution_are_there_from_the_start() {
        let registry = Registry::new();
        CompactorMetrics::register(&registry);
        let text = registry.classic();
        for line in [
            "thanos_compact_group_compactions_total{resolution=\"0\"} 0",
            "thanos_compact_group_compactions_failures_total{resolution=\"3600000\"} 0",
            "thanos_compact_downsample_total{resolution=\"300000\"} 0",
            "thanos_compact_downsample_failures_total{resolution=\"0\"} 0",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
    }
}
