use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use sabre_cache::{Hits, RemoteCache, SharedCache};
use sabre_model::MatchKind;
use sabre_runtime::{budget::Budget, metrics::Registry};

use super::{codec::Codec, *};

/// A cache that keeps everything and can be made to lie.
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

fn block() -> BlockId {
    "01D78XZ44G0000000000000000".parse().unwrap()
}

fn remote(codec: Codec, enabled: EnabledItems) -> (IndexCache, Arc<Map>, Registry) {
    let (map, registry) = (Arc::new(Map::default()), Registry::new());
    let shared: SharedCache = Arc::<Map>::clone(&map);
    let cache = IndexCache {
        backend: Backend::Remote(RemoteIndexCache::new(shared, codec, Duration::from_secs(1))),
        enabled,
        metrics: IndexCacheMetrics::register(&registry),
    };
    (cache, map, registry)
}

fn place(name: &str, value: &str, count: u64) -> ListPlace {
    ListPlace {
        offset: 64,
        count,
        last_ref: u32::MAX,
        name: Some(ListName::new(name, value)),
    }
}

fn matchers() -> Vec<Matcher> {
    vec![Matcher::new(MatchKind::Eq, "a", "1").unwrap()]
}

#[tokio::test]
async fn a_shared_cache_gives_back_what_was_put_in() {
    let (cache, map, registry) = remote(Codec::Snappy, EnabledItems::ALL);
    let refs = SeriesRefs::from_sorted([4, 9, 1000]);
    let list = place("a", "1", 3);
    assert!(cache.wants_names() && cache.expanded_here(block(), &matchers()).is_none());
    assert_eq!(cache.postings(block(), &[list]).await, [None]);
    cache.keep_postings(block(), &list, &refs);
    cache.keep_expanded(block(), &matchers(), &refs);
    assert_eq!(
        cache.postings(block(), &[place("a", "2", 3), list]).await,
        [None, Some(refs.clone())]
    );
    assert_eq!(
        cache.expanded_elsewhere(block(), &matchers(), 3).await,
        Some(refs)
    );
    let keys: Vec<String> = map.0.lock().keys().cloned().collect();
    assert!(
        keys.iter()
            .any(|key| key.starts_with("P:01D78XZ44G0000000000000000:") && key.ends_with(":dss"))
    );
    assert!(
        keys.iter()
            .any(|key| key.starts_with("EP:01D78XZ44G0000000000000000:") && key.ends_with(":dss"))
    );
    let text = registry.classic();
    let hits = "thanos_store_index_cache_hits_total{item_type=\"Postings\",tenant=\"default-tenant\"} 1\n";
    assert!(text.contains(hits), "{text}");
}

#[tokio::test]
async fn a_list_of_another_length_than_the_index_says_is_a_miss() {
    let (cache, _, _) = remote(Codec::Snappy, EnabledItems::ALL);
    let list = place("a", "1", 3);
    cache.keep_postings(block(), &list, &SeriesRefs::from_sorted([4, 9]));
    assert_eq!(cache.postings(block(), &[list]).await, [None]);
    cache.keep_expanded(block(), &matchers(), &SeriesRefs::from_sorted([1, 2, 3]));
    assert_eq!(cache.expanded_elsewhere(block(), &matchers(), 2).await, None);
}

#[tokio::test]
async fn garbage_is_a_miss() {
    let (cache, map, _) = remote(Codec::Snappy, EnabledItems::ALL);
    let list = place("a", "1", 2);
    cache.keep_postings(block(), &list, &SeriesRefs::from_sorted([4, 9]));
    cache.keep_expanded(block(), &matchers(), &SeriesRefs::from_sorted([4, 9]));
    map.0.lock().insert(
        "S:01D78XZ44G0000000000000000:64".to_owned(),
        Bytes::from_static(b"garbage"),
    );
    for lie in [
        &b""[..],
        b"dss",
        b"dssgarbage",
        b"dvs\x02\x04\x04\x05",
        b"\xff\xff",
    ] {
        for value in map.0.lock().values_mut() {
            *value = Bytes::copy_from_slice(lie);
        }
        assert_eq!(cache.postings(block(), &[list]).await, [None], "{lie:?}");
        assert_eq!(
            cache.expanded_elsewhere(block(), &matchers(), 10).await,
            None,
            "{lie:?}"
        );
        assert_eq!(cache.entries(block(), &[64]).await, [None], "{lie:?}");
    }
}

