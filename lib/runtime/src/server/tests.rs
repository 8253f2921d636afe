//! Connections at the edges: handshakes that go nowhere, and the end of the server.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use hyper_util::{rt::TokioExecutor, server::conn::auto};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    accept::{Acceptor, Tls, turn_away},
    handshake::Handshakes,
};
use crate::{
    metrics::Registry,
    tls::test_files::{ask, nobody, server_tls},
};

fn tls(registry: &Registry, max_under_way: usize) -> Tls {
    let now = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000));
    let config = server_tls(&["http/1.1"]).ready(now).unwrap().config;
    let source = Arc::new(move || Some(Arc::clone(&config)));
    Tls {
        handshakes: Handshakes::new("test", source, registry).at_most(max_under_way),
        http2: auto::Builder::new(TokioExecutor::new()),
    }
}

/// An acceptor on a port of its own, with a grace period of an hour.
async fn acceptor(registry: &Registry, tls: Option<Tls>) -> (Acceptor, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor {
        name: "test",
        listener,
        protocol: auto::Builder::new(TokioExecutor::new()).http1_only(),
        tls,
        router: Router::new().route("/", get(async || "hello")),
        coalesce: false,
        max_connection_age: None,
        grace: Duration::from_secs(3_600),
        connections: registry.gauge("connections", "Connections"),
    };
    (acceptor, address)
}

fn exports(registry: &Registry, line: &str) -> bool {
    registry.classic().lines().any(|found| found == line)
}

/// How many handshakes failed for the reason.
fn failures(registry: &Registry, reason: &str) -> u32 {
    let start = format!("sabre_tls_handshake_failures_total{{server=\"test\",reason=\"{reason}\"}} ");
    let text = registry.classic();
    let count = text.lines().find_map(|line| line.strip_prefix(&start));
    count.map_or(0, |count| count.parse().unwrap())
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 1]).await.unwrap_or(0) == 0
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_shakes_hands_is_given_up() {
    let registry = Registry::new();
    let (acceptor, address) = acceptor(&registry, Some(tls(&registry, 9))).await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(acceptor.serve(stop.clone()));
    let start = Instant::now();
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert!(is_closed(&mut silent).await);
    assert!(start.elapsed() >= Duration::from_secs(10));
    assert!(exports(&registry, "connections 0"), "it holds no place any more");
    assert!(exports(
        &registry,
        "sabre_tls_handshake_failures_total{server=\"test\",reason=\"timeout\"} 1"
    ));
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_shakes_hands_does_not_hold_up_the_end() {
    let registry = Registry::new();
    let (acceptor, address) = acceptor(&registry, Some(tls(&registry, 9))).await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(acceptor.serve(stop.clone()));
    let _silent = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    stop.cancel();
    serving.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn files_of_tls_are_looked_at_although_no_client_comes() {
    let registry = Registry::new();
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let source = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        None
    };
    let tls = Tls {
        handshakes: Handshakes::new("test", Arc::new(source), &registry),
        http2: auto::Builder::new(TokioExecutor::new()),
    };
    let (acceptor, _address) = acceptor(&registry, Some(tls)).await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(acceptor.serve(stop.clone()));
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(looks.load(Ordering::SeqCst), 5);
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_flood_of_handshakes_that_go_nowhere_is_bounded_and_shuts_nobody_out() {
    let registry = Registry::new();
    let (acceptor, address) = acceptor(&registry, Some(tls(&registry, 4))).await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(acceptor.serve(stop.clone()));
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(TcpStream::connect(address).await.unwrap());
    }
    // They come in the order in which they were made, and the oldest make room.
    for silent in flood.iter_mut().take(16) {
        assert!(is_closed(silent).await);
    }
    let answer = ask(address, "store.test", &nobody(), "GET / HTTP/1.1")
        .await
        .unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    // On a machine that is very slow some run out of time before they are crowded out.
    let closed: u32 = ["crowded_out", "timeout"]
        .into_iter()
        .map(|reason| failures(&registry, reason))
        .sum();
    assert!((17..=20).contains(&closed), "{closed}");
    drop(flood);
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_client_that_the_system_has_let_in_is_answered_before_the_end() {
    let registry = Registry::new();
    let (acceptor, address) = acceptor(&registry, None).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        clients.push(client);
    }
    let stop = CancellationToken::new();
    stop.cancel();
    acceptor.serve(stop).await;
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"),
            "{answer}"
        );
    }
}

/// Connects, asks and reads to the end. None if the server did not let it in.
fn asked(address: SocketAddr) -> Option<std::io::Result<String>> {
    use std::io::{Read as _, Write as _};

    // Who is turned away is not refused before the next try, a second later.
    let mut client = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
    let mut answer = String::new();
    let asked = client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .and_then(|()| client.read_to_string(&mut answer));
    Some(asked.map(|_| answer))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_let_in_is_answered_however_the_stop_falls() {
    for _round in 0..8 {
        let (acceptor, address) = acceptor(&Registry::new(), None).await;
        let stop = CancellationToken::new();
        let (answered, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let answered = answered.clone();
                std::thread::spawn(move || {
                    while let Some(answer) = asked(address) {
                        let answer = answer.expect("a client that was let in");
                        assert!(answer.ends_with("hello"), "{answer}");
                        let _ = answered.send(());
                    }
                })
            })
            .collect();
        drop(answered);
        let serving = tokio::spawn(acceptor.serve(stop.clone()));
        for _ in 0..60 {
            seen.recv().await;
        }
        stop.cancel();
        serving.await.unwrap();
        for client in clients {
            tokio::task::spawn_blocking(|| client.join())
                .await
                .unwrap()
                .unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_new_client_is_turned_away_and_those_before_are_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = TcpStream::connect(address).await.unwrap();
    let mut accepted = TcpStream::connect(address).await.unwrap();
    let (mut first, _) = listener.accept().await.unwrap();
    turn_away(&listener).unwrap();
    let late = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(20));
    assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    let (mut second, _) = listener.accept().await.unwrap();
    for (client, server) in [(&mut waiting, &mut first), (&mut accepted, &mut second)] {
        client.write_all(b"a").await.unwrap();
        let mut byte = [0; 1];
        server.read_exact(&mut byte).await.unwrap();
        server.write_all(b"b").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"b");
    }
    drop(listener);
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
