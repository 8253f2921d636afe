//! Metrics as values: a [`Registry`] that is passed around, no globals.
//!
//! A component makes its metrics once, from the registry it is given, and keeps the handles:
//! ```
//! use sabre_runtime::metrics::{Counters, Registry};
//!
//! struct BucketMetrics {
//!     operations: Counters<1>,
//! }
//!
//! impl BucketMetrics {
//!     fn new(registry: &Registry) -> Self {
//!         let name = "thanos_objstore_bucket_operations_total";
//!         let operations = registry.counters(name, "Operations on the bucket", ["operation"]);
//!         operations.with(["get"]); // exists at 0 from the start
//!         Self { operations }
//!     }
//! }
//! let registry = Registry::new();
//! BucketMetrics::new(&registry).operations.with(["get"]).inc();
//! assert!(registry.classic().contains("thanos_objstore_bucket_operations_total{operation=\"get\"} 1\n"));
//! ```

mod in_flight;
mod labelled;
mod process;
mod registry;
mod text;

pub use in_flight::InFlight;
pub use labelled::{Buckets, Counters, Gauges, Histograms, LabelValues, Labelled};
pub use process::BuildInfo;
pub(crate) use process::{cpu_seconds, resident_bytes};
pub use prometheus_client::metrics::histogram::Histogram;
pub use registry::Registry;
pub(crate) use text::wants_openmetrics;
pub use text::{CLASSIC_CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE};

use std::sync::atomic::AtomicU64;

/// A counter of things.
pub type Counter = prometheus_client::metrics::counter::Counter<u64, AtomicU64>;
/// A counter of seconds and other fractions.
pub type CounterF64 = prometheus_client::metrics::counter::Counter<f64, AtomicU64>;
/// A gauge of things.
pub type Gauge = prometheus_client::metrics::gauge::Gauge;
/// A gauge of seconds and other fractions.
pub type GaugeF64 = prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>;

/// Buckets of most duration histograms of Thanos' gRPC and object storage metrics, in seconds.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0,
];
