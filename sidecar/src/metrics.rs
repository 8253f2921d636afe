//! The sidecar's metrics, under Thanos' names.

use sabre_runtime::metrics::{Counter, Gauge, Histogram, Registry};

/// Handles; cheap to clone.
#[derive(Clone, Debug)]
pub struct SidecarMetrics {
    /// 1 while Prometheus answers.
    pub prometheus_up: Gauge,
    /// Frames of a streamed remote read answer.
    pub received_frames: Histogram,
    /// Times the data directory was compared with the bucket.
    pub dir_syncs: Counter,
    /// Of those, how many did not ship all they should.
    pub dir_sync_failures: Counter,
    /// Blocks shipped.
    pub uploads: Counter,
    /// Blocks whose shipping failed.
    pub upload_failures: Counter,
    /// Local blocks whose meta.json could not be read.
    pub corrupted_blocks: Counter,
    /// 1 once all compacted blocks are in the bucket.
    pub upload_compacted_done: Gauge,
}

impl SidecarMetrics {
    /// Registers all of them.
    pub fn new(registry: &Registry) -> SidecarMetrics {
        let frames = [10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10_000.0];
        SidecarMetrics {
            prometheus_up: registry.gauge(
                "thanos_sidecar_prometheus_up",
                "Boolean indicator whether the sidecar can reach its Prometheus peer.",
            ),
            received_frames: registry.histogram(
                "prometheus_store_received_frames",
                "Number of frames received per streamed response.",
                &frames,
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
            corrupted_blocks: registry.counter(
                "thanos_shipper_corrupted_blocks_total",
                "Total number of corrupted blocks",
            ),
            upload_compacted_done: registry.gauge(
                "thanos_shipper_upload_compacted_done",
                "If 1 it means shipper uploaded all compacted blocks from the filesystem.",
            ),
        }
    }
}
