//! The sidecar's metrics, under Thanos' names.

use sabre_runtime::metrics::{Counter, Counters, Gauge, GaugeF64, Histogram, Registry};

/// Handles; cheap to clone.
#[derive(Clone, Debug)]
pub struct SidecarMetrics {
    /// 1 while Prometheus answers.
    pub prometheus_up: Gauge,
    /// Frames of a streamed remote read answer.
    pub received_frames: Histogram,
    /// Series of a `Series` answer.
    pub series_requested: Histogram,
    /// Chunks of a `Series` answer.
    pub chunks_requested: Histogram,
    /// `Series` calls being answered.
    pub pending_series: Gauge,
    /// `Series` calls that went beyond a limit, by limit: `series`, `chunks`.
    pub selects_dropped: Counters<1>,
    /// Times the data directory was compared with the bucket.
    pub dir_syncs: Counter,
    /// Of those, how many did not ship all they should.
    pub dir_sync_failures: Counter,
    /// Blocks shipped.
    pub uploads: Counter,
    /// Blocks whose shipping failed.
    pub upload_failures: Counter,
    /// Times the state file could not be written.
    pub state_write_failures: Counter,
    /// Local blocks whose meta.json could not be read.
    pub corrupted_blocks: Counter,
    /// 1 once all compacted blocks are in the bucket.
    pub upload_compacted_done: Gauge,
    /// Blocks that are still to be shipped.
    pub unshipped_blocks: Gauge,
    /// When Prometheus may delete the oldest of them, in seconds since the epoch; 0 when none waits or nobody knows.
    pub unshipped_deletion_seconds: GaugeF64,
    /// Blocks that were never shipped and are gone, by reason: `deleted`, `compacted`.
    pub lost_blocks: Counters<1>,
    /// Samples of those.
    pub lost_samples: Counters<1>,
    /// Blocks of another Prometheus under the same external labels, at the last search of the bucket.
    pub foreign_blocks: Gauge,
    /// 1 while another sidecar ships from the data directory.
    pub directory_taken: Gauge,
    /// Remote reads being answered by Prometheus.
    pub reads_in_flight: Gauge,
    /// Remote reads that wait for their turn.
    pub reads_waiting: Gauge,
    /// Questions for labels being answered by Prometheus.
    pub label_calls_in_flight: Gauge,
    /// Questions for labels that wait for their turn.
    pub label_calls_waiting: Gauge,
}

impl SidecarMetrics {
    /// Registers all of them.
    pub fn new(registry: &Registry) -> SidecarMetrics {
        let frames = [10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10_000.0];
        let metrics = SidecarMetrics {
            prometheus_up: registry.gauge(
                "thanos_sidecar_prometheus_up",
                "Boolean indicator whether the sidecar can reach its Prometheus peer.",
            ),
            received_frames: registry.histogram(
                "prometheus_store_received_frames",
                "Number of frames received per streamed response.",
                &frames,
            ),
            series_requested: registry.histogram(
                "thanos_store_server_series_requested",
                "Number of requested series for Series calls",
                &[1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6],
            ),
            chunks_requested: registry.histogram(
                "thanos_store_server_chunks_requested",
                "Number of requested chunks for Series calls",
                &[1.0, 100.0, 1e3, 1e4, 1e5, 1e7, 1e8, 1e9],
            ),
            pending_series: registry.gauge(
                "thanos_store_server_pending_series_requests",
                "Number of pending series requests",
            ),
            selects_dropped: registry.counters(
                "thanos_store_selects_dropped_total",
                "Number of select queries that were dropped due to configured limits.",
                ["reason"],
            ),
            dir_syncs: registry.counter("thanos_shipper_dir_syncs_total", "Total number of dir syncs"),
            dir_sync_failures: registry.counter(
                "thanos_shipper_dir_sync_failures_total",
                "Total number of failed dir syncs",
            ),
            uploads: registry.counter("thanos_shipper_uploads_total", "Total number of uploaded blocks"),
            upload_failures: registry.counter(
                "thanos_shipper_upload_failures_total",
                "Total number of block upload failures",
            ),
            state_write_failures: registry.counter(
                "sabre_sidecar_state_write_failures_total",
                "Times the shipper's state file could not be written",
            ),
            corrupted_blocks: registry.counter(
                "thanos_shipper_corrupted_blocks_total",
                "Total number of corrupted blocks",
            ),
            upload_compacted_done: registry.gauge(
                "thanos_shipper_upload_compacted_done",
                "If 1 it means shipper uploaded all compacted blocks from the filesystem.",
            ),
            unshipped_blocks: registry.gauge(
                "sabre_sidecar_unshipped_blocks",
                "Blocks that are still to be shipped",
            ),
            unshipped_deletion_seconds: registry.gauge_f64(
                "sabre_sidecar_unshipped_deletion_timestamp_seconds",
                "When Prometheus may delete the oldest block that is not shipped; 0 when none waits or it is not known",
            ),
            lost_blocks: registry.counters(
                "sabre_sidecar_lost_blocks_total",
                "Blocks that are gone from the data directory and were never shipped",
                ["reason"],
            ),
            lost_samples: registry.counters(
                "sabre_sidecar_lost_samples_total",
                "Samples of blocks that are gone from the data directory and were never shipped",
                ["reason"],
            ),
            foreign_blocks: registry.gauge(
                "sabre_sidecar_foreign_blocks",
                "Blocks of another Prometheus for the same time under the same external labels, as of the last search",
            ),
            directory_taken: registry.gauge(
                "sabre_sidecar_directory_taken",
                "1 while another sidecar ships from the data directory and this one does not",
            ),
            reads_in_flight: registry.gauge(
                "sabre_sidecar_remote_reads_in_flight",
                "Remote reads being answered by Prometheus",
            ),
            reads_waiting: registry.gauge(
                "sabre_sidecar_remote_reads_waiting",
                "Remote reads that wait for their turn",
            ),
            label_calls_in_flight: registry.gauge(
                "sabre_sidecar_label_calls_in_flight",
                "Questions for labels, or for series without chunks, being answered by Prometheus",
            ),
            label_calls_waiting: registry.gauge(
                "sabre_sidecar_label_calls_waiting",
                "Questions for labels, or for series without chunks, that wait for their turn",
            ),
        };
        for reason in ["deleted", "compacted"] {
            metrics.lost_blocks.with([reason]);
            metrics.lost_samples.with([reason]);
        }
        for reason in ["series", "chunks"] {
            metrics.selects_dropped.with([reason]);
        }
        metrics
    }
}
