//! The metrics of cache clients, by Thanos' names.

use std::time::Duration;

use sabre_runtime::metrics::{Counter, Counters, Gauges, Histograms, Registry};

use crate::wire::WireError;

const SECONDS_BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 6.0, 10.0,
];
const SIZE_BUCKETS: [f64; 11] = [
    32.0,
    256.0,
    512.0,
    1024.0,
    32768.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    33_554_432.0,
    268_435_456.0,
    536_870_912.0,
];

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    GetMulti,
    Set,
}

/// Why an operation was not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    MaxItemSize,
    BufferFull,
    ServerDown,
    BreakerOpen,
}

/// Figures of one client; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct ClientMetrics {
    name: String,
    operations: Counters<2>,
    failures: Counters<3>,
    skipped: Counters<3>,
    duration: Histograms<2>,
    data_size: Histograms<2>,
    pub(crate) lookups: Counter,
    pub(crate) lookup_failures: Counter,
    results: Gauges<2>,
}

impl ClientMetrics {
    /// `system` is `memcached` or `redis`, `name` what the client is for.
    pub(crate) fn register(registry: &Registry, system: &str, name: &str) -> Self {
        let full = |short: &str| format!("thanos_{system}_{short}");
        let metrics = Self {
            name: name.to_owned(),
            operations: registry.counters(
                &full("operations_total"),
                "Operations on the cache",
                ["name", "operation"],
            ),
            failures: registry.counters(
                &full("operation_failures_total"),
                "Operations on the cache that failed",
                ["name", "operation", "reason"],
            ),
            skipped: registry.counters(
                &full("operation_skipped_total"),
                "Operations on the cache that were not tried",
                ["name", "operation", "reason"],
            ),
            duration: registry.histograms(
                &full("operation_duration_seconds"),
                "How long operations on the cache took",
                ["name", "operation"],
                &SECONDS_BUCKETS,
            ),
            data_size: registry.histograms(
                &full("operation_data_size_bytes"),
                "Bytes that were written to and read from the cache",
                ["name", "operation"],
                &SIZE_BUCKETS,
            ),
            lookups: registry
                .counters(&full("dns_lookups_total"), "Look-ups of server names", ["name"])
                .with([name]),
            lookup_failures: registry
                .counters(
                    &full("dns_failures_total"),
                    "Look-ups of server names that failed",
                    ["name"],
                )
                .with([name]),
            results: registry.gauges(
                &full("dns_provider_results"),
                "Servers that each address stands for",
                ["name", "addr"],
            ),
        };
        for op in [Op::GetMulti, Op::Set] {
            metrics.operations.with([name, op.label()]);
        }
        metrics
    }

    pub(crate) fn begun(&self, op: Op) {
        self.operations.with([&self.name, op.label()]).inc();
    }

    pub(crate) fn succeeded(&self, op: Op, took: Duration, bytes: u64) {
        self.duration
            .with([&self.name, op.label()])
            .observe(took.as_secs_f64());
        self.data_size
            .with([&self.name, op.label()])
            .observe(bytes as f64);
    }

    pub(crate) fn failed(&self, op: Op, error: &WireError) {
        self.failures.with([&self.name, op.label(), error.reason()]).inc();
    }

    pub(crate) fn skipped(&self, op: Op, why: Skip) {
        self.skipped.with([&self.name, op.label(), why.label()]).inc();
    }

    /// How many servers an address stands for.
    pub(crate) fn resolved(&self, address: &str, servers: usize) {
        let servers = i64::try_from(servers).unwrap_or(i64::MAX);
        self.results.with([&self.name, address]).set(servers);
    }
}

impl Op {
    fn label(self) -> &'static str {
        match self {
            Self::GetMulti => "getmulti",
            Self::Set => "set",
        }
    }
}

impl Skip {
    fn label(self) -> &'static str {
        match self {
            Self::MaxItemSize => "max-item-size",
            Self::BufferFull => "async-buffer-full",
            Self::ServerDown => "server-down",
            Self::BreakerOpen => "circuit-breaker-open",
        }
    }
}
