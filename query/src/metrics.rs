//! Figures of queries, under Thanos' names.

use std::{sync::Arc, time::Duration};

use sabre_runtime::metrics::{Counter, Counters, Gauge, Histograms, Registry};
use tokio::time::Instant;

use crate::{
    evaluate::{
        Answer, Engine, FailureKind, NamesAnswer, QueryFailure, QueryRequest, SeriesAnswer, SeriesRequest,
    },
    http::Queries,
};

/// Buckets of the time of the parts of queries, in seconds.
const DURATION_BUCKETS: [f64; 15] = [
    0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 90.0, 120.0,
];

/// `--query.telemetry.request-duration-seconds-quantiles`.
const STORE_BUCKETS: [f64; 9] = [0.1, 0.25, 0.75, 1.25, 1.75, 2.5, 3.0, 5.0, 10.0];

/// Upper bounds of the label `series_le`.
const SERIES_BOUNDS: [u64; 5] = [10, 100, 1_000, 10_000, 100_000];

/// Upper bounds of the label `samples_le`.
const SAMPLES_BOUNDS: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// An engine whose queries are counted.
#[derive(Clone, Debug)]
pub struct Measured {
    engine: Arc<Engine>,
    queries: Gauge,
    durations: Histograms<1>,
    failures: Counters<1>,
    samples: Counter,
    store_durations: Histograms<2>,
}

/// A query that runs; also when it is given up.
struct Running<'m> {
    measured: &'m Measured,
}

impl Measured {
    /// Counts the queries of `engine`.
    pub fn new(engine: Arc<Engine>, max_concurrent: usize, registry: &Registry) -> Self {
        let most = i64::try_from(max_concurrent).unwrap_or(i64::MAX);
        let max = registry.gauge(
            "prometheus_engine_queries_concurrent_max",
            "Most queries that may run at once",
        );
        max.set(most);
        Self {
            engine,
            queries: registry.gauge(
                "prometheus_engine_queries",
                "Queries that run or wait for their turn",
            ),
            durations: registry.histograms(
                "prometheus_engine_query_duration_seconds",
                "Time of the parts of queries",
                ["slice"],
                &DURATION_BUCKETS,
            ),
            failures: registry.counters(
                "sabre_query_failures_total",
                "Queries that ended in an error, by its type",
                ["type"],
            ),
            samples: registry.counter(
                "prometheus_engine_query_samples_total",
                "Samples that queries read",
            ),
            store_durations: registry.histograms(
                "thanos_store_api_query_duration_seconds",
                "Time of queries by how much they read",
                ["series_le", "samples_le"],
                &STORE_BUCKETS,
            ),
        }
    }

    fn note(&self, outcome: &Result<Answer, QueryFailure>, elapsed: Duration) {
        match outcome {
            Ok(answer) => {
                let cost = &answer.statistics;
                let seconds = |microseconds: u64| Duration::from_micros(microseconds).as_secs_f64();
                self.durations
                    .with(["queue_time"])
                    .observe(seconds(cost.queue_us));
                self.durations
                    .with(["inner_eval"])
                    .observe(seconds(cost.evaluation_us));
                self.samples.inc_by(cost.samples);
                let labels = [
                    bound(&SERIES_BOUNDS, cost.series),
                    bound(&SAMPLES_BOUNDS, cost.samples),
                ];
                let labels = [labels[0].as_str(), labels[1].as_str()];
                self.store_durations.with(labels).observe(elapsed.as_secs_f64());
            }
            Err(failure) => self.fail(failure.kind),
        }
    }

    fn fail(&self, kind: FailureKind) {
        self.failures.with([kind.as_str()]).inc();
    }

    fn start(&self) -> Running<'_> {
        self.queries.inc();
        Running { measured: self }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.measured.queries.dec();
    }
}

/// The smallest bound that a count keeps to.
fn bound(bounds: &[u64], count: u64) -> String {
    let bound = bounds.iter().find(|&&bound| count <= bound);
    bound.map_or_else(|| "+Inf".to_owned(), u64::to_string)
}

#[async_trait::async_trait]
impl Queries for Measured {
    async fn query(&self, request: &QueryRequest) -> Result<Answer, QueryFailure> {
        let _running = self.start();
        let started = Instant::now();
        let outcome = self.engine.query(request).await;
        self.note(&outcome, started.elapsed());
        outcome
    }

    async fn series(&self, request: &SeriesRequest) -> Result<SeriesAnswer, QueryFailure> {
        self.engine.series(request).await
    }

    async fn label_names(&self, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        self.engine.label_names(request).await
    }

    async fn label_values(&self, label: &str, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        self.engine.label_values(label, request).await
    }
}
