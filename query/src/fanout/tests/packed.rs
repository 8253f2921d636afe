//! Answers under zstd.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{extract::Request, middleware::map_request};
use sabre_proto::StoreService;
use sabre_testkit::grpc;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tonic::service::Routes;

use super::*;

/// A way to a server on which the bytes that come back are counted.
async fn counted(server: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let counting = Arc::clone(&counting);
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut buffer = vec![0; 64 << 10];
                while from_server.readable().await.is_ok() {
                    match from_server.try_read(&mut buffer) {
                        Ok(0) => break,
                        Ok(read) => {
                            counting.fetch_add(read as u64, Ordering::SeqCst);
                            if to_client.write_all(&buffer[..read]).await.is_err() {
                                break;
                            }
                        }
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
            });
        }
    });
    (address, count)
}

/// What is answered, and how many bytes that were on the way. The peer is one that `speaks` zstd or has never heard of it.
async fn asked(asks_for_zstd: bool, speaks: bool) -> (Vec<String>, Vec<String>, u64) {
    let long = "x".repeat(200);
    let all: Vec<String> = (0..300)
        .map(|at| format!(r#"a="{at:04}",long="{long}""#))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let store = FakeStore {
        texts: all.iter().map(|&text| text.to_owned()).collect(),
        ..FakeStore::of(&all)
    };
    let routes = Routes::new(StoreService::new(Arc::new(store)));
    let routes = match speaks {
        true => routes,
        false => {
            // As if nobody had told it.
            let forget = map_request(async |mut request: Request| {
                request.headers_mut().remove("grpc-accept-encoding");
                request
            });
            Routes::from(routes.into_axum_router().layer(forget))
        }
    };
    let served = grpc::serve(routes).await.unwrap();
    let (address, count) = counted(served.address).await;
    let channel = grpc::connect(address).await.unwrap();
    let endpoint = Endpoint::new("s0", EndpointKind::default(), vec![channel]);
    endpoint.note(Ok(PeerInfo::from_info(modern()).unwrap()), 0, Instant::now());
    let options = FanoutOptions {
        asks_for_zstd,
        ..FanoutOptions::default()
    };
    let mut world = World::new(vec![]).await;
    let pool = Pool::new();
    pool.replace(vec![Arc::new(endpoint)]);
    world.fanout = Fanout::new(pool, options, &Registry::new());
    let lines = world.all().await;
    let names = world.fanout.label_names(everything(), world.options()).await;
    let (names, warnings) = names.unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    (lines, names, count.load(Ordering::SeqCst))
}

#[tokio::test]
async fn answers_under_zstd_are_the_same_in_fewer_bytes() {
    let (plain, plain_names, plain_bytes) = asked(false, true).await;
    assert_eq!((plain.len(), plain_names.len()), (300, 300));
    let (packed, packed_names, packed_bytes) = asked(true, true).await;
    assert_eq!((packed, packed_names), (plain, plain_names));
    assert!(
        packed_bytes < plain_bytes / 2,
        "{packed_bytes} bytes in place of {plain_bytes}"
    );
}

#[tokio::test]
async fn a_peer_that_has_never_heard_of_zstd_answers_as_ever() {
    let (plain, plain_names, plain_bytes) = asked(false, false).await;
    let (same, same_names, bytes) = asked(true, false).await;
    assert_eq!((same, same_names), (plain, plain_names));
    assert!(bytes > plain_bytes / 2, "{bytes} bytes in place of {plain_bytes}");
}

#[tokio::test]
async fn a_packed_message_that_nobody_asked_for_or_that_is_broken_is_the_failure_of_its_peer() {
    let mut packed = vec![1];
    packed.extend(3u32.to_be_bytes());
    packed.extend([1, 2, 3]);
    for (asks_for_zstd, what) in [(false, "not asked for"), (true, "zstd is broken")] {
        let options = FanoutOptions {
            asks_for_zstd,
            ..FanoutOptions::default()
        };
        let stores = vec![
            FakeStore::new(vec![Step::Raw(packed.clone().into())]),
            FakeStore::of(&[r#"a="2""#]),
        ];
        let lines = World::with(stores, options).await.all().await;
        assert!(
            lines[0].starts_with("warning") && lines[0].contains(what),
            "{lines:?}"
        );
        assert_eq!(lines[1..], [r#"{a="2"}"#]);
    }
}
