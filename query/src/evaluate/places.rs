//! How many queries run at a time, and what is told of it.

use std::sync::Arc;
use std::time::Instant;

use sabre_runtime::metrics::{Counter, Gauge, Histogram, InFlight, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::engine::timed_out;
use super::failure::{FailureKind, QueryFailure};

/// Buckets of the time queries wait for a place, in seconds.
const WAIT_BUCKETS: [f64; 15] = [
    0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 90.0, 120.0,
];

/// Figures of the queries that run, under Thanos' names.
#[derive(Clone, Debug)]
struct PlaceMetrics {
    in_flight: Gauge,
    total: Counter,
    waits: Histogram,
}

/// The places for queries.
#[derive(Debug)]
pub(super) struct Places {
    semaphore: Arc<Semaphore>,
    most: usize,
    metrics: Option<PlaceMetrics>,
}

/// A place that is given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    // It goes before the permit does: no more are told of than may run.
    _in_flight: Option<InFlight>,
    _permit: OwnedSemaphorePermit,
}

/// A query that waits. However that ends, it is told how long it was.
struct Waiter<'p> {
    since: Instant,
    metrics: Option<&'p PlaceMetrics>,
}

impl Places {
    pub(super) fn new(most: usize) -> Places {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Places {
            semaphore: Arc::new(Semaphore::new(most)),
            most,
            metrics: None,
        }
    }

    /// Tells of the queries that run.
    pub(super) fn tell(&mut self, registry: &Registry) {
        let max = registry.gauge(
            "thanos_query_concurrent_gate_queries_max",
            "Most queries that may run at once",
        );
        max.set(i64::try_from(self.most).unwrap_or(i64::MAX));
        self.metrics = Some(PlaceMetrics {
            in_flight: registry.gauge(
                "thanos_query_concurrent_gate_queries_in_flight",
                "Queries that run",
            ),
            total: registry.counter("thanos_query_concurrent_gate_queries_total", "Queries that ran"),
            waits: registry.histogram(
                "thanos_query_concurrent_gate_duration_seconds",
                "How long queries waited for their turn, also those that did not get it",
                &WAIT_BUCKETS,
            ),
        });
    }

    /// Queries that run now, and the most that may.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        (
            self.most.saturating_sub(self.semaphore.available_permits()),
            self.most,
        )
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// None became free in time.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Place, QueryFailure> {
        let waiter = Waiter {
            since: Instant::now(),
            metrics: self.metrics.as_ref(),
        };
        let permit = Arc::clone(&self.semaphore).acquire_owned();
        let permit = match tokio::time::timeout_at(deadline.into(), permit).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_closed)) => {
                return Err(QueryFailure::new(
                    FailureKind::Internal,
                    "the engine is shut down",
                ));
            }
            Err(_elapsed) => return Err(timed_out("query queue")),
        };
        drop(waiter);
        if let Some(metrics) = &self.metrics {
            metrics.total.inc();
        }
        Ok(Place {
            _in_flight: self
                .metrics
                .as_ref()
                .map(|metrics| InFlight::new(&metrics.in_flight)),
            _permit: permit,
        })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(metrics) = self.metrics {
            metrics.waits.observe(self.since.elapsed().as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_not_in_flight_and_their_waits_are_told() {
        let registry = Registry::new();
        let mut places = Places::new(1);
        places.tell(&registry);
        let told = |line: &str| {
            let line = format!("thanos_query_concurrent_gate_{line}");
            let text = registry.classic();
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        };
        let soon = || Instant::now() + Duration::from_millis(10);
        let first = places.enter(soon()).await.unwrap();
        let failure = places.enter(soon()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout);
        // One that is given up before its time.
        let given_up = places.enter(soon() + Duration::from_secs(600));
        assert!(tokio::time::timeout(Duration::ZERO, given_up).await.is_err());
        told("queries_max 1");
        told("queries_in_flight 1");
        told("queries_total 1");
        told("duration_seconds_count 3");
        drop(first);
        told("queries_in_flight 0");
        assert_eq!(places.in_flight(), (0, 1));
    }
}
