//! What is asked of `/debug/pprof`, with an allocator that a test made. The CPU is sampled in a process of its own.

use std::{
    io::Read as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{body::Body, extract::Request};
use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use prost::Message as _;
use tokio::sync::Mutex;
use tower::ServiceExt as _;

use super::*;
use crate::profiles::{heap::EXAMPLE, message::Profile};

/// One heap profile at a time is a rule of the process, and so of its tests.
static TURN: Mutex<()> = Mutex::const_new(());

/// An allocator that counts how often it was started and stopped.
#[derive(Debug, Default)]
struct Noted {
    starts: AtomicUsize,
    stops: AtomicUsize,
    is_broken: bool,
    /// Lines that mean nothing, so that there is more to hold.
    idle_lines: usize,
}

impl HeapSampler for Noted {
    fn start(&self) -> Result<(), String> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn dump(&self) -> Result<Vec<u8>, String> {
        match self.is_broken {
            true => Err("no memory file".to_owned()),
            false => Ok(format!("{EXAMPLE}{}", "idle\n".repeat(self.idle_lines)).into()),
        }
    }

    fn stop(&self) {
        self.stops.fetch_add(1, Ordering::SeqCst);
    }
}

impl Noted {
    fn counts(&self) -> (usize, usize) {
        (
            self.starts.load(Ordering::SeqCst),
            self.stops.load(Ordering::SeqCst),
        )
    }
}

fn noted(is_broken: bool) -> &'static Noted {
    Box::leak(Box::new(Noted {
        is_broken,
        ..Noted::default()
    }))
}

async fn answer(routes: Router, path: &str) -> Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    routes.oneshot(request).await.unwrap()
}

async fn ask(heap: Option<&'static dyn HeapSampler>, path: &str) -> (u16, Vec<u8>) {
    let response = answer(routes(heap, CancellationToken::new()), path).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, body.to_vec())
}

async fn ask_text(path: &str) -> (u16, String) {
    let (code, body) = ask(None, path).await;
    (code, String::from_utf8(body).unwrap())
}

fn unpacked(bytes: &[u8]) -> Profile {
    let mut message = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut message).unwrap();
    Profile::decode(message.as_slice()).unwrap()
}

#[tokio::test]
async fn what_only_go_has_is_refused_with_what_to_use_instead() {
    let (code, index) = ask_text("/debug/pprof/").await;
    assert_eq!(code, 200);
    assert_eq!(ask_text("/debug/pprof").await.1, index);
    for (name, _) in INSTEAD {
        let (code, text) = ask_text(&format!("/debug/pprof/{name}?seconds=5")).await;
        assert_eq!(code, 501, "{name}");
        assert!(index.contains(&format!("{name}: {text}")), "{name}");
    }
    for (name, _) in TAKEN {
        assert!(index.contains(&format!("{name}: ")), "{name}");
    }
    assert_eq!(ask_text("/debug/fgprof").await.0, 501);
    assert_eq!(
        ask_text("/debug/pprof/nonsense").await,
        (404, "unknown profile\n".to_owned())
    );
}

#[tokio::test]
async fn seconds_that_make_no_sense_are_refused() {
    for name in ["profile", "heap", "allocs"] {
        for wrong in ["0", "-1", "abc", "1.5", "301", "100000", "99999999999999999999"] {
            let (code, text) = ask_text(&format!("/debug/pprof/{name}?seconds={wrong}")).await;
            assert_eq!(code, 400, "{name} {wrong}");
            assert_eq!(text, "seconds: a whole number from 1 to 300 is wanted\n");
        }
    }
    assert_eq!(seconds(""), Ok(30));
    assert_eq!((seconds("1"), seconds("300")), (Ok(1), Ok(300)));
}

