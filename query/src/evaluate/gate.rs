//! How many selects of a query run at a time, and what is told of it.

use std::sync::Arc;
use std::time::Instant;

use sabre_runtime::metrics::{Counter, Gauge, Histogram, InFlight, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most places that are told apart.
const MAX_PLACES: usize = 1000;

/// Buckets of the time selects wait for a place, in seconds.
const WAIT_BUCKETS: [f64; 13] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 90.0, 120.0,
];

/// Figures of the selects of all queries, under Thanos' names.
#[derive(Clone, Debug)]
pub(super) struct SelectMetrics {
    in_flight: Gauge,
    total: Counter,
    waits: Histogram,
}

/// The places for the selects of one query.
#[derive(Clone, Debug)]
pub(super) struct SelectGate {
    places: Arc<Semaphore>,
    metrics: Option<SelectMetrics>,
}

/// A place that is given back on drop.
#[derive(Debug)]
pub(super) struct SelectPlace {
    // It goes before the permit does: no more are told of than may run.
    _in_flight: Option<InFlight>,
    _permit: OwnedSemaphorePermit,
}

impl SelectMetrics {
    /// Tells that each query may run so many selects at a time.
    pub(super) fn register(max_concurrent: usize, registry: &Registry) -> SelectMetrics {
        let max = registry.gauge(
            "thanos_query_concurrent_selects_gate_selects_max",
            "Most selects of a query that may run at once",
        );
        max.set(i64::try_from(max_concurrent).unwrap_or(i64::MAX));
        SelectMetrics {
            in_flight: registry.gauge(
                "thanos_query_concurrent_selects_gate_selects_in_flight",
                "Selects that run",
            ),
            total: registry.counter(
                "thanos_query_concurrent_selects_gate_selects_total",
                "Selects that ran",
            ),
            waits: registry.histogram(
                "thanos_query_concurrent_selects_gate_duration_seconds",
                "How long selects waited for their turn",
                &WAIT_BUCKETS,
            ),
        }
    }
}

impl SelectGate {
    pub(super) fn new(max_concurrent: usize, metrics: Option<SelectMetrics>) -> SelectGate {
        SelectGate {
            places: Arc::new(Semaphore::new(max_concurrent.clamp(1, MAX_PLACES))),
            metrics,
        }
    }

    /// Waits for a place; `None` if the query is over.
    pub(super) async fn enter(&self) -> Option<SelectPlace> {
        let start = Instant::now();
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(self.place(permit, start))
    }

    /// A place that is free now.
    pub(super) fn try_enter(&self) -> Option<SelectPlace> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(self.place(permit, Instant::now()))
    }

    /// How many places there are that are free now.
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }

    fn place(&self, permit: OwnedSemaphorePermit, start: Instant) -> SelectPlace {
        if let Some(metrics) = &self.metrics {
            metrics.waits.observe(start.elapsed().as_secs_f64());
            metrics.total.inc();
        }
        SelectPlace {
            _in_flight: self
                .metrics
                .as_ref()
                .map(|metrics| InFlight::new(&metrics.in_flight)),
            _permit: permit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_select_beyond_the_most_waits_and_all_are_counted() {
        let registry = Registry::new();
        let metrics = SelectMetrics::register(1, &registry);
        let gate = SelectGate::new(1, Some(metrics));
        let first = gate.enter().await.unwrap();
        let second = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter().await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        let told = |line: &str| {
            let text = registry.classic();
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        };
        told("thanos_query_concurrent_selects_gate_selects_max 1");
        told("thanos_query_concurrent_selects_gate_selects_in_flight 1");
        drop(first);
        assert!(second.await.unwrap());
        told("thanos_query_concurrent_selects_gate_selects_in_flight 0");
        told("thanos_query_concurrent_selects_gate_selects_total 2");
        told("thanos_query_concurrent_selects_gate_duration_seconds_count 2");
    }
}
