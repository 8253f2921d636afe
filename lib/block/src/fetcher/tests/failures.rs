//! What goes wrong with one block is told of that block.

use sabre_objstore::{ErrorKind, Operation};
use sabre_testkit::fault::{Fault, Rule};

use super::{
    super::*,
    fixture::{Fixture, NOW_MS, id, ids},
};

fn throttled(operation: Operation) -> Rule {
    Rule::next(operation, Fault::Error(ErrorKind::Throttled))
}

#[tokio::test]
async fn a_listing_that_fails_fails_the_sync() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    let fetcher = fixture.fetcher();
    for fault in [Fault::Error(ErrorKind::AccessDenied), Fault::Truncate] {
        fixture.bucket.add(Rule::next(Operation::Iter, fault));
        let error = fetcher.sync(NOW_MS).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot find out which blocks there are: iter of"),
            "{error}"
        );
    }
    assert_eq!(fixture.metrics.sync_failures.get(), 2);
    assert_eq!(ids(&fetcher.sync(NOW_MS).await.unwrap()), [id(1)]);
    assert_eq!(fixture.metrics.syncs.get(), 3);
}

#[tokio::test]
async fn a_meta_that_cannot_be_read_makes_the_view_incomplete_and_hides_no_other_block() {
    let fixture = Fixture::new();
    for n in 1..=3 {
        fixture.add_block(id(n)).await;
    }
    let fetcher = fixture.fetcher();
    fixture
        .bucket
        .add(throttled(Operation::Get).on(&id(2).to_string()));
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!(ids(&view), [id(1), id(3)]);
    assert!(!view.is_complete());
    assert!(view.failures[&id(2)].is_retryable());
    assert!(
        !view.partial.contains_key(&id(2)),
        "it is not known to be partial"
    );
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!(ids(&view), [id(1), id(2), id(3)]);
    assert!(view.is_complete());
}

#[tokio::test]
async fn a_meta_that_went_between_listing_and_reading_makes_a_block_partial() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    fixture
        .bucket
        .add(Rule::next(Operation::Get, Fault::Error(ErrorKind::NotFound)));
    let view = fixture.sync().await;
    assert_eq!(view.partial[&id(1)].reason, PartialReason::NoMeta);
    assert!(view.is_complete());
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_makes_the_view_incomplete_and_the_block_stays() {
    let fixture = Fixture::new();
    for n in 1..=2 {
        fixture.add_block(id(n)).await;
        fixture.mark(id(n), 5).await;
    }
    let fetcher = fixture.fetcher();
    fixture
        .bucket
        .add(throttled(Operation::Get).on("deletion-mark.json"));
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!(ids(&view), [id(1), id(2)]);
    assert_eq!((view.failures.len(), view.marks.deletion.len()), (1, 1));
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!((view.failures.len(), view.marks.deletion.len()), (0, 2));
}

#[tokio::test]
async fn a_mark_of_an_unknown_version_makes_the_view_incomplete() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    fixture.put(id(1), "deletion-mark.json", r#"{"version":2}"#).await;
    let view = fixture.sync().await;
    assert!(view.failures[&id(1)].to_string().contains("version 2"));
    assert_eq!(ids(&view), [id(1)]);
}

#[tokio::test]
async fn a_block_that_cannot_be_asked_about_makes_the_view_incomplete_and_keeps_its_cache() {
    let mut fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    fixture.options.strategy = DiscoveryStrategy::Concurrent;
    fixture.options.data_dir = Some(dir.path().to_owned());
    fixture.options.marks = Vec::new();
    fixture.add_block(id(1)).await;
    fixture.add_block(id(2)).await;
    let fetcher = fixture.fetcher();
    fetcher.sync(NOW_MS).await.unwrap();
    fixture
        .bucket
        .add(throttled(Operation::Attributes).on(&id(1).to_string()));
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!(ids(&view), [id(2)]);
    assert!(view.failures.contains_key(&id(1)));
    fixture.bucket.heal();
    assert_eq!(ids(&fetcher.sync(NOW_MS).await.unwrap()), [id(1), id(2)]);
    assert_eq!(fixture.bucket.count(Operation::Get), 0);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_costs_nothing_but_requests() {
    let mut fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file");
    std::fs::write(&file, "").unwrap();
    fixture.options.data_dir = Some(file);
    fixture.add_block(id(1)).await;
    assert_eq!(ids(&fixture.sync().await), [id(1)]);
}

#[tokio::test]
async fn what_is_wrong_is_told_once() {
    let fixture = Fixture::new();
    fixture.put(id(1), "meta.json", "{").await;
    fixture.add_block(id(2)).await;
    fixture.delete(id(2), "index").await;
    let fetcher = fixture.fetcher();
    let view = fetcher.sync(NOW_MS).await.unwrap();
    let mut memory = fetcher.memory.lock().await;
    assert_eq!(memory.news(&view), [], "the sync has told it");
    memory.logged.clear();
    let mut news = memory.news(&view);
    news.sort();
    assert_eq!((news[0].0, news[1].0), (id(1), id(2)));
    assert!(
        news[0]
            .1
            .starts_with("the block is not used: meta.json cannot be read"),
        "{news:?}"
    );
    assert_eq!(news[1].1, "the block is not used: index is missing");
}
