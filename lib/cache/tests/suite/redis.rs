//! What the client of redis does with servers that work.

use std::sync::atomic::Ordering;

use crate::fake::{Fake, Mood, Protocol, client, eventually};

#[tokio::test]
async fn values_are_written_and_read_under_the_prefix() {
    let server = Fake::start(Protocol::Redis).await.unwrap();
    let more =
        "  prefix: \"fleet/\"\n  username: me\n  password: \"0123\"\n  db: 3\n  get_multi_batch_size: 2\n";
    let client = client(Protocol::Redis, &[&server.address], more).await;
    for key in ["a", "b", "c", "key with spaces"] {
        client.set(key, key.as_bytes());
    }
    eventually("writing", || {
        server.has("fleet/a") && server.has("fleet/b") && server.has("fleet/c")
    })
    .await;
    eventually("writing", || server.has("fleet/key with spaces")).await;
    assert!(server.has("AUTH me 0123") && server.has("SELECT 3"));
    let hits = client.get(&["a", "missing", "b", "c", "key with spaces"]).await;
    assert_eq!(hits.len(), 4);
    assert_eq!(&hits["key with spaces"][..], b"key with spaces");
    drop(hits);
    assert_eq!(client.budget.usage().used_bytes, 0);
}

#[tokio::test]
async fn of_several_addresses_one_that_answers_is_used() {
    let (dead, alive) = (
        Fake::start(Protocol::Redis).await.unwrap(),
        Fake::start(Protocol::Redis).await.unwrap(),
    );
    dead.mood(Mood::Dies);
    let client = client(Protocol::Redis, &[&dead.address, &alive.address], "").await;
    alive.state.values.lock().insert("a".to_owned(), b"1".to_vec());
    let mut found = 0;
    for _ in 0..10 {
        found += client.get(&["a"]).await.len();
    }
    assert_eq!(found, 7, "three failures, then the other one");
    assert!(alive.state.commands.load(Ordering::Relaxed) > 0);
}
