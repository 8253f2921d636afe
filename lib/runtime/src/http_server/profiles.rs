//! `/debug/pprof`: profiles of the CPU and of the heap as `go tool pprof` reads them, and what to use instead of those
//! that only a Go program has.

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::{
    budget::Budget,
    profiles::{
        self, Refusal, cpu,
        heap::{self, First, HeapSampler},
    },
};

/// How long a profile takes if nobody says.
const DEFAULT_SECONDS: u32 = 30;
/// How long it may take.
const MAX_SECONDS: u32 = 300;

/// Profiles that are taken, and what they show.
const TAKEN: &[(&str, &str)] = &[
    ("profile", "where the CPU spends the seconds to come"),
    (
        "heap",
        "memory that is taken in the seconds to come, and held at their end",
    ),
    ("allocs", "the same, and first what is taken, held or not"),
];

/// Names of Go's other profiles, and what to use instead.
const INSTEAD: &[(&str, &str)] = &[
    (
        "trace",
        "there is no Go runtime to trace: --tracing.config exports spans of requests, 'perf trace -p PID' shows system calls",
    ),
    (
        "cmdline",
        "the command line may hold secrets: /api/v1/status/flags of a querier shows flags without them",
    ),
    ("symbol", "profiles have their symbols in them"),
    (
        "goroutine",
        "there are no goroutines: 'gdb -p PID -batch -ex \"thread apply all bt\"' shows all threads",
    ),
    (
        "threadcreate",
        "there is no Go runtime: process_ metrics and /proc/PID/task tell of threads",
    ),
    (
        "block",
        "there is no Go runtime: 'perf trace -s -p PID' shows what threads wait for",
    ),
    (
        "mutex",
        "there is no Go runtime: 'perf trace -s -p PID' shows what threads wait for",
    ),
];

/// Without an allocator that can be asked.
const NO_HEAP: &str = "the allocator of this program takes no samples: sabre_memory_ metrics say what buffers hold, and \
                       'perf record -e page-faults --call-graph dwarf -p PID' who touches new memory";

/// What the routes need.
#[derive(Debug, Clone)]
struct Profiles {
    heap: Option<&'static dyn HeapSampler>,
    /// What heap profiles are charged to; the budget of the process if none is named.
    budget: Option<Budget>,
    /// Profiles end early when the server stops, and show what there is.
    stop: CancellationToken,
}

#[derive(Debug, Deserialize)]
struct Asked {
    seconds: Option<String>,
}

/// The routes. Profiles that are being taken end when `stop` is cancelled.
pub(super) fn routes(heap: Option<&'static dyn HeapSampler>, stop: CancellationToken) -> Router {
    let budget = None;
    router(Profiles { heap, budget, stop })
}

fn router(profiles: Profiles) -> Router {
    Router::new()
        .route("/debug/pprof", get(index))
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/{name}", get(profile))
        .route("/debug/fgprof", get(async || instead("block")))
        .with_state(profiles)
}

async fn index() -> String {
    let mut page = format!(
        "Profiles for 'go tool pprof', of {DEFAULT_SECONDS} seconds or as many as ?seconds= says, {MAX_SECONDS} at most:\n"
    );
    for (name, shows) in TAKEN {
        page.push_str(&format!("{name}: {shows}\n"));
    }
    page.push_str("\nNot taken:\n");
    for (name, instead) in INSTEAD {
        page.push_str(&format!("{name}: {instead}\n"));
    }
    page
}

async fn profile(
    State(profiles): State<Profiles>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let first = match name.as_str() {
        "profile" => None,
        "heap" => Some(First::InUse),
        "allocs" => Some(First::Allocated),
        other => return instead(other),
    };
    let seconds = match seconds(asked.seconds.as_deref().unwrap_or_default()) {
        Ok(seconds) => seconds,
        Err(problem) => return text(StatusCode::BAD_REQUEST, &problem),
    };
    let taken = match first {
        None => profiles.cpu(seconds).await,
        Some(first) => profiles.heap(seconds, first).await,
    };
    match taken {
        Ok(bytes) => file(&name, bytes),
        Err(refused) => refused,
    }
}

impl Profiles {
    async fn cpu(&self, seconds: u32) -> Result<Bytes, Response> {
        let running = cpu::Running::begin(seconds)
            .await
            .map_err(|refusal| refused(&refusal))?;
        self.wait(seconds).await;
        running.finish().await.map_err(|refusal| refused(&refusal))
    }

    async fn heap(&self, seconds: u32, first: First) -> Result<Bytes, Response> {
        let Some(sampler) = self.heap else {
            return Err(text(StatusCode::NOT_IMPLEMENTED, NO_HEAP));
        };
        let budget = self.budget.clone().unwrap_or_else(profiles::budget);
        let running = heap::Running::begin(sampler, &budget).await;
        let running = running.map_err(|refusal| refused(&refusal))?;
        let took = self.wait(seconds).await;
        let finished = running.finish(first, took).await;
        finished.map_err(|refusal| refused(&refusal))
    }

    /// Waits for the time or the end of the server, and says how long that was.
    async fn wait(&self, seconds: u32) -> Duration {
        let start = tokio::time::Instant::now();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_secs(u64::from(seconds))) => {}
        }
        start.elapsed()
    }
}

/// Reads `seconds`.
fn seconds(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        return Ok(DEFAULT_SECONDS);
    }
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    seconds.ok_or_else(|| format!("seconds: a whole number from 1 to {MAX_SECONDS} is wanted"))
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::InUse(_) | Refusal::Missing { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, &refusal.to_string())
}

fn instead(name: &str) -> Response {
    match INSTEAD.iter().find(|(known, _)| *known == name) {
        Some((_, instead)) => text(StatusCode::NOT_IMPLEMENTED, instead),
        None => text(StatusCode::NOT_FOUND, "unknown profile"),
    }
}

fn text(status: StatusCode, line: &str) -> Response {
    (status, format!("{line}\n")).into_response()
}

/// `name` is one of those above.
fn file(name: &str, bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, bytes).into_response()
}

#[cfg(test)]
mod tests;