#[tokio::test]
async fn zstd_lists_have_keys_of_their_own() {
    let (cache, map, _) = remote(Codec::Zstd, EnabledItems::ALL);
    let refs = SeriesRefs::from_sorted(1..=50_000);
    let list = place("a", "1", 50_000);
    cache.keep_postings(block(), &list, &refs);
    assert_eq!(cache.postings(block(), &[list]).await, [Some(refs)]);
    let map = map.0.lock();
    let (key, value) = map.iter().next().unwrap();
    assert!(
        key.ends_with(":sabre-zstd") && value.len() < 1000,
        "{key} {}",
        value.len()
    );
}

#[tokio::test]
async fn what_is_not_enabled_is_neither_asked_for_nor_kept() {
    let none = EnabledItems {
        postings: false,
        expanded: false,
        series: false,
    };
    let (cache, map, _) = remote(Codec::Snappy, none);
    let refs = SeriesRefs::from_sorted([4]);
    cache.keep_expanded(block(), &matchers(), &refs);
    assert!(!cache.keeps_postings() && !cache.has_entries() && !cache.wants_names());
    assert_eq!(cache.postings(block(), &[place("a", "1", 1)]).await, [None]);
    assert!(map.0.lock().is_empty());
}

#[tokio::test]
async fn memory_gives_back_what_was_put_in() {
    let cache = IndexCache::in_memory(1 << 20, &Budget::unlimited(), &Registry::new());
    let refs = SeriesRefs::from_sorted([4, 9, 1000]);
    let list = ListPlace {
        offset: 64,
        last_ref: u32::MAX,
        count: 3,
        name: None,
    };
    cache.keep_postings(block(), &list, &refs);
    cache.keep_expanded(block(), &matchers(), &refs);
    assert_eq!(cache.postings(block(), &[list]).await, [Some(refs.clone())]);
    assert_eq!(cache.expanded_here(block(), &matchers()), Some(refs));
    let other = [Matcher::new(MatchKind::Neq, "a", "1").unwrap()];
    assert_eq!(cache.expanded_here(block(), &other), None);
}

#[tokio::test]
async fn a_list_is_believed_under_its_own_key_and_with_a_seal_only() {
    for codec in [Codec::Snappy, Codec::Zstd] {
        let (cache, map, _) = remote(codec, EnabledItems::ALL);
        let lists = [place("a", "1", 2), place("a", "2", 2)];
        let refs = [[4, 9], [5, 7]].map(SeriesRefs::from_sorted);
        for (list, refs) in lists.iter().zip(&refs) {
            cache.keep_postings(block(), list, refs);
        }
        let own = cache.postings(block(), &lists).await;
        assert_eq!(own, refs.clone().map(Some), "{codec:?}");
        let behind = ListPlace {
            last_ref: 8,
            ..lists[0]
        };
        assert_eq!(
            cache.postings(block(), &[behind]).await,
            [None],
            "a reference behind the index"
        );
        // Values that Thanos would write: the same without a seal.
        let sealed = map.0.lock().clone();
        for value in map.0.lock().values_mut() {
            *value = value.slice(..value.len() - 8);
        }
        assert_eq!(cache.postings(block(), &lists).await, [None, None], "{codec:?}");
        // Each under the key of the other.
        let values: Vec<Bytes> = sealed.values().cloned().collect();
        let swapped = sealed.keys().cloned().zip(values.into_iter().rev());
        *map.0.lock() = swapped.collect();
        assert_eq!(cache.postings(block(), &lists).await, [None, None], "{codec:?}");
    }
}