#[tokio::test]
async fn without_an_allocator_there_is_no_heap_profile() {
    for name in ["heap", "allocs"] {
        let (code, text) = ask_text(&format!("/debug/pprof/{name}?seconds=1")).await;
        assert_eq!(code, 501);
        assert!(text.contains("sabre_memory_"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_heap_profile_shows_what_the_allocator_noted_meanwhile() {
    let _turn = TURN.lock().await;
    for (path, seconds, first) in [
        ("/debug/pprof/heap", 30, "inuse_space"),
        ("/debug/pprof/allocs?seconds=7&debug=0&gc=1", 7, "alloc_space"),
    ] {
        let sampler = noted(false);
        let start = tokio::time::Instant::now();
        let (code, body) = ask(Some(sampler), path).await;
        assert_eq!(code, 200, "{}", String::from_utf8_lossy(&body));
        assert_eq!(start.elapsed().as_secs(), seconds);
        assert_eq!(sampler.counts(), (1, 1));
        let profile = unpacked(&body);
        let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
        assert_eq!(text(profile.default_sample_type), first);
        let kinds: Vec<&str> = profile.sample_type.iter().map(|kind| text(kind.r#type)).collect();
        assert_eq!(
            kinds,
            ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]
        );
        let values: Vec<&[i64]> = profile
            .sample
            .iter()
            .map(|sample| sample.value.as_slice())
            .collect();
        assert_eq!(values, [[3, 3164, 2, 1582], [3, 3_000_000, 0, 0]]);
        assert_eq!(profile.period, 1000);
        assert!(!profile.mapping.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn one_heap_profile_is_taken_at_a_time_and_one_that_nobody_waits_for_ends() {
    let _turn = TURN.lock().await;
    let (first, second) = (noted(false), noted(false));
    let waiting = tokio::spawn(ask(Some(first), "/debug/pprof/heap?seconds=300"));
    while first.counts() != (1, 0) {
        tokio::task::yield_now().await;
    }
    let (code, text) = ask(Some(second), "/debug/pprof/heap?seconds=1").await;
    assert_eq!(code, 503);
    assert!(String::from_utf8(text).unwrap().contains("already being taken"));
    assert_eq!(second.counts(), (0, 0));
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(first.counts(), (1, 1));
    assert_eq!(ask(Some(second), "/debug/pprof/heap?seconds=1").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_ends_a_profile() {
    let _turn = TURN.lock().await;
    let stop = CancellationToken::new();
    stop.cancel();
    let start = tokio::time::Instant::now();
    let response = answer(routes(Some(noted(false)), stop), "/debug/pprof/heap?seconds=300").await;
    assert_eq!(response.status(), 200);
    assert!(start.elapsed() < Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn an_allocator_that_fails_is_told_of_and_stopped() {
    let _turn = TURN.lock().await;
    let broken = noted(true);
    let (code, text) = ask(Some(broken), "/debug/pprof/heap?seconds=1").await;
    assert_eq!(
        (code, String::from_utf8(text).unwrap().as_str()),
        (500, "no memory file\n")
    );
    assert_eq!(broken.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_heap_profile_is_charged_to_the_budget_or_refused() {
    let _turn = TURN.lock().await;
    let path = "/debug/pprof/heap?seconds=1";
    // What is too small from the beginning, and what has no room for what came to be noted.
    for (limit_bytes, idle_lines, code) in [
        (1 << 20, 0, 503),
        (16 << 20, 0, 200),
        (16 << 20, 400_000, 503),
        (64 << 20, 400_000, 200),
    ] {
        let budget = Budget::new(limit_bytes, "--sabre.memory-budget");
        let sampler: &Noted = Box::leak(Box::new(Noted {
            idle_lines,
            ..Noted::default()
        }));
        let routes = router(Profiles {
            heap: Some(sampler),
            budget: Some(budget.clone()),
            stop: CancellationToken::new(),
        });
        let response = answer(routes, path).await;
        assert_eq!(response.status().as_u16(), code, "{limit_bytes} {idle_lines}");
        // A profile is held until it has been sent.
        assert_eq!(budget.usage().used_bytes > 0, code == 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        if code == 503 {
            let text = String::from_utf8_lossy(&body);
            assert!(
                text.contains("a heap profile") && text.contains("--sabre.memory-budget"),
                "{text}"
            );
        }
        drop(body);
        assert_eq!(budget.usage().used_bytes, 0);
        let (starts, stops) = sampler.counts();
        assert_eq!(starts, stops, "the allocator notes no more");
    }
}
