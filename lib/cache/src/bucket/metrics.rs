//! The metrics of a caching bucket, by Thanos' names.

use sabre_objstore::Operation;
use sabre_runtime::metrics::{Counters, Registry};

/// Figures of a caching bucket.
#[derive(Clone, Debug)]
pub(super) struct CachingMetrics {
    requests: Counters<2>,
    hits: Counters<2>,
    requested_bytes: Counters<1>,
    fetched_bytes: Counters<2>,
    refetched_bytes: Counters<2>,
}

/// What a range was read for, as in Thanos.
const CHUNKS: &str = "chunks";

/// Where bytes came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Cache,
    Bucket,
}

impl CachingMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let full = |short: &str| format!("thanos_store_bucket_cache_{short}");
        Self {
            requests: registry.counters(
                &full("operation_requests_total"),
                "Operations that may be answered by the cache",
                ["operation", "config"],
            ),
            hits: registry.counters(
                &full("operation_hits_total"),
                "Operations that the cache answered, all of them",
                ["operation", "config"],
            ),
            requested_bytes: registry.counters(
                &full("getrange_requested_bytes_total"),
                "Bytes of segments that were asked for",
                ["config"],
            ),
            fetched_bytes: registry.counters(
                &full("getrange_fetched_bytes_total"),
                "Bytes of segments that were read",
                ["origin", "config"],
            ),
            refetched_bytes: registry.counters(
                &full("getrange_refetched_bytes_total"),
                "Bytes of segments that were read although they were cached",
                ["origin", "config"],
            ),
        }
    }

    pub(super) fn requested(&self, operation: Operation) {
        self.requests.with([operation.as_str(), config(operation)]).inc();
    }

    pub(super) fn hit(&self, operation: Operation) {
        self.hits.with([operation.as_str(), config(operation)]).inc();
    }

    pub(super) fn requested_bytes(&self, bytes: u64) {
        self.requested_bytes.with([CHUNKS]).inc_by(bytes);
    }

    pub(super) fn fetched_bytes(&self, origin: Origin, bytes: u64) {
        let origin = match origin {
            Origin::Cache => "cache",
            Origin::Bucket => "bucket",
        };
        self.fetched_bytes.with([origin, CHUNKS]).inc_by(bytes);
    }

    pub(super) fn refetched_bytes(&self, bytes: u64) {
        self.refetched_bytes.with(["cache", CHUNKS]).inc_by(bytes);
    }
}

fn config(operation: Operation) -> &'static str {
    match operation {
        Operation::Iter => "blocks-iter",
        Operation::Get | Operation::Exists => "meta.jsons",
        _ => CHUNKS,
    }
}
