//! A store over real cache servers: `SABRE_TEST_MEMCACHED=host:port[,host:port…]` and `SABRE_TEST_REDIS=host:port`.

use std::net::SocketAddr;

use sabre_testkit::cache_server::Protocol;
use tokio::net::{TcpListener, TcpStream};

use crate::caches::{bucket, is_right, reads, store_over};

/// Passes connections on to a server until it is told to die.
struct Passage {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Passage {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut inner, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    let mut outer = TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut inner, &mut outer).await
                });
            }
        });
        Self { address, task }
    }

    /// Breaks all connections off and takes no more.
    fn die(&self) {
        self.task.abort();
    }
}

async fn hits_misses_and_death(protocol: Protocol, server: &str) {
    let passage = Passage::to(server.to_owned()).await;
    let bucket = bucket().await;
    let address = passage.address.to_string();
    let first = store_over(&bucket, protocol, &address).await;
    is_right(&first, "a server that knows nothing").await;
    assert!(reads(&bucket, "/index") > 0, "{protocol:?}");
    // What is to be written is written behind the answer.
    let mut index_reads = usize::MAX;
    for _ in 0..100 {
        let second = store_over(&bucket, protocol, &address).await;
        bucket.heal();
        is_right(&second, "a server that knows all").await;
        index_reads = reads(&bucket, "/index");
        if index_reads == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(index_reads, 0, "{protocol:?}: all hits");
    passage.die();
    is_right(&first, "a server that died").await;
    let third = store_over(&bucket, protocol, &address).await;
    is_right(&third, "a server that is not there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_memcached_behind_a_store() {
    let Ok(addresses) = std::env::var("SABRE_TEST_MEMCACHED") else {
        eprintln!("skipped: SABRE_TEST_MEMCACHED names no server");
        return;
    };
    let first = addresses.split(',').next().unwrap_or_default();
    hits_misses_and_death(Protocol::Memcached, first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_redis_behind_a_store() {
    let Ok(address) = std::env::var("SABRE_TEST_REDIS") else {
        eprintln!("skipped: SABRE_TEST_REDIS names no server");
        return;
    };
    hits_misses_and_death(Protocol::Redis, &address).await;
}
