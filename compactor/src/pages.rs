//! The status over HTTP: JSON at `/api/v1/status/compactor`, a small page at `/`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::compactor::Compactor;
use crate::status::{QuarantinedStatus, Status};

/// The page; it fetches the JSON and shows it.
const PAGE: &str = include_str!("status.html");

/// The routes, below `prefix` (empty, or with a leading and without a trailing slash).
pub(crate) fn routes(compactor: Arc<Compactor>, prefix: &str) -> Router {
    let pages = Router::new()
        .route("/blocks", get(page))
        .route("/loaded", get(page))
        .route("/api/v1/status/compactor", get(status))
        .with_state(compactor);
    if prefix.is_empty() {
        return pages.route("/", get(|| async { Redirect::temporary("/blocks") }));
    }
    let home = format!("{prefix}/blocks");
    Router::new()
        .nest(prefix, pages)
        .route("/", get(|| async move { Redirect::temporary(&home) }))
}

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

async fn status(State(compactor): State<Arc<Compactor>>) -> Response {
    let status: Status = compactor.status();
    Json(serde_json::json!({ "status": "success", "data": status })).into_response()
}

impl Compactor {
    /// Everything there is to show.
    pub(crate) fn status(&self) -> Status {
        let quarantined = self.with_quarantine(|quarantine| {
            let all = quarantine.iter().map(|(block, work, found)| QuarantinedStatus {
                block: block.to_string(),
                work,
                found: found.clone(),
            });
            all.collect()
        });
        self.board.status(quarantined, self.now_ms())
    }
}
