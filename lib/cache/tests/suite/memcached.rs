//! What the client of memcached does with servers that work.

use std::sync::atomic::Ordering;

use crate::fake::{Fake, Mood, Protocol, client, eventually};

#[tokio::test]
async fn values_are_written_and_read() {
    let server = Fake::start(Protocol::Memcached).await.unwrap();
    let client = client(Protocol::Memcached, &[&server.address], "").await;
    client.set("a", b"1");
    client.set("b", b"\r\nEND\r\n");
    client.set("bad key", b"x");
    eventually("writing", || server.has("a") && server.has("b")).await;
    let hits = client.get(&["a", "missing", "b", "bad key"]).await;
    assert_eq!(hits.len(), 2);
    assert_eq!((&hits["a"][..], &hits["b"][..]), (&b"1"[..], &b"\r\nEND\r\n"[..]));
    eventually("counting", || {
        let failures = "thanos_memcached_operation_failures_total{name=\"test\",operation=\"set\",reason=\"malformed-key\"}";
        client.metric(failures) == 1.0
    })
    .await;
    drop(hits);
    assert_eq!(client.budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn each_key_has_one_server() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Fake::start(Protocol::Memcached).await.unwrap());
    }
    let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    let client = client(Protocol::Memcached, &addresses, "  max_get_multi_batch_size: 7\n").await;
    let keys: Vec<String> = (0..100).map(|n| format!("S:01H:{n}")).collect();
    for key in &keys {
        client.set(key, key.as_bytes());
    }
    let counts = || {
        servers
            .iter()
            .map(|server| server.state.values.lock().len())
            .collect::<Vec<_>>()
    };
    eventually("writing", || counts().iter().sum::<usize>() == 100).await;
    assert!(counts().iter().all(|count| *count > 10), "{:?}", counts());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(client.get(&keys).await.len(), 100);
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Fake::start(Protocol::Memcached).await.unwrap();
    let client = client(
        Protocol::Memcached,
        &[&server.address],
        "  max_async_concurrency: 1\n",
    )
    .await;
    for _ in 0..20 {
        client.get(&["a"]).await;
    }
    assert_eq!(server.state.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn large_values_are_not_sent() {
    let server = Fake::start(Protocol::Memcached).await.unwrap();
    let client = client(Protocol::Memcached, &[&server.address], "  max_item_size: 1KB\n").await;
    client.set("large", &[0; 1025]);
    client.set("small", &[0; 1024]);
    eventually("writing", || server.has("small")).await;
    assert!(!server.has("large"));
    let skipped =
        "thanos_memcached_operation_skipped_total{name=\"test\",operation=\"set\",reason=\"max-item-size\"}";
    assert_eq!(client.metric(skipped), 1.0);
}

#[tokio::test]
async fn writes_never_wait_and_never_pile_up() {
    let server = Fake::start(Protocol::Memcached).await.unwrap();
    server.mood(Mood::Hangs);
    let more =
        "  max_async_buffer_size: 10\n  max_async_concurrency: 1\n  max_item_size: 10MB\n  timeout: 1h\n";
    let client = client(Protocol::Memcached, &[&server.address], more).await;
    for n in 0..100 {
        client.set(&n.to_string(), &[0; 10_000]);
    }
    assert!(client.budget.usage().high_water_bytes < 13 * 10_100);
    let skipped = "thanos_memcached_operation_skipped_total{name=\"test\",operation=\"set\",reason=\"async-buffer-full\"}";
    assert!(client.metric(skipped) >= 88.0);
    for n in 0..100 {
        client.set(&n.to_string(), &[0; 9 << 20]);
    }
    assert!(client.budget.usage().high_water_bytes <= 64 << 20);
}

#[tokio::test]
async fn servers_are_found_by_asking_one_of_them() {
    // A configuration endpoint is asked `config get cluster` and nothing else.
    let server = Fake::start(Protocol::Memcached).await.unwrap();
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    let body = format!("3\n127.0.0.1|127.0.0.1|{port}\n");
    let answer = format!("CONFIG cluster 0 {}\r\n{body}\r\nEND\r\n", body.len());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 20];
            socket.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, b"config get cluster\r\n");
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = client(Protocol::Memcached, &[&endpoint], "  auto_discovery: true\n").await;
    client.set("a", b"1");
    eventually("writing", || server.has("a")).await;
}
