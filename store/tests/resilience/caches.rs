//! Index caches in memory and shared, and a caching bucket, with servers that die and lie.

use std::{sync::Arc, time::Duration};

use sabre_block::fetcher::DiscoveryStrategy;
use sabre_cache::CachingBucket;
use sabre_model::MatchKind::{Eq, Neq, Re};
use sabre_objstore::{MemoryBucket, SharedBucket};
use sabre_runtime::{budget::Budget, metrics::Registry};
use sabre_store::{IndexCacheConfig, StoreConfig, StoreGateway};
use sabre_testkit::{
    cache_server::{CacheServer, Mood, Protocol},
    fault::FaultBucket,
    grpc::serve,
};
use tonic::service::Routes;

use crate::{
    common::{NOW_MS, TestStore, request, start},
    data::{block, everything, put, samples, truth},
};

const SERIES: usize = 400;

pub(crate) async fn bucket() -> FaultBucket {
    let memory = Arc::new(MemoryBucket::new("test"));
    put(&*memory, block(1, 0, 1, SERIES)).await;
    put(&*memory, block(2, 1, 1, SERIES)).await;
    FaultBucket::new(memory as SharedBucket)
}

pub(crate) fn reads(bucket: &FaultBucket, part: &str) -> usize {
    bucket
        .requests()
        .iter()
        .filter(|request| request.key.contains(part))
        .count()
}

/// A store with the caches that the documents describe.
async fn store_with(bucket: &FaultBucket, index_cache: &str, caching: Option<&str>) -> TestStore {
    store_that_finds(bucket, index_cache, caching, DiscoveryStrategy::Recursive).await
}

/// The same, on an empty data directory, that finds its blocks in one way or the other.
async fn store_that_finds(
    bucket: &FaultBucket,
    index_cache: &str,
    caching: Option<&str>,
    discovery: DiscoveryStrategy,
) -> TestStore {
    let data_dir = tempfile::tempdir().unwrap();
    let (registry, budget) = (Registry::new(), Budget::new(1 << 30, "--sabre.memory-budget"));
    let origin: SharedBucket = Arc::new(bucket.clone());
    let index_cache = IndexCacheConfig::from_yaml("x", index_cache, false).unwrap();
    let index_cache = index_cache.start(&budget, &registry).await.unwrap();
    let cached: SharedBucket = match caching {
        None => Arc::clone(&origin),
        Some(text) => {
            let cached = CachingBucket::from_yaml("x", text, Arc::clone(&origin), &budget, &registry).await;
            Arc::new(cached.unwrap())
        }
    };
    let config = StoreConfig {
        discovery,
        ..StoreConfig::new(data_dir.path())
    };
    let gateway = StoreGateway::with_caches(cached, origin, index_cache, config, budget.clone(), &registry);
    gateway.sync(NOW_MS).await.unwrap();
    gateway.warm(NOW_MS).await;
    let routes = Routes::new(gateway.store_service()).add_service(gateway.info_service());
    let served = serve(routes).await.unwrap();
    TestStore {
        gateway,
        served,
        budget,
        registry,
        data_dir,
    }
}

/// A store whose index cache is at this address.
pub(crate) async fn store_over(bucket: &FaultBucket, protocol: Protocol, address: &str) -> TestStore {
    store_with(bucket, &document_of(protocol, address), None).await
}

fn document(protocol: Protocol, server: &CacheServer) -> String {
    document_of(protocol, &server.address.to_string())
}

fn document_of(protocol: Protocol, address: &str) -> String {
    match protocol {
        Protocol::Memcached => format!("type: MEMCACHED\nconfig:\n  addresses: [\"{address}\"]\n"),
        Protocol::Redis => format!("type: REDIS\nconfig:\n  addr: \"{address}\"\n"),
    }
}

pub(crate) async fn is_right(store: &TestStore, what: &str) {
    let answer = store
        .series(everything())
        .await
        .unwrap_or_else(|status| panic!("{what}: {status}"));
    assert!(samples(&answer).unwrap() == truth(2, SERIES), "{what}");
}

/// The entries of everything, and an answer and a list of each of the two blocks.
const VALUES_OF_EVERYTHING: usize = 2 * SERIES + 2 + 2;

/// What a caching bucket keeps of two blocks: sizes, whether their objects are there, metas, and parts.
const VALUES_OF_BUCKET: usize = 100;

