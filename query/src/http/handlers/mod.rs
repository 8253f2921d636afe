//! The addresses below `/api/v1`.

mod labels;
mod parse;
mod peers;
mod query;
mod series;
mod status;
mod stores;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    routing::{MethodRouter, get},
};
use sabre_runtime::http_server::HttpMetrics;

use super::HttpApi;

/// All of them, counted under Thanos' names.
pub(super) fn routes(api: &HttpApi, metrics: &HttpMetrics) -> Router {
    let add = |all: Router, handler: &'static str, path: &str, methods: MethodRouter<HttpApi>| {
        let one = Router::new().route(path, methods).with_state(api.clone());
        all.merge(metrics.instrument(handler, one))
    };
    let mut all = Router::new();
    for (handler, path, methods) in [
        ("query", "/query", both(query::instant)),
        ("query_range", "/query_range", both(query::range)),
        ("series", "/series", both(series::series)),
        ("label_names", "/labels", both(labels::names)),
        ("label_values", "/label/{name}/values", get(labels::values)),
        ("stores", "/stores", get(stores::stores)),
        ("rules", "/rules", get(peers::rules)),
        ("alerts", "/alerts", get(peers::alerts)),
        ("targets", "/targets", get(peers::targets)),
        ("metadata", "/metadata", get(peers::metadata)),
        ("exemplars", "/query_exemplars", both(peers::exemplars)),
        ("status_tsdb", "/status/tsdb", get(peers::statistics)),
        ("format_query", "/format_query", both(parse::format)),
        ("parse_query", "/parse_query", both(parse::parse)),
        ("status_flags", "/status/flags", get(status::flags)),
        ("status_runtime", "/status/runtimeinfo", get(status::runtime)),
        ("status_build", "/status/buildinfo", get(status::build)),
        ("status_config", "/status/config", get(status::config)),
    ] {
        all = add(all, handler, path, methods);
    }
    // The reader of forms has a limit of its own.
    all.layer(DefaultBodyLimit::disable())
}

/// Under `GET` and `POST`: long queries do not fit into an address.
fn both<H, T>(handler: H) -> MethodRouter<HttpApi>
where
    H: Handler<T, HttpApi> + Clone,
    T: 'static,
{
    get(handler.clone()).post(handler)
}
