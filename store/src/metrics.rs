//! The metrics of the store gateway, by Thanos' names.

use std::time::Duration;

use sabre_runtime::metrics::{Counter, Counters, Gauge, GaugeF64, Histogram, Histograms, Registry};

use crate::{
    limits::LimitExceeded,
    stats::{DataStats, RequestStats},
};

/// Upper bounds of counts of blocks and series.
const COUNT_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
const RESULT_BUCKETS: [f64; 15] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];
const SIZE_BUCKETS: [f64; 15] = [
    32.0,
    256.0,
    512.0,
    1024.0,
    32.0 * 1024.0,
    256.0 * 1024.0,
    512.0 * 1024.0,
    1048576.0,
    33554432.0,
    67108864.0,
    134217728.0,
    268435456.0,
    536870912.0,
    1073741824.0,
    2147483648.0,
];
const SECONDS_BUCKETS: [f64; 11] = [0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 60.0];

/// The tenant of requests that name none.
const DEFAULT_TENANT: &str = "default-tenant";

/// Figures of a store gateway. Clones share them.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    pub(crate) blocks_loaded: Gauge,
    pub(crate) blocks_last_loaded: GaugeF64,
    pub(crate) block_loads: Counter,
    pub(crate) block_load_failures: Counter,
    pub(crate) block_load_duration: Histogram,
    pub(crate) block_drops: Counter,
    pub(crate) block_drop_failures: Counter,
    pub(crate) header_build_duration: Histogram,
    pub(crate) header_load_duration: Histogram,
    pub(crate) header_loads: Counter,
    pub(crate) header_load_failures: Counter,
    pub(crate) header_unloads: Counter,
    pub(crate) gate_duration: Histogram,
    pub(crate) gate_in_flight: Gauge,
    pub(crate) gate_waiting: Gauge,
    pub(crate) gate_max: Gauge,
    data_touched: Histograms<2>,
    data_fetched: Histograms<2>,
    data_size_touched: Histograms<2>,
    data_size_fetched: Histograms<2>,
    blocks_queried: Histograms<1>,
    result_series: Histograms<1>,
    open_duration: Histograms<1>,
    send_duration: Histograms<1>,
    series_refetches: Counters<1>,
    chunk_refetches: Counters<1>,
    queries_dropped: Counters<2>,
    fetch_durations: [Histograms<1>; 3],
    bucket_requests: Histograms<2>,
    sent_chunk_size: Histograms<1>,
    pub(crate) successions: Counters<1>,
    pub(crate) blocks_set_aside: Gauge,
    pub(crate) blocks_unopened: Gauge,
    empty_postings: Counters<1>,
    lazy_postings: Counter,
}

