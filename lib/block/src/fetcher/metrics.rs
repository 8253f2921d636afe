//! The metrics of syncs, by Thanos' names.

use sabre_runtime::metrics::{Counter, Gauges, Histogram, Registry};

use super::view::View;
use crate::filter::State;

/// Upper bounds of the duration of a sync, in seconds.
const SYNC_BUCKETS: [f64; 7] = [0.01, 1.0, 10.0, 100.0, 300.0, 600.0, 1000.0];
/// What Thanos' compactor counts as changed in a meta.
const REPLICA_LABEL_REMOVED: &str = "replica-label-removed";

/// Figures of a [`MetaFetcher`](super::MetaFetcher).
#[derive(Debug, Clone)]
pub struct FetcherMetrics {
    pub(super) base_syncs: Counter,
    pub(super) cache_busts: Counter,
    pub(super) syncs: Counter,
    pub(super) sync_failures: Counter,
    pub(super) sync_duration: Histogram,
    synced: Gauges<1>,
    incomplete: Gauges<1>,
}

impl FetcherMetrics {
    /// Makes the metrics, or finds them if the registry has them already.
    pub fn register(registry: &Registry) -> Self {
        let name = |name: &str| format!("thanos_blocks_meta_{name}");
        let counter = |short: &str, help: &str| registry.counter(&name(short), help);
        let modified = registry.gauges(
            &name("modified"),
            "Block metas that were changed in memory",
            ["modified"],
        );
        modified.with([REPLICA_LABEL_REMOVED]).set(0);
        let metrics = Self {
            base_syncs: counter(
                "base_syncs_total",
                "Times the blocks of the bucket were looked up",
            ),
            cache_busts: counter("base_cache_busts_total", "Cached metas that were found outdated"),
            syncs: counter("syncs_total", "Syncs of block metas, failed ones among them"),
            sync_failures: counter("sync_failures_total", "Syncs of block metas that failed"),
            sync_duration: registry.histogram(
                &name("sync_duration_seconds"),
                "How long syncs of block metas took",
                &SYNC_BUCKETS,
            ),
            synced: registry.gauges(
                &name("synced"),
                "Blocks by what the last sync made of them",
                ["state"],
            ),
            incomplete: registry.gauges(
                "sabre_blocks_incomplete",
                "Blocks whose files are not those their meta.json names",
                ["reason"],
            ),
        };
        metrics.show(&View::default());
        metrics
    }

    /// Shows how many blocks are in which state.
    pub(super) fn show(&self, view: &View) {
        let states = view.dropped.values().copied();
        let states: Vec<_> = states
            .chain(view.partial.values().map(|partial| partial.state()))
            .collect();
        for state in State::ALL {
            let blocks = match state {
                State::Loaded => view.metas.len(),
                State::Failed => view.failures.len(),
                // These count twice: the mark keeps them out of compaction, and not out of the view.
                State::MarkedForNoCompact => {
                    let marks = &view.marks.no_compact;
                    view.metas
                        .iter()
                        .filter(|meta| marks.contains_key(&meta.ulid))
                        .count()
                }
                _ => states.iter().filter(|other| **other == state).count(),
            };
            self.synced.with([state.as_str()]).set(gauge(blocks));
        }
        let servable = view
            .incomplete
            .values()
            .filter(|block| block.is_servable())
            .count();
        self.incomplete.with(["size-mismatch"]).set(gauge(servable));
        self.incomplete
            .with(["missing-file"])
            .set(gauge(view.incomplete.len().saturating_sub(servable)));
    }
}

impl Default for FetcherMetrics {
    fn default() -> Self {
        Self::register(&Registry::new())
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
