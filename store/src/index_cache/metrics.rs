//! The metrics of the index cache, by Thanos' names.

use std::time::Instant;

use sabre_runtime::metrics::{Counters, Gauge, Gauges, Histogram, Histograms, Registry};

const SIZE_BUCKETS: [f64; 13] = [
    32.0,
    256.0,
    512.0,
    1024.0,
    32768.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
    268_435_456.0,
    536_870_912.0,
];
const SECONDS_BUCKETS: [f64; 15] = [
    0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0,
];

const TENANT: &str = "default-tenant";

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Postings,
    Expanded,
    Series,
}

/// Figures of the index cache; clones share them.
#[derive(Clone, Debug)]
pub(super) struct IndexCacheMetrics {
    requests: Counters<2>,
    hits: Counters<2>,
    stored: Histograms<2>,
    fetch: Histograms<2>,
    added: Counters<1>,
    evicted: Counters<1>,
    overflowed: Counters<1>,
    items: Gauges<1>,
    items_size: Gauges<1>,
    total_size: Gauges<1>,
    max_size: Gauge,
    max_item_size: Gauge,
}

/// Measures until it is done.
pub(super) struct Timer(Histogram, Instant);

impl IndexCacheMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let full = |short: &str| format!("thanos_store_index_cache_{short}");
        let by_tenant = ["item_type", "tenant"];
        let metrics = Self {
            requests: registry.counters(
                &full("requests_total"),
                "Items asked of the index cache",
                by_tenant,
            ),
            hits: registry.counters(&full("hits_total"), "Items found in the index cache", by_tenant),
            stored: registry.histograms(
                &full("stored_data_size_bytes"),
                "Sizes of items put into the index cache",
                by_tenant,
                &SIZE_BUCKETS,
            ),
            fetch: registry.histograms(
                &full("fetch_duration_seconds"),
                "How long the index cache took to answer",
                by_tenant,
                &SECONDS_BUCKETS,
            ),
            added: registry.counters(
                &full("items_added_total"),
                "Items added to the index cache",
                ["item_type"],
            ),
            evicted: registry.counters(
                &full("items_evicted_total"),
                "Items that had to go",
                ["item_type"],
            ),
            overflowed: registry.counters(
                &full("items_overflowed_total"),
                "Items too large for the index cache",
                ["item_type"],
            ),
            items: registry.gauges(&full("items"), "Items in the index cache", ["item_type"]),
            items_size: registry.gauges(
                &full("items_size_bytes"),
                "Bytes of items in the index cache",
                ["item_type"],
            ),
            total_size: registry.gauges(
                &full("total_size_bytes"),
                "Bytes of items in the index cache with what they take besides",
                ["item_type"],
            ),
            max_size: registry.gauge(&full("max_size_bytes"), "Most bytes of the index cache"),
            max_item_size: registry.gauge(
                &full("max_item_size_bytes"),
                "Most bytes of an item of the index cache",
            ),
        };
        for item in [Item::Postings, Item::Expanded, Item::Series] {
            metrics.requests.with([item.label(), TENANT]);
            metrics.hits.with([item.label(), TENANT]);
            metrics.added.with([item.label()]);
            metrics.evicted.with([item.label()]);
            metrics.overflowed.with([item.label()]);
        }
        metrics
    }

    pub(super) fn sizes(&self, max_bytes: u64, max_item_bytes: u64) {
        self.max_size.set(signed(max_bytes));
        self.max_item_size.set(signed(max_item_bytes));
    }

    pub(super) fn asked(&self, item: Item, items: usize, hits: usize) {
        self.requests.with([item.label(), TENANT]).inc_by(items as u64);
        self.hits.with([item.label(), TENANT]).inc_by(hits as u64);
    }

    pub(super) fn stored(&self, item: Item, bytes: usize) {
        self.stored.with([item.label(), TENANT]).observe(bytes as f64);
    }

    pub(super) fn timer(&self, item: Item) -> Timer {
        Timer(self.fetch.with([item.label(), TENANT]), Instant::now())
    }

    pub(super) fn added(&self, item: Item, value_bytes: u64, all_bytes: u64) {
        self.added.with([item.label()]).inc();
        self.items.with([item.label()]).inc();
        self.items_size.with([item.label()]).inc_by(signed(value_bytes));
        self.total_size.with([item.label()]).inc_by(signed(all_bytes));
    }

    pub(super) fn removed(&self, item: Item, value_bytes: u64, all_bytes: u64) {
        self.items.with([item.label()]).dec();
        self.items_size.with([item.label()]).dec_by(signed(value_bytes));
        self.total_size.with([item.label()]).dec_by(signed(all_bytes));
    }

    pub(super) fn evicted(&self, item: Item) {
        self.evicted.with([item.label()]).inc();
    }

    pub(super) fn overflowed(&self, item: Item) {
        self.overflowed.with([item.label()]).inc();
    }
}

impl Timer {
    pub(super) fn done(self) {
        let Self(histogram, started) = self;
        histogram.observe(started.elapsed().as_secs_f64());
    }
}

impl Item {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Postings => "Postings",
            Self::Expanded => "ExpandedPostings",
            Self::Series => "Series",
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
