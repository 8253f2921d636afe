//! Requests are money.

use std::fs;

use sabre_objstore::{
    Operation,
    Operation::{Attributes, Exists, Get, Iter},
};

use super::{
    super::*,
    fixture::{Fixture, NOW_MS, WRITTEN_MS, id, ids, meta},
};

/// How many requests of each operation a sync makes.
async fn costs(fixture: &Fixture, fetcher: &MetaFetcher) -> Vec<(Operation, usize)> {
    fixture.bucket.heal();
    fetcher.sync(NOW_MS).await.unwrap();
    let count = |operation| (operation, fixture.bucket.count(operation));
    let counts = Operation::ALL.into_iter().map(count);
    counts.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn a_sync_is_one_listing_and_one_get_for_what_is_new() {
    let fixture = Fixture::new();
    for n in 1..=40 {
        fixture.add_block(id(n)).await;
    }
    fixture.mark(id(7), 5).await;
    fixture.put(id(41), "index", "partial").await;
    let fetcher = fixture.fetcher();
    assert_eq!(costs(&fixture, &fetcher).await, [(Iter, 1), (Get, 41)]);
    assert_eq!(
        costs(&fixture, &fetcher).await,
        [(Iter, 1)],
        "nothing is read twice"
    );
    fixture.add_block(id(50)).await;
    assert_eq!(costs(&fixture, &fetcher).await, [(Iter, 1), (Get, 1)]);
}

#[tokio::test]
async fn the_concurrent_strategy_costs_what_it_costs() {
    let mut fixture = Fixture::new();
    fixture.options.strategy = DiscoveryStrategy::Concurrent;
    for n in 1..=3 {
        fixture.add_block(id(n)).await;
    }
    fixture.put(id(4), "index", "partial").await;
    let fetcher = fixture.fetcher();
    let of_each = |gets| vec![(Iter, 1), (Get, gets), (Attributes, 4)];
    assert_eq!(
        costs(&fixture, &fetcher).await,
        of_each(6),
        "a meta and a mark each"
    );
    assert_eq!(
        costs(&fixture, &fetcher).await,
        of_each(3),
        "marks can only be found by reading them"
    );
    assert_eq!(fixture.bucket.count(Exists), 0);
}

#[tokio::test]
async fn a_restart_reads_no_meta_that_is_on_disk() {
    let mut fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    fixture.options.data_dir = Some(dir.path().to_owned());
    for n in 1..=3 {
        fixture.add_block(id(n)).await;
    }
    assert_eq!(costs(&fixture, &fixture.fetcher()).await, [(Iter, 1), (Get, 3)]);
    assert_eq!(costs(&fixture, &fixture.fetcher()).await, [(Iter, 1)]);

    let cached = |n| {
        dir.path()
            .join("meta-syncer")
            .join(id(n).to_string())
            .join("meta.json")
    };
    fs::write(cached(2), "{ broken").unwrap();
    assert_eq!(costs(&fixture, &fixture.fetcher()).await, [(Iter, 1), (Get, 1)]);
    assert_eq!(
        costs(&fixture, &fixture.fetcher()).await,
        [(Iter, 1)],
        "it was written again"
    );

    for file in ["chunks/000001", "index", "meta.json"] {
        fixture.delete(id(3), file).await;
    }
    fixture.sync().await;
    assert!(!cached(3).parent().unwrap().exists());
    assert!(cached(1).exists());
}

#[tokio::test]
async fn a_file_of_thanos_counts_though_it_is_younger_than_the_object() {
    let mut fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    fixture.options.data_dir = Some(dir.path().to_owned());
    fixture.add_block(id(1)).await;
    let cached = dir.path().join("meta-syncer").join(id(1).to_string());
    fs::create_dir_all(&cached).unwrap();
    fs::write(cached.join("meta.json"), meta(id(1)).to_json()).unwrap();
    let fetcher = fixture.fetcher();
    assert_eq!(costs(&fixture, &fetcher).await, [(Iter, 1)]);
    assert_eq!(ids(&fetcher.sync(NOW_MS).await.unwrap()), [id(1)]);
}

#[tokio::test]
async fn a_meta_that_was_written_again_is_read_again() {
    for on_disk in [false, true] {
        let mut fixture = Fixture::new();
        let dir = tempfile::tempdir().unwrap();
        fixture.options.data_dir = on_disk.then(|| dir.path().to_owned());
        fixture.add_block(id(1)).await;
        let fetcher = fixture.fetcher();
        fetcher.sync(NOW_MS).await.unwrap();
        fixture.memory.set_now_ms(WRITTEN_MS + 5_000);
        let changed = BlockMeta {
            max_time: 77,
            ..meta(id(1))
        };
        fixture.put_bytes(id(1), "meta.json", changed.to_json()).await;
        let view = fetcher.sync(NOW_MS).await.unwrap();
        assert_eq!(view.metas[0].max_time, 77);
        assert_eq!(fixture.metrics.cache_busts.get(), 1);
        assert_eq!(fixture.sync().await.metas[0].max_time, 77, "on disk too");
    }
}

#[tokio::test]
async fn marks_are_read_once_and_forgotten_when_they_go() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    fixture.mark(id(1), 5).await;
    fixture.mark(id(2), 6).await;
    let fetcher = fixture.fetcher();
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!(view.marks.deletion[&id(1)].deletion_time_s, 5);
    assert_eq!(
        view.marks.deletion[&id(2)].deletion_time_s,
        6,
        "of a partial block too"
    );
    assert!(view.partial.contains_key(&id(2)));

    fixture.memory.set_now_ms(WRITTEN_MS + 5_000);
    fixture.mark(id(1), 7).await;
    fixture.delete(id(2), "deletion-mark.json").await;
    assert_eq!(costs(&fixture, &fetcher).await, [(Iter, 1), (Get, 1)]);
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!(view.marks.deletion.len(), 1);
    assert_eq!(view.marks.deletion[&id(1)].deletion_time_s, 7);
}

#[tokio::test]
async fn what_is_broken_is_read_once_too() {
    let fixture = Fixture::new();
    fixture.put(id(1), "meta.json", "{").await;
    fixture.put(id(1), "deletion-mark.json", "{").await;
    let fetcher = fixture.fetcher();
    assert_eq!(costs(&fixture, &fetcher).await, [(Iter, 1), (Get, 2)]);
    assert_eq!(costs(&fixture, &fetcher).await, [(Iter, 1)]);
    assert_eq!(fetcher.sync(NOW_MS).await.unwrap().marks, Marks::default());
}
