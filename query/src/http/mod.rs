//! Prometheus' HTTP API with Thanos' additions, and the web page.
//!
//! | file | holds |
//! |---|---|
//! | `form`, `values`, `asked`, `tenant` | from parameters and headers to what is asked |
//! | `handlers` | one file for each group of addresses |
//! | `peers` | what is asked of all peers but series: rules, targets, metadata, exemplars, statistics; merged |
//! | `json`, `encoding`, `reply` | from results to bytes, piece by piece |
//! | `failure` | errors, their types and status codes |
//! | `slow_log` | which queries took long |
//!
//! A request lives as long as its future: when the client goes away the server drops it, and with it whatever is under
//! way in the evaluator and at peers.

mod asked;
mod encoding;
pub(crate) mod failure;
mod form;
mod handlers;
mod json;
mod options;
pub(crate) mod peers;
mod queries;
mod reply;
mod slow_log;
mod tenant;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use axum::{Router, middleware};
use sabre_runtime::{
    clock,
    http_server::{HttpMetrics, TenantOf, Tenants, cors},
    metrics::{Histogram, Registry},
};

use crate::{endpoints::Pool, page};
pub use options::{ApiOptions, CertificateField, PartialResponse, TenancyOptions};
pub use peers::PeerLimits;
pub use queries::Queries;

/// Lengths of range queries, from a quarter of an hour on.
const TIMESPAN_BUCKETS_SECONDS: [f64; 12] = [
    900.0,
    1800.0,
    3600.0,
    7200.0,
    14400.0,
    28800.0,
    57600.0,
    115_200.0,
    230_400.0,
    460_800.0,
    921_600.0,
    1_843_200.0,
];

/// The API, ready to be served.
#[derive(Clone, Debug)]
pub struct HttpApi {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queries: Arc<dyn Queries>,
    pool: Pool,
    options: ApiOptions,
    peers: PeerLimits,
    start_ms: i64,
    timespans: Histogram,
}

impl HttpApi {
    /// Makes the API of an evaluator and of the peers behind it.
    pub fn new(queries: Arc<dyn Queries>, pool: Pool, options: ApiOptions, registry: &Registry) -> Self {
        let timespans = registry.histogram(
            "thanos_query_range_requested_timespan_duration_seconds",
            "Lengths of the ranges of range queries",
            &TIMESPAN_BUCKETS_SECONDS,
        );
        let inner = Inner {
            queries,
            pool,
            peers: PeerLimits::of(&options, registry),
            options,
            start_ms: clock::now_ms(),
            timespans,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The metrics of its requests, with who asks.
    pub fn metrics(&self, registry: &Registry) -> HttpMetrics {
        let options = self.inner.options.tenancy.clone();
        let default = options.default_tenant.clone();
        let of: TenantOf = Arc::new(move |headers, extensions| {
            let tenant = tenant::Tenant::of(headers, extensions, &options);
            tenant.ok().map(|tenant| tenant.0)
        });
        HttpMetrics::of_tenants(registry, Tenants::new(of, default))
    }

    /// All addresses, below the route prefix.
    pub fn routes(&self, metrics: &HttpMetrics) -> Router {
        let api = handlers::routes(self, metrics);
        let api = match self.inner.options.disable_cors {
            true => api.layer(middleware::from_fn(cors::deny)),
            false => api.layer(middleware::from_fn(cors::allow)),
        };
        let prefix = &self.inner.options.route_prefix;
        Router::new()
            .nest(&format!("{prefix}/api/v1"), api)
            .merge(page::routes(prefix, metrics))
    }
}
