//! The time partition of a store: `--min-time` and `--max-time`.

use sabre_model::time::TimeOrDuration;
use sabre_tsdb::meta::BlockMeta;

/// A range of time that may move with the clock.
#[derive(Debug, Clone)]
pub struct TimePartition {
    /// Its begin.
    pub min_time: TimeOrDuration,
    /// Its end.
    pub max_time: TimeOrDuration,
}

impl TimePartition {
    /// Begin and end as of now, in milliseconds since the epoch.
    pub fn resolve(&self, now_ms: i64) -> (i64, i64) {
        (self.min_time.resolve(now_ms), self.max_time.resolve(now_ms))
    }
}

/// Whether a block belongs to the closed range `min_ms..=max_ms`.
///
/// The end of a block counts as part of it here, unlike everywhere else: so Thanos does it.
pub(super) fn overlaps(meta: &BlockMeta, min_ms: i64, max_ms: i64) -> bool {
    meta.max_time >= min_ms && meta.min_time <= max_ms
}
