//! Servers that die, hang, or answer what they should not: always a miss, never more.

use std::{sync::atomic::Ordering, time::Duration};

use crate::fake::{Client, Fake, Mood, Protocol, client, eventually};

async fn pair(protocol: Protocol, more: &str) -> (Fake, Client) {
    let server = Fake::start(protocol).await.unwrap();
    let client = client(protocol, &[&server.address], more).await;
    let mut values = server.state.values.lock();
    values.insert("a".to_owned(), vec![1; 1000]);
    values.insert("b".to_owned(), vec![2; 1000]);
    drop(values);
    (server, client)
}

async fn is_a_miss_and_heals(protocol: Protocol, mood: Mood) {
    let (server, client) = pair(protocol, "").await;
    server.mood(mood.clone());
    for _ in 0..2 {
        let hits = client.get(&["a", "b"]).await;
        assert!(hits.is_empty(), "{protocol:?} {mood:?}: {hits:?}");
    }
    assert_eq!(client.budget.usage().used_bytes, 0, "{mood:?}");
    server.mood(Mood::Honest);
    assert_eq!(
        client.get(&["a", "b"]).await.len(),
        2,
        "{protocol:?} {mood:?}: two failures are no ground to give up"
    );
}

#[tokio::test]
async fn memcached_that_lies() {
    for says in [
        &b"VALUE a 0 1000\r\nshort\r\nEND\r\n"[..],
        b"VALUE c 0 1\r\nx\r\nEND\r\n",
        b"VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
        b"VALUE a 0 3\r\nxEND\r\n",
        b"VALUE a 0 99999999999999\r\nx\r\nEND\r\n",
        b"VALUE a 0 -1\r\n",
        b"garbage\r\n",
        b"\xff\xfe\xfd\r\n",
        b"STORED\r\n",
        b"SERVER_ERROR out of memory\r\n",
        &[b'x'; 5000],
    ] {
        // What is short is followed by nothing: then the connection ends.
        let mut says = says.to_vec();
        if says.ends_with(b"short\r\nEND\r\n") {
            says.extend_from_slice(&[b'z'; 2000]);
        }
        is_a_miss_and_heals(Protocol::Memcached, Mood::Says(says)).await;
    }
    for mood in [Mood::Dies, Mood::DiesInside] {
        is_a_miss_and_heals(Protocol::Memcached, mood).await;
    }
}

#[tokio::test]
async fn redis_that_lies() {
    for says in [
        &b"*1\r\n$1\r\nx\r\n"[..],
        b"*3\r\n$-1\r\n$-1\r\n$-1\r\n",
        b"*2\r\n$5\r\nx\r\n$1\r\ny\r\n",
        b"*2\r\n$99999999999999\r\n",
        b"*2\r\n:1\r\n:2\r\n",
        b"$-1\r\n",
        b"-ERR no\r\n",
        b"-LOADING wait\r\n",
        b"garbage\r\n",
        b"\xff\xfe\r\n",
    ] {
        is_a_miss_and_heals(Protocol::Redis, Mood::Says(says.to_vec())).await;
    }
    for mood in [Mood::Dies, Mood::DiesInside] {
        is_a_miss_and_heals(Protocol::Redis, mood).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_alone() {
    for protocol in [Protocol::Memcached, Protocol::Redis] {
        let more = if protocol == Protocol::Memcached {
            "  timeout: 20ms\n"
        } else {
            "  read_timeout: 20ms\n"
        };
        let (server, client) = pair(protocol, more).await;
        server.mood(Mood::Hangs);
        for _ in 0..3 {
            assert!(client.get(&["a"]).await.is_empty());
        }
        let asked = server.state.commands.load(Ordering::Relaxed);
        let started = tokio::time::Instant::now();
        for _ in 0..1000 {
            assert!(client.get(&["a"]).await.is_empty());
        }
        assert!(started.elapsed() < Duration::from_secs(1), "it is not even asked");
        assert_eq!(server.state.commands.load(Ordering::Relaxed), asked);
        server.mood(Mood::Honest);
        // On a machine that is busy an answer may take longer than 20 ms.
        let mut found = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            found = client.get(&["a"]).await.len();
            if found > 0 {
                break;
            }
        }
        assert_eq!(found, 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_costs_nothing() {
    for protocol in [Protocol::Memcached, Protocol::Redis] {
        let server = Fake::start(protocol).await.unwrap();
        let address = server.address.clone();
        drop(server);
        let client = client(protocol, &[&address], "").await;
        client.set("a", b"1");
        for _ in 0..100 {
            assert!(client.get(&["a"]).await.is_empty());
        }
        eventually("giving up", || client.budget.usage().used_bytes == 0).await;
    }
}

#[tokio::test]
async fn values_beyond_the_budget_are_misses() {
    for protocol in [Protocol::Memcached, Protocol::Redis] {
        let (_server, client) = pair(protocol, "").await;
        let all = client.budget.try_reserve((64 << 20) - 1500).unwrap();
        let hits = client.get(&["a", "b"]).await;
        assert_eq!(hits.len(), 1, "there is room for one of them");
        drop((all, hits));
        assert_eq!(client.get(&["a", "b"]).await.len(), 2, "the connection is sound");
    }
}
