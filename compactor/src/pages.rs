//! The status over HTTP: JSON at `/api/v1/status/compactor`, a small page at `/`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header::CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;

use crate::compactor::Compactor;
use crate::quarantine::Quarantine;
use crate::status::{LeftAlone, OverlapStatus, QuarantinedStatus, Status, UnclearStatus};

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
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], compactor.status_json()).into_response()
}

impl Compactor {
    /// What the page and programs are shown.
    pub(crate) fn status_json(&self) -> String {
        serde_json::json!({ "status": "success", "data": self.status() }).to_string()
    }

    /// Everything there is to show.
    pub(crate) fn status(&self) -> Status {
        let mut blocks = self.with_quarantine(Quarantine::blocks);
        let quarantined = self.with_quarantine(|quarantine| {
            let all = quarantine.iter().map(|(block, work, found)| QuarantinedStatus {
                block: block.to_string(),
                work,
                found: found.clone(),
            });
            all.collect()
        });
        let mut unclear = Vec::new();
        for (block, found) in self.unclear() {
            blocks.insert(block);
            let block = block.to_string();
            unclear.push(UnclearStatus { block, found });
        }
        let mut overlapping = Vec::new();
        let overlaps = self.overlaps.lock().clone();
        for (group, overlap) in overlaps {
            blocks.extend(&overlap);
            overlapping.push(OverlapStatus {
                group,
                blocks: overlap.iter().map(ToString::to_string).collect(),
            });
        }
        let left = LeftAlone {
            quarantined,
            unclear,
            overlapping,
            blocks,
            halted: self.is_halted(),
            trouble: self.trouble(),
        };
        self.board.status(left, self.now_ms())
    }
}
