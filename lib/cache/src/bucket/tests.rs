use std::collections::HashMap;

use parking_lot::Mutex;
use proptest::prelude::*;
use sabre_objstore::{MemoryBucket, conformance};
use sabre_testkit::fault::FaultBucket;

use super::*;
use crate::remote::{Hits, RemoteCache};

/// A cache that keeps everything and can be told to lie.
#[derive(Debug, Default)]
struct Map(Mutex<HashMap<String, Bytes>>);

#[async_trait]
impl RemoteCache for Map {
    fn name(&self) -> &str {
        "map"
    }

    async fn get_multi(&self, keys: &[String]) -> Hits {
        let map = self.0.lock();
        keys.iter()
            .filter_map(|key| Some((key.clone(), map.get(key)?.clone())))
            .collect()
    }

    fn set_later(&self, key: String, value: Bytes, _: Duration) {
        self.0.lock().insert(key, value);
    }
}

const BLOCK: &str = "01D78XZ44G0000000000000000";

fn segment() -> String {
    format!("{BLOCK}/chunks/000001")
}

fn content() -> Bytes {
    (0..95_000u32).map(|n| (n % 251) as u8).collect()
}

async fn bucket(most: usize) -> (CachingBucket, FaultBucket, Arc<Map>) {
    let memory = MemoryBucket::new("b");
    memory.put(&segment(), content()).await.unwrap();
    let meta = format!(r#"{{"ulid":"{BLOCK}"}}"#);
    memory
        .put(&format!("{BLOCK}/meta.json"), Bytes::from(meta))
        .await
        .unwrap();
    let counted = FaultBucket::new(Arc::new(memory));
    let cache = Arc::new(Map::default());
    let config = CachingConfig {
        chunk_subrange_bytes: 10_000,
        max_chunks_get_range_requests: most,
        ..CachingConfig::default()
    };
    let inner: SharedBucket = Arc::new(counted.clone());
    let shared: SharedCache = Arc::<Map>::clone(&cache);
    let caching = CachingBucket::new(inner, shared, config, "7".to_owned(), &Registry::new());
    (caching, counted, cache)
}

#[tokio::test]
async fn ranges_are_read_once() {
    let (bucket, counted, cache) = bucket(3).await;
    for _ in 0..3 {
        let body = bucket.get_range(&segment(), 15_000, 30_000).await.unwrap();
        assert_eq!(body.bytes, content().slice(15_000..45_000));
        assert_eq!(body.object_size_bytes, 95_000);
    }
    assert_eq!(
        (
            counted.count(Operation::GetRange),
            counted.count(Operation::Attributes)
        ),
        (1, 1)
    );
    bucket.get_range(&segment(), 0, 95_000).await.unwrap();
    assert_eq!(
        counted.count(Operation::GetRange),
        3,
        "before and behind what is cached"
    );
    assert!(
        cache
            .0
            .lock()
            .contains_key(&format!("subrange:{}:90000:95000", segment()))
    );
    let end = bucket.get_range(&segment(), 94_990, 1000).await.unwrap();
    assert_eq!(end.bytes, content().slice(94_990..));
    assert!(bucket.get_range(&segment(), 95_001, 1).await.is_err());
    assert!(
        bucket
            .get_range(&segment(), 95_000, 1)
            .await
            .unwrap()
            .bytes
            .is_empty()
    );
}

#[tokio::test]
async fn values_of_another_length_are_not_believed() {
    let (bucket, _, cache) = bucket(3).await;
    bucket.get_range(&segment(), 0, 95_000).await.unwrap();
    for (key, value) in cache.0.lock().iter_mut() {
        if key.starts_with("subrange") {
            *value = value.slice(..value.len() - 1);
        }
    }
    assert_eq!(
        bucket.get_range(&segment(), 0, 95_000).await.unwrap().bytes,
        content()
    );
}

#[tokio::test]
async fn a_size_that_is_not_true_is_corrected() {
    for lie in [50_000, 0, 94_999, 95_001, 500_000] {
        let (bucket, _, cache) = bucket(3).await;
        let key = format!("attrs:{}", segment());
        cache.set_later(
            key.clone(),
            Bytes::from(encode_attributes(lie, 0)),
            Duration::ZERO,
        );
        let body = bucket.get_range(&segment(), 40_000, 60_000).await.unwrap();
        assert_eq!(body.bytes, content().slice(40_000..), "{lie}");
        let kept = decode_attributes(&cache.0.lock()[&key]).unwrap();
        assert_eq!(kept.0, 95_000, "{lie}");
    }
}

#[tokio::test]
async fn metas_and_marks_are_kept_for_others_and_never_believed() {
    let (bucket, _, cache) = bucket(3).await;
    let (meta, mark) = (
        format!("{BLOCK}/meta.json"),
        format!("{BLOCK}/deletion-mark.json"),
    );
    let is_right = async || {
        let content = bucket.get_all(&meta, 1000).await.unwrap();
        assert_eq!(content, format!(r#"{{"ulid":"{BLOCK}"}}"#));
        assert!(bucket.get_all_if_present(&mark, 1000).await.unwrap().is_none());
        assert!(bucket.get(&mark).await.unwrap_err().is_not_found());
        assert!(bucket.exists(&meta).await.unwrap() && !bucket.exists(&mark).await.unwrap());
    };
    is_right().await;
    let kept = |key: String| cache.0.lock().get(&key).cloned().unwrap();
    assert_eq!(
        kept(format!("content:{meta}")),
        format!(r#"{{"ulid":"{BLOCK}"}}"#)
    );
    assert_eq!(
        (kept(format!("exists:{meta}")), kept(format!("exists:{mark}"))),
        (Bytes::from_static(b"true"), Bytes::from_static(b"false"))
    );
    let another = format!(r#"{{"ulid":"{BLOCK}","minTime":7}}"#);
    let marked = format!(r#"{{"id":"{BLOCK}","version":1,"deletion_time":1}}"#);
    for (key, value) in [
        (format!("content:{meta}"), another),
        (format!("exists:{meta}"), "false".to_owned()),
        (format!("content:{mark}"), marked),
        (format!("exists:{mark}"), "true".to_owned()),
    ] {
        cache.set_later(key, Bytes::from(value), Duration::ZERO);
    }
    is_right().await;
}

#[tokio::test]
async fn the_root_is_kept_for_others_and_never_believed() {
    let (bucket, _, cache) = bucket(3).await;
    let root = async || bucket.list_all("", false, 10).await.unwrap();
    assert_eq!(root().await, [ListEntry::Dir(format!("{BLOCK}/"))]);
    assert_eq!(
        cache.0.lock().get("iter::7").unwrap(),
        &format!(r#"["{BLOCK}/"]"#)
    );
    cache.set_later("iter::7".to_owned(), Bytes::from_static(b"[]"), Duration::ZERO);
    assert_eq!(root().await, [ListEntry::Dir(format!("{BLOCK}/"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_bucket_like_any_other() {
    let inner: SharedBucket = Arc::new(MemoryBucket::new("b"));
    let cache: SharedCache = Arc::new(Map::default());
    let caching = CachingBucket::new(
        inner,
        cache,
        CachingConfig::default(),
        String::new(),
        &Registry::new(),
    );
    conformance::run(Arc::new(caching)).await;
}

proptest! {
    #[test]
    fn any_range_is_that_of_the_object(
        reads in proptest::collection::vec((0u64..95_000, 1u64..95_000), 1..12),
        forgotten in proptest::collection::vec(0u64..10, 0..6), most in 0usize..4,
    ) {
        futures::executor::block_on(async {
            let (bucket, _, cache) = bucket(most).await;
            for (number, (offset, len)) in reads.into_iter().enumerate() {
                if let Some(piece) = forgotten.get(number) {
                    let prefix = format!("subrange:{}:{}:", segment(), piece * 10_000);
                    cache.0.lock().retain(|key, _| !key.starts_with(&prefix));
                }
                let end = (offset + len).min(95_000);
                let body = bucket.get_range(&segment(), offset, len).await.unwrap();
                prop_assert_eq!(body.bytes, content().slice(offset as usize..end as usize));
            }
            Ok(())
        })?;
    }
}
