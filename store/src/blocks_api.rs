//! `/api/v1/blocks`: the blocks that the store knows, as JSON for Thanos' block viewer.

mod json;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::StreamExt;
use parking_lot::RwLock;
use sabre_block::fetcher::{SyncError, View};
use sabre_runtime::{
    budget::{Budget, BudgetError},
    flags::{FlagError, Flags},
    http_server::{HttpMetrics, cors},
};
use sabre_tsdb::meta::BlockMeta;
use serde::Deserialize;

use self::json::Pages;

/// How long an answer waits for the memory of its next piece.
const PATIENCE: Duration = Duration::from_secs(10);

/// The flags of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlocksApiOptions {
    /// The external label by which the viewer groups blocks.
    label: String,
    /// Pages of other origins may not ask.
    disable_cors: bool,
}

/// Metas, sorted by block.
type Metas = Arc<[Arc<BlockMeta>]>;

/// What the last looks at the bucket found.
#[derive(Debug, Default)]
pub(crate) struct BlockLists(RwLock<Lists>);

#[derive(Clone, Debug, Default)]
struct Lists {
    /// Those that passed all filters.
    loaded: Metas,
    /// All that have a usable meta.json.
    global: Metas,
    /// When the bucket was looked at last, whatever came of it; `None` before the first time.
    refreshed_ms: Option<i64>,
    /// Why the lists are not those of the last look.
    error: Option<String>,
}

/// A list, as it is answered.
#[derive(Clone, Debug, Default)]
struct BlockList {
    label: String,
    blocks: Metas,
    refreshed_ms: Option<i64>,
    error: Option<String>,
}

#[derive(Clone, Debug)]
struct Api {
    lists: Arc<BlockLists>,
    options: BlocksApiOptions,
    budget: Budget,
}

#[derive(Debug, Deserialize)]
struct Asked {
    view: Option<String>,
}

impl BlocksApiOptions {
    /// Reads the flags; `None` if they want no API.
    pub(crate) fn from_flags(flags: &Flags) -> Result<Option<Self>, FlagError> {
        let options = Self {
            label: flags.text("bucket-web-label")?.to_owned(),
            disable_cors: flags.bool("web.disable-cors")?,
        };
        Ok((!flags.bool("web.disable")?).then_some(options))
    }
}

impl BlockLists {
    /// Takes what a look at the bucket found. A block that could not be looked at stays as it was.
    pub(crate) fn found(&self, view: &View, now_ms: i64) {
        let mut lists = self.0.write();
        let kept = |now: &[Arc<BlockMeta>], before: &[Arc<BlockMeta>]| -> Metas {
            let known: BTreeSet<_> = now.iter().map(|meta| meta.ulid).collect();
            let is_unsure = |meta: &&Arc<BlockMeta>| {
                !known.contains(&meta.ulid) && view.failures.contains_key(&meta.ulid)
            };
            let unsure = before.iter().filter(is_unsure);
            let mut all: Vec<_> = now.iter().chain(unsure).cloned().collect();
            all.sort_by_key(|meta| meta.ulid);
            all.into()
        };
        *lists = Lists {
            loaded: kept(&view.metas, &lists.loaded),
            global: kept(&view.known, &lists.global),
            refreshed_ms: Some(now_ms),
            error: view.failures.values().next().map(|first| {
                let count = view.failures.len();
                format!("{count} blocks could not be looked at; the first: {first}")
            }),
        };
    }

    /// Notes that the bucket could not be looked at: the lists stay as they were.
    pub(crate) fn failed(&self, error: &SyncError, now_ms: i64) {
        let mut lists = self.0.write();
        lists.refreshed_ms = Some(now_ms);
        lists.error = Some(error.to_string());
    }

    fn list(&self, is_loaded: bool, label: &str) -> BlockList {
        let lists = self.0.read().clone();
        BlockList {
            label: label.to_owned(),
            blocks: if is_loaded { lists.loaded } else { lists.global },
            refreshed_ms: lists.refreshed_ms,
            error: lists.error,
        }
    }
}

/// The route.
pub(crate) fn routes(
    lists: Arc<BlockLists>,
    options: BlocksApiOptions,
    budget: &Budget,
    metrics: &HttpMetrics,
) -> Router {
    let is_closed = options.disable_cors;
    let api = Api {
        lists,
        options,
        budget: budget.child("a list of blocks"),
    };
    let route = Router::new().route("/api/v1/blocks", get(blocks)).with_state(api);
    let route = if is_closed {
        route.layer(from_fn(cors::deny))
    } else {
        route.layer(from_fn(cors::allow))
    };
    metrics.instrument("blocks", route)
}

/// The answer is written piece by piece: whoever does not read gets no more written, and holds two pieces at most.
async fn blocks(State(api): State<Api>, Query(asked): Query<Asked>) -> Response {
    let is_loaded = asked.view.as_deref() == Some("loaded");
    let list = api.lists.list(is_loaded, &api.options.label);
    let mut pages = Pages::new(list, api.budget);
    // Whether there is memory is known before the first byte is sent.
    let first = match pages.next().await {
        Ok(first) => first.unwrap_or_default(),
        Err(error) => return no_memory(&error),
    };
    let rest = futures::stream::try_unfold(pages, |mut pages| async move {
        let next = pages.next().await.inspect_err(|error| {
            tracing::warn!(%error, "a list of blocks is broken off");
        });
        Ok::<_, BudgetError>(next?.map(|page| (page, pages)))
    });
    let all = futures::stream::iter([Ok(first)]).chain(rest);
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], Body::from_stream(all)).into_response()
}

fn no_memory(error: &BudgetError) -> Response {
    let body = serde_json::json!({
        "status": "error",
        "errorType": "timeout",
        "error": error.to_string(),
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
