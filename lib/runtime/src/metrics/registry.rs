//! The set of metrics a process exports.

use std::{any::Any, collections::HashMap, fmt, sync::Arc};

use parking_lot::RwLock;
use prometheus_client::{collector::Collector, encoding, registry::Metric};

use super::{
    Buckets, Counter, CounterF64, Counters, Gauge, GaugeF64, Gauges, Histogram, Histograms, Labelled, text,
};

/// A set of metrics. Clones share it.
///
/// Names are given as they are exported: a counter's name ends in `_total` (it is added when it is missing).
/// Asking twice for the same name and type gives the same metric, so two buckets of one process share their counters.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    metrics: prometheus_client::registry::Registry,
    known: HashMap<String, Box<dyn Any + Send + Sync>>,
}

impl Registry {
    /// Makes an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a counter.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.get_or_register(counter_name(name), help, Counter::default)
    }

    /// Makes a counter of fractions.
    pub fn counter_f64(&self, name: &str, help: &str) -> CounterF64 {
        self.get_or_register(counter_name(name), help, CounterF64::default)
    }

    /// Makes counters that differ in label values.
    pub fn counters<const N: usize>(&self, name: &str, help: &str, labels: [&'static str; N]) -> Counters<N> {
        self.get_or_register(counter_name(name), help, || {
            Labelled::new(labels, Counter::default as fn() -> _)
        })
    }

    /// Makes a gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.get_or_register(name, help, Gauge::default)
    }

    /// Makes a gauge of fractions.
    pub fn gauge_f64(&self, name: &str, help: &str) -> GaugeF64 {
        self.get_or_register(name, help, GaugeF64::default)
    }

    /// Makes gauges that differ in label values.
    pub fn gauges<const N: usize>(&self, name: &str, help: &str, labels: [&'static str; N]) -> Gauges<N> {
        self.get_or_register(name, help, || Labelled::new(labels, Gauge::default as fn() -> _))
    }

    /// Makes a histogram with these upper bounds; `+Inf` is added.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.get_or_register(name, help, || Buckets::new(bounds).histogram())
    }

    /// Makes histograms that differ in label values, with the same upper bounds.
    pub fn histograms<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        bounds: &[f64],
    ) -> Histograms<N> {
        self.get_or_register(name, help, || Labelled::new(labels, Buckets::new(bounds)))
    }

    /// Makes a metric of any type of `prometheus_client`; counters are named without `_total` here.
    ///
    /// A name that is taken by another type is logged, and the new metric stays unexported.
    pub fn get_or_register<M>(&self, name: &str, help: &str, make: impl FnOnce() -> M) -> M
    where
        M: Metric + Clone,
    {
        let mut inner = self.inner.write();
        if let Some(known) = inner.known.get(name) {
            return match known.downcast_ref::<M>() {
                Some(metric) => metric.clone(),
                None => {
                    tracing::error!(
                        name,
                        "two metrics of different types have this name, one is not exported"
                    );
                    make()
                }
            };
        }
        let metric = make();
        inner
            .metrics
            .register(name, help.trim_end_matches('.'), metric.clone());
        inner.known.insert(name.to_owned(), Box::new(metric.clone()));
        metric
    }

    /// Adds a metric that is made once, such as an `Info`; a second one of the same name is not added.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        let mut inner = self.inner.write();
        if inner.known.insert(name.to_owned(), Box::new(())).is_none() {
            inner.metrics.register(name, help.trim_end_matches('.'), metric);
        }
    }

    /// Adds figures that are gathered at every scrape. A second collector of the same `name` is not added.
    pub fn collector(&self, name: &str, collector: Box<dyn Collector>) {
        let mut inner = self.inner.write();
        if inner.known.insert(name.to_owned(), Box::new(())).is_none() {
            inner.metrics.register_collector(collector);
        }
    }

    /// Writes everything as OpenMetrics text 1.0.0.
    pub fn openmetrics(&self) -> String {
        let mut text = String::new();
        let outcome = encoding::text::encode(&mut text, &self.inner.read().metrics);
        if outcome.is_err() {
            tracing::error!("a metric could not be written, the page of metrics is incomplete");
        }
        text
    }

    /// Writes everything in the classic text format 0.0.4.
    pub fn classic(&self) -> String {
        text::to_classic(&self.openmetrics())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Registry")
            .field("metrics", &self.inner.read().known.len())
            .finish()
    }
}

/// `prometheus_client` appends `_total` itself.
fn counter_name(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_metric() {
        let registry = Registry::new();
        registry.counters("a_total", "A.", ["x"]).with(["1"]).inc();
        registry.counters("a_total", "A", ["x"]).with(["1"]).inc();
        assert_eq!(
            registry.openmetrics(),
            "# HELP a A.\n# TYPE a counter\na_total{x=\"1\"} 2\n# EOF\n"
        );
    }

    #[test]
    fn a_name_taken_by_another_type_is_exported_once() {
        let registry = Registry::new();
        registry.gauge("a", "A").set(1);
        registry.gauge_f64("a", "A").set(0.5);
        assert_eq!(
            registry.openmetrics(),
            "# HELP a A.\n# TYPE a gauge\na 1\n# EOF\n"
        );
    }

    #[test]
    fn labels_can_be_forgotten() {
        let registry = Registry::new();
        let gauges = registry.gauges("a", "A", ["x", "y"]);
        gauges.with(["1", "2"]).set(3);
        gauges.with(["1", "3"]).set(4);
        gauges.remove(["1", "2"]);
        assert!(registry.openmetrics().contains("\na{x=\"1\",y=\"3\"} 4\n"));
        gauges.clear();
        assert_eq!(registry.openmetrics(), "# EOF\n");
    }

    #[test]
    fn label_values_are_escaped() {
        let registry = Registry::new();
        registry.gauges("a", "A", ["x"]).with(["q\"b\\n\n"]).set(1);
        assert!(registry.classic().contains(r#"a{x="q\"b\\n\n"} 1"#));
    }
}
