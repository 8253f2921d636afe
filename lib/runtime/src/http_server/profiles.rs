//! `/debug/pprof`: what of Go's profiles there is, which is none, and what to use instead.
//!
//! A sampler of the CPU inside the process has to unwind stacks in a signal handler, and a heap profile needs another
//! build of the allocator; both are had from outside with tools that every distribution has.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};

/// Names of Go's profiles, and what to use instead.
const INSTEAD: &[(&str, &str)] = &[
    (
        "profile",
        "no CPU profiles are taken from within: use 'perf record --call-graph dwarf -p PID'",
    ),
    (
        "heap",
        "no heap profiles are taken: sabre_memory_ metrics say what buffers hold, and 'perf record -e page-faults --call-graph dwarf -p PID' who touches new memory",
    ),
    (
        "allocs",
        "no heap profiles are taken: sabre_memory_ metrics say what buffers hold, and 'perf record -e page-faults --call-graph dwarf -p PID' who touches new memory",
    ),
    (
        "trace",
        "there is no Go runtime to trace: --tracing.config exports spans of requests, 'perf trace -p PID' shows system calls",
    ),
    (
        "cmdline",
        "the command line may hold secrets: /api/v1/status/flags of a querier shows flags without them",
    ),
    ("symbol", "there are no profiles whose symbols could be looked up"),
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

/// The routes.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/debug/pprof", get(index))
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/{name}", get(profile))
        .route("/debug/fgprof", get(async || refused("profile")))
}

async fn index() -> String {
    let mut page = "Profiles are taken from outside:\n".to_owned();
    for (name, instead) in INSTEAD {
        page.push_str(&format!("{name}: {instead}\n"));
    }
    page
}

async fn profile(Path(name): Path<String>) -> Response {
    refused(&name)
}

fn refused(name: &str) -> Response {
    match INSTEAD.iter().find(|(known, _)| *known == name) {
        Some((_, instead)) => (StatusCode::NOT_IMPLEMENTED, format!("{instead}\n")).into_response(),
        None => (StatusCode::NOT_FOUND, "unknown profile\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_profile_of_go_is_refused_with_what_to_use_instead() {
        let (code, index) = ask("/debug/pprof/").await;
        assert_eq!(code, 200);
        for (name, _) in INSTEAD {
            let (code, text) = ask(&format!("/debug/pprof/{name}?seconds=5")).await;
            assert_eq!(code, 501, "{name}");
            assert!(index.contains(&format!("{name}: {text}")), "{name}");
        }
        assert_eq!(ask("/debug/fgprof").await.0, 501);
        assert_eq!(
            ask("/debug/pprof/nonsense").await,
            (404, "unknown profile\n".to_owned())
        );
    }
}
