//! The same on real servers: `SABRE_TEST_MEMCACHED=host:port[,host:port…]` and `SABRE_TEST_REDIS=host:port`.

use std::time::Duration;

use crate::fake::{Client, Protocol, client};

async fn finds_what_was_written(client: &Client) {
    let run = std::process::id();
    let keys: Vec<String> = (0..300).map(|n| format!("sabre-test:{run}:{n}")).collect();
    let value = |n: usize| vec![u8::try_from(n % 256).unwrap(); n * n];
    for (n, key) in keys.iter().enumerate() {
        client.set(key, &value(n));
    }
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    for _ in 0..100 {
        if client.get(&asked).await.len() == keys.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hits = client.get(&asked).await;
    assert_eq!(hits.len(), keys.len());
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(hits[key], value(n), "{key}");
    }
    assert!(client.get(&["sabre-test:missing"]).await.is_empty());
}

#[tokio::test]
async fn external_memcached() {
    let Ok(addresses) = std::env::var("SABRE_TEST_MEMCACHED") else {
        eprintln!("skipped: SABRE_TEST_MEMCACHED names no server");
        return;
    };
    let addresses: Vec<&str> = addresses.split(',').collect();
    finds_what_was_written(&client(Protocol::Memcached, &addresses, "").await).await;
    let dns: Vec<String> = addresses.iter().map(|address| format!("dns+{address}")).collect();
    let dns: Vec<&str> = dns.iter().map(String::as_str).collect();
    finds_what_was_written(&client(Protocol::Memcached, &dns, "  max_get_multi_batch_size: 10\n").await)
        .await;
}

#[tokio::test]
async fn external_redis() {
    let Ok(address) = std::env::var("SABRE_TEST_REDIS") else {
        eprintln!("skipped: SABRE_TEST_REDIS names no server");
        return;
    };
    finds_what_was_written(&client(Protocol::Redis, &[&address], "  prefix: \"a prefix:\"\n  db: 1\n").await)
        .await;
}