/// Waits until so many values are written as there are to be written.
async fn settled(server: &CacheServer, expected: usize) {
    let count = || server.state.values.lock().len();
    for _ in 0..3000 {
        if count() >= expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(count(), expected, "values of the cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_of_an_index_is_not_read_again() {
    let bucket = bucket().await;
    let store = start(Arc::new(bucket.clone())).await;
    is_right(&store, "cold").await;
    bucket.heal();
    is_right(&store, "warm").await;
    assert_eq!(reads(&bucket, "/index"), 0, "{:?}", bucket.requests());
    // Other matchers find the lists and the entries that they share with the ones before.
    let part = request(&[
        (Eq, "__name__", "requests_total"),
        (Re, "pod", "pod-001.*"),
        (Neq, "pod", "pod-00100"),
    ]);
    let answer = store.series(part).await.unwrap();
    assert_eq!(answer.series.len(), 99);
    let requests = bucket.requests();
    let of_index = requests
        .iter()
        .filter(|request| request.key.ends_with("/index"))
        .count();
    assert!(of_index <= 2, "only postings of pods: {requests:?}");
    let text = store.registry.classic();
    assert!(
        text.contains("thanos_store_index_cache_items{item_type=\"Series\"}"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_shares_what_one_of_it_has_read() {
    for protocol in [Protocol::Memcached, Protocol::Redis] {
        let server = CacheServer::start(protocol).await.unwrap();
        let bucket = bucket().await;
        let one = store_with(&bucket, &document(protocol, &server), None).await;
        is_right(&one, "the first").await;
        settled(&server, VALUES_OF_EVERYTHING).await;
        let another = store_with(&bucket, &document(protocol, &server), None).await;
        bucket.heal();
        is_right(&another, "the second").await;
        assert_eq!(
            reads(&bucket, "/index"),
            0,
            "{protocol:?}: {:?}",
            bucket.requests()
        );
        let values = server.state.values.lock();
        let of = |prefix: &str| values.keys().filter(|key| key.starts_with(prefix)).count();
        assert_eq!((of("S:"), of("EP:")), (2 * SERIES, 2), "{protocol:?}");
        assert!(of("P:") > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_index_cache_that_dies_or_lies_does_no_harm() {
    for protocol in [Protocol::Memcached, Protocol::Redis] {
        let server = CacheServer::start(protocol).await.unwrap();
        let bucket = bucket().await;
        let store = store_with(&bucket, &document(protocol, &server), None).await;
        is_right(&store, "cold").await;
        settled(&server, VALUES_OF_EVERYTHING).await;
        let original = server.state.values.lock().clone();
        type Lie = fn(&mut Vec<u8>);
        let lies: [(&str, Lie); 5] = [
            ("a bit", |value| {
                if let Some(byte) = value.last_mut() {
                    *byte ^= 4;
                }
            }),
            ("a bit in the middle", |value| {
                let at = value.len() / 2;
                value[at] ^= 0x10;
            }),
            ("cut", |value| value.truncate(value.len() / 2)),
            ("empty", Vec::clear),
            ("garbage", |value| *value = b"garbage".to_vec()),
        ];
        for (what, lie) in lies {
            let mut values = original.clone();
            values.values_mut().for_each(lie);
            *server.state.values.lock() = values;
            is_right(&store, what).await;
        }
        for (prefix, without) in [("S:", "?"), ("EP:", "?"), ("P:", "EP:")] {
            // Each value under the key of another one; lists only count where no answer is known.
            let is_one = |key: &&String| key.starts_with(prefix);
            let mut keys: Vec<&String> = original.keys().filter(is_one).collect();
            let values: Vec<&Vec<u8>> = keys.iter().filter_map(|key| original.get(*key)).collect();
            assert!(keys.len() > 1, "{prefix}");
            keys.rotate_left(1);
            let mut rotated = original.clone();
            rotated.extend(keys.into_iter().cloned().zip(values.into_iter().cloned()));
            rotated.retain(|key, _| !key.starts_with(without));
            *server.state.values.lock() = rotated;
            is_right(&store, &format!("{prefix} under other keys")).await;
        }
        server.mood(Mood::Says(b"nonsense\r\n".to_vec()));
        is_right(&store, "nonsense").await;
        server.mood(Mood::DiesInside);
        is_right(&store, "dying").await;
        drop(server);
        is_right(&store, "dead").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_equal_length_under_each_others_keys_select_no_wrong_series_and_lose_none() {
    for protocol in [Protocol::Memcached, Protocol::Redis] {
        let server = CacheServer::start(protocol).await.unwrap();
        let bucket = bucket().await;
        let store = store_with(&bucket, &document(protocol, &server), None).await;
        // Every pod has one series a block, so that all of these lists are of the same length.
        let pods = ["pod-00001", "pod-00002", "pod-00003", "pod-00004"];
        let of = |pod| request(&[(Eq, "__name__", "requests_total"), (Eq, "pod", pod)]);
        for pod in pods {
            assert_eq!(store.series(of(pod)).await.unwrap().series.len(), 1);
        }
        // Per pod and block an entry, an answer and a list; and per block the list of the name.
        settled(&server, 3 * 2 * pods.len() + 2).await;
        {
            let mut values = server.state.values.lock();
            values.retain(|key, _| key.starts_with("P:"));
            let mut keys: Vec<String> = values.keys().cloned().collect();
            let all: Vec<Vec<u8>> = keys.iter().filter_map(|key| values.get(key)).cloned().collect();
            assert!(keys.len() >= 2 * pods.len(), "{keys:?}");
            keys.rotate_left(1);
            *values = keys.into_iter().zip(all).collect();
        }
        for pod in pods {
            let answer = store.series(of(pod)).await.unwrap();
            let found: Vec<_> = answer
                .series
                .iter()
                .map(|(labels, _)| labels.get("pod"))
                .collect();
            assert_eq!(found, [Some(pod)], "{protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caching_bucket_reads_chunks_once() {
    let server = CacheServer::start(Protocol::Memcached).await.unwrap();
    let bucket = bucket().await;
    let memory = "type: IN-MEMORY\n";
    let store = store_with(&bucket, memory, Some(&document(Protocol::Memcached, &server))).await;
    is_right(&store, "cold").await;
    settled(&server, VALUES_OF_BUCKET).await;
    bucket.heal();
    is_right(&store, "warm").await;
    assert_eq!(bucket.requests(), [], "nothing is read of the bucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caching_bucket_that_lies_does_no_harm() {
    let server = CacheServer::start(Protocol::Memcached).await.unwrap();
    let bucket = bucket().await;
    let store = store_with(
        &bucket,
        "type: IN-MEMORY\n",
        Some(&document(Protocol::Memcached, &server)),
    )
    .await;
    is_right(&store, "cold").await;
    settled(&server, VALUES_OF_BUCKET).await;
    for at in [0usize, 7, 15, 100, 7999, 15_000] {
        for value in server.state.values.lock().values_mut() {
            if let Some(byte) = value.get_mut(at) {
                *byte ^= 0x21;
            }
        }
        is_right(&store, "bits").await;
    }
    // Read as a length this is longer than any memory, and than any segment.
    for at in [8usize, 33, 7900, 15_900] {
        for value in server.state.values.lock().values_mut() {
            let end = value.len().min(at + 9);
            if let Some(bytes) = value.get_mut(at..end) {
                bytes.fill(0xff);
            }
        }
        is_right(&store, "lengths").await;
    }
    let text = store.registry.classic();
    assert!(
        !text.contains("thanos_bucket_store_chunk_refetches_total{tenant=\"default-tenant\"} 0\n"),
        "{text}"
    );
    server.mood(Mood::Dies);
    is_right(&store, "dead").await;
}

/// Nothing tells a wrong meta from a right one, and a block whose meta is wrong is missing without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_caching_bucket_that_lies_about_metas_hides_no_block_from_a_store_that_starts() {
    type Lie = fn(&str, &mut Vec<u8>);
    let lies: [(&str, Lie); 4] = [
        ("another time", |key, value| {
            if key.starts_with("content:") {
                let text = String::from_utf8(value.clone()).unwrap();
                let lie = text.replace("\"minTime\":", "\"minTime\": 9");
                assert_ne!(lie, text);
                *value = lie.into_bytes();
            }
        }),
        ("other labels", |key, value| {
            if key.starts_with("content:") {
                let text = String::from_utf8(value.clone()).unwrap();
                assert!(text.contains("\"eu\""));
                *value = text.replace("\"eu\"", "\"et\"").into_bytes();
            }
        }),
        ("nothing is there", |key, value| {
            if key.starts_with("exists:") {
                *value = b"false".to_vec();
            }
        }),
        ("an empty root", |key, value| {
            if key.starts_with("iter:") {
                *value = b"[]".to_vec();
            }
        }),
    ];
    let server = CacheServer::start(Protocol::Memcached).await.unwrap();
    let caching = document(Protocol::Memcached, &server);
    let bucket = bucket().await;
    for discovery in [DiscoveryStrategy::Recursive, DiscoveryStrategy::Concurrent] {
        let start = async || store_that_finds(&bucket, "type: IN-MEMORY\n", Some(&caching), discovery).await;
        let has = |prefix: &str| {
            let values = server.state.values.lock();
            values.keys().filter(|key| key.starts_with(prefix)).count()
        };
        drop(start().await);
        let is_root_asked = discovery == DiscoveryStrategy::Concurrent;
        for _ in 0..3000 {
            if has("content:") == 2 && has("exists:") >= 2 && (has("iter:") == 1 || !is_root_asked) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(has("content:") == 2 && has("exists:") >= 2);
        assert!(has("iter:") == 1 || !is_root_asked);
        let original = server.state.values.lock().clone();
        for (what, lie) in lies {
            let mut values = original.clone();
            values.iter_mut().for_each(|(key, value)| lie(key, value));
            for key in original.keys().filter(|key| key.starts_with("content:")) {
                // And marks that nobody set.
                let mark = key.replace("meta.json", "deletion-mark.json");
                let id = mark.trim_start_matches("content:").split('/').next().unwrap();
                let text = format!(r#"{{"id":"{id}","version":1,"deletion_time":1}}"#);
                values.insert(mark, text.into_bytes());
            }
            *server.state.values.lock() = values;
            is_right(&start().await, &format!("{what}, {discovery:?}")).await;
        }
        *server.state.values.lock() = original;
    }
}
