//! Profiles of the CPU, asked for over the wire. In a process of its own: the timer, and the signal that it sends, are those
//! of the whole process.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

use std::{
    hint::black_box,
    io::Read as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use flate2::read::GzDecoder;
use prost::Message as _;
use sabre_runtime::{
    flags::{groups, parse_groups},
    http_server::{HttpOptions, HttpServer},
    metrics::Registry,
    probe::Probe,
    profiles::message::Profile,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// One profile at a time is a rule of the process, and so of its tests.
static TURN: Mutex<()> = Mutex::const_new(());

/// A second each; on a machine that is very busy a thread may get no time in one of them.
const MAX_TRIES: usize = 20;

async fn start() -> (SocketAddr, DropGuard) {
    let flags = parse_groups(&[groups::http()], &["--http-address=127.0.0.1:0"]).unwrap();
    let registry = Registry::new();
    let options = HttpOptions::from_flags(&flags).unwrap();
    let server = HttpServer::new(options, &registry, &Probe::new(&registry));
    let bound = server.bind().await.unwrap();
    let (address, stop) = (bound.local_addr(), CancellationToken::new());
    tokio::spawn(bound.serve(stop.clone()));
    (address, stop.drop_guard())
}

async fn send(address: SocketAddr, seconds: u32) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /debug/pprof/profile?seconds={seconds} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Head and body of the answer.
async fn ask(address: SocketAddr, seconds: u32) -> (String, Vec<u8>) {
    let mut answer = Vec::new();
    send(address, seconds)
        .await
        .read_to_end(&mut answer)
        .await
        .unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head, answer[end + 4..].to_vec())
}

fn is_ok(head: &str) -> bool {
    head.starts_with("HTTP/1.1 200 ")
}

#[inline(never)]
fn a_thread_that_computes(is_over: &AtomicBool) -> u64 {
    let mut sum = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        for number in 0..10_000_u64 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
    }
    sum
}

/// What a profile says of a function: the sum of the nanoseconds of the stacks that it is on, and their threads.
fn nanos_of(profile: &Profile, function: &str) -> (i64, Vec<String>) {
    let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
    let functions = profile
        .function
        .iter()
        .filter(|known| text(known.name).contains(function));
    let functions: Vec<u64> = functions.map(|known| known.id).collect();
    let is_there = |line: &[sabre_runtime::profiles::message::Line]| {
        line.iter().any(|line| functions.contains(&line.function_id))
    };
    let locations = profile
        .location
        .iter()
        .filter(|location| is_there(&location.line));
    let locations: Vec<u64> = locations.map(|location| location.id).collect();
    let (mut nanos, mut threads) = (0, Vec::new());
    for sample in &profile.sample {
        if sample.location_id.iter().any(|id| locations.contains(id)) {
            nanos += sample.value[1];
            threads.extend(sample.label.iter().map(|label| text(label.str).to_owned()));
        }
    }
    (nanos, threads)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_thread_is_found_by_the_name_of_its_function() {
    let _turn = TURN.lock().await;
    let (address, _stop) = start().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let busy = thread::Builder::new().name("busy".to_owned());
    let busy = busy.spawn(move || a_thread_that_computes(&over)).unwrap();
    let mut found = None;
    for _ in 0..MAX_TRIES {
        let (head, body) = ask(address, 1).await;
        assert!(is_ok(&head), "{head}\n{}", String::from_utf8_lossy(&body));
        let mut message = Vec::new();
        GzDecoder::new(body.as_slice()).read_to_end(&mut message).unwrap();
        let profile = Profile::decode(message.as_slice()).unwrap();
        if nanos_of(&profile, "a_thread_that_computes").0 > 0 {
            found = Some((head, profile));
            break;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    busy.join().unwrap();
    let (head, profile) = found.unwrap();
    assert!(
        head.contains("application/octet-stream") && head.contains("filename=\"profile\""),
        "{head}"
    );
    let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
    let kinds: Vec<(&str, &str)> = profile
        .sample_type
        .iter()
        .map(|kind| (text(kind.r#type), text(kind.unit)))
        .collect();
    assert_eq!(kinds, [("samples", "count"), ("cpu", "nanoseconds")]);
    assert_eq!(profile.period, 1_000_000_000 / 99);
    assert!(
        profile.duration_nanos >= 1_000_000_000,
        "{}",
        profile.duration_nanos
    );
    let own = std::env::current_exe().unwrap();
    assert_eq!(text(profile.mapping[0].filename), own.to_str().unwrap());
    let (_, threads) = nanos_of(&profile, "a_thread_that_computes");
    assert!(threads.iter().all(|thread| thread == "busy"), "{threads:?}");
    assert_eq!(
        nanos_of(&profile, "perf_signal_handler").0,
        0,
        "the sampler does not show itself"
    );
}

/// Begins a profile that would take long, and gives its connection once it is under way.
async fn begun(address: SocketAddr) -> TcpStream {
    let mut stream = send(address, 300).await;
    for _ in 0..60 {
        if ask(address, 1).await.0.starts_with("HTTP/1.1 503 ") {
            return stream;
        }
        // The short one was first. The long one was refused meanwhile, or is on its way.
        if stream.try_read(&mut [0; 1]).is_ok() {
            stream = send(address, 300).await;
        }
    }
    panic!("it does not begin");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_profile_is_taken_at_a_time_and_one_that_nobody_waits_for_ends() {
    let _turn = TURN.lock().await;
    let (address, _stop) = start().await;
    let long = begun(address).await;
    let (_, problem) = ask(address, 1).await;
    assert_eq!(
        String::from_utf8_lossy(&problem),
        "a CPU profile is already being taken; try again when it has ended\n"
    );
    drop(long);
    for _ in 0..600 {
        if is_ok(&ask(address, 1).await.0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_server_ends_a_profile_which_shows_what_there_is() {
    let _turn = TURN.lock().await;
    let (address, stop) = start().await;
    let mut stream = begun(address).await;
    drop(stop);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