impl StoreMetrics {
    /// Makes the metrics, or finds them if the registry has them already.
    pub fn register(registry: &Registry) -> Self {
        let name = |short: &str| format!("thanos_bucket_store_{short}");
        let counter = |short: &str, help: &str| registry.counter(&name(short), help);
        let seconds = |short: &str, help: &str| registry.histogram(&name(short), help, &SECONDS_BUCKETS);
        let by_tenant = |short: &str, help: &str, buckets: &[f64]| {
            registry.histograms(&name(short), help, ["tenant"], buckets)
        };
        let by_data = |short: &str, help: &str, buckets: &[f64]| {
            registry.histograms(&name(short), help, ["data_type", "tenant"], buckets)
        };
        Self {
            blocks_loaded: registry.gauge(&name("blocks_loaded"), "Blocks that are served"),
            blocks_last_loaded: registry.gauge_f64(
                &name("blocks_last_loaded_timestamp_seconds"),
                "When the blocks were last brought up to date",
            ),
            block_loads: counter("block_loads_total", "Blocks that were to be loaded"),
            block_load_failures: counter("block_load_failures_total", "Blocks that could not be loaded"),
            block_load_duration: seconds("block_load_duration_seconds", "How long blocks took to load"),
            block_drops: counter("block_drops_total", "Blocks that were dropped"),
            block_drop_failures: counter(
                "block_drop_failures_total",
                "Dropped blocks whose local files could not be removed",
            ),
            header_build_duration: seconds(
                "indexheader_download_duration_seconds",
                "How long index-headers took to make from the bucket",
            ),
            header_load_duration: seconds(
                "indexheader_load_duration_seconds",
                "How long index-headers took to open",
            ),
            header_loads: counter(
                "indexheader_lazy_load_total",
                "Times that an index-header was to be opened",
            ),
            header_load_failures: counter(
                "indexheader_lazy_load_failed_total",
                "Times that an index-header could not be opened",
            ),
            header_unloads: counter(
                "indexheader_lazy_unload_total",
                "Index-headers that were closed because nobody used them",
            ),
            gate_duration: seconds(
                "series_gate_duration_seconds",
                "How long calls waited for their turn",
            ),
            gate_in_flight: registry.gauge(&name("series_gate_queries_in_flight"), "Series calls under way"),
            gate_waiting: registry.gauge(
                "sabre_store_series_gate_queries_waiting",
                "Series calls that wait for a place",
            ),
            gate_max: registry.gauge(&name("series_gate_queries_max"), "Most Series calls at once"),
            data_touched: by_data(
                "series_data_touched",
                "Items that a request asked for",
                &RESULT_BUCKETS,
            ),
            data_fetched: by_data(
                "series_data_fetched",
                "Items that a request read",
                &RESULT_BUCKETS,
            ),
            data_size_touched: by_data(
                "series_data_size_touched_bytes",
                "Bytes of the items that a request asked for",
                &SIZE_BUCKETS,
            ),
            data_size_fetched: by_data(
                "series_data_size_fetched_bytes",
                "Bytes that a request read",
                &SIZE_BUCKETS,
            ),
            blocks_queried: by_tenant(
                "series_blocks_queried",
                "Blocks that a request looked at",
                &COUNT_BUCKETS,
            ),
            result_series: by_tenant(
                "series_result_series",
                "Series that a request yielded",
                &RESULT_BUCKETS,
            ),
            open_duration: by_tenant(
                "series_get_all_duration_seconds",
                "Time until the blocks of a request were open and its postings known",
                &SECONDS_BUCKETS,
            ),
            send_duration: by_tenant(
                "series_merge_duration_seconds",
                "Time from there until the answer was sent",
                &SECONDS_BUCKETS,
            ),
            series_refetches: registry.counters(
                &name("series_refetches_total"),
                "Series that were longer than expected",
                ["tenant"],
            ),
            chunk_refetches: registry.counters(
                &name("chunk_refetches_total"),
                "Chunks that were longer than expected",
                ["tenant"],
            ),
            queries_dropped: registry.counters(
                &name("queries_dropped_total"),
                "Requests that exceeded a limit",
                ["reason", "tenant"],
            ),
            fetch_durations: [
                "postings_fetch_duration_seconds",
                "series_fetch_duration_sum_seconds",
                "chunks_fetch_duration_sum_seconds",
            ]
            .map(|short| {
                by_tenant(
                    short,
                    "Time that reads of a request took, one after the other",
                    &SECONDS_BUCKETS,
                )
            }),
            bucket_requests: registry.histograms(
                "sabre_store_request_bucket_requests",
                "Requests to the bucket that a request made",
                ["data_type", "tenant"],
                &RESULT_BUCKETS,
            ),
            sent_chunk_size: by_tenant(
                "sent_chunk_size_bytes",
                "Bytes of chunks that a request sent",
                &SIZE_BUCKETS,
            ),
            successions: registry.counters(
                "sabre_store_blocks_gone_total",
                "Blocks that were gone while a request read them: replaced by others, or lost",
                ["outcome"],
            ),
            empty_postings: registry.counters(
                &name("empty_postings_total"),
                "Blocks of a request in which no series matched",
                ["tenant"],
            ),
            lazy_postings: counter(
                "lazy_expanded_postings_total",
                "Blocks of a request of which postings lists were left out as not worth their bytes",
            ),
            blocks_unopened: registry.gauge(
                "sabre_store_blocks_unopened",
                "Blocks whose index-header could not be opened and is tried again after a while",
            ),
            blocks_set_aside: registry.gauge(
                "sabre_store_blocks_set_aside",
                "Blocks that are broken and not read for a while",
            ),
        }
    }

    /// Counts a request that exceeded a limit.
    pub(crate) fn dropped(&self, limit: &LimitExceeded) {
        self.queries_dropped.with([limit.what, DEFAULT_TENANT]).inc();
    }

    /// Notes how long the parts of a request took.
    pub(crate) fn durations(&self, open: Duration, send: Duration) {
        self.open_duration
            .with([DEFAULT_TENANT])
            .observe(open.as_secs_f64());
        self.send_duration
            .with([DEFAULT_TENANT])
            .observe(send.as_secs_f64());
    }

    /// Notes what a request looked at.
    pub(crate) fn observe(&self, blocks: usize, stats: &RequestStats) {
        let number = |count: u64| count as f64;
        self.blocks_queried.with([DEFAULT_TENANT]).observe(blocks as f64);
        self.result_series
            .with([DEFAULT_TENANT])
            .observe(number(stats.merged_series.get()));
        let kinds = [
            ("postings", &stats.postings),
            ("series", &stats.series),
            ("chunks", &stats.chunks),
        ];
        self.sent_chunk_size
            .with([DEFAULT_TENANT])
            .observe(number(stats.chunks.touched_bytes.get()));
        for (
            (
                kind,
                DataStats {
                    touched,
                    touched_bytes,
                    fetched,
                    fetched_bytes,
                    requests,
                    waited_us,
                },
            ),
            durations,
        ) in kinds.into_iter().zip(&self.fetch_durations)
        {
            durations
                .with([DEFAULT_TENANT])
                .observe(number(waited_us.get()) / 1e6);
            self.bucket_requests
                .with([kind, DEFAULT_TENANT])
                .observe(number(requests.get()));
            let labels = [kind, DEFAULT_TENANT];
            self.data_touched.with(labels).observe(number(touched.get()));
            self.data_fetched.with(labels).observe(number(fetched.get()));
            self.data_size_touched
                .with(labels)
                .observe(number(touched_bytes.get()));
            self.data_size_fetched
                .with(labels)
                .observe(number(fetched_bytes.get()));
        }
        self.empty_postings
            .with([DEFAULT_TENANT])
            .inc_by(stats.empty_postings.get());
        self.lazy_postings.inc_by(stats.lazy_postings.get());
        self.series_refetches
            .with([DEFAULT_TENANT])
            .inc_by(stats.series_refetches.get());
        self.chunk_refetches
            .with([DEFAULT_TENANT])
            .inc_by(stats.chunk_refetches.get());
    }
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self::register(&Registry::new())
    }
}
