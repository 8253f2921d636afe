//! Blocks whose files are not those their `meta.json` names.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use sabre_objstore::{Bucket, ErrorKind, GetBody, ListEntry, ObjectMeta, Operation, RangeBody, UploadSource};
use sabre_testkit::fault::{Fault, Rule};

use super::{
    super::*,
    fixture::{Fixture, NOW_MS, id, ids},
};
use crate::layout::key;

#[tokio::test]
async fn a_block_without_its_index_or_a_segment_is_not_served_until_it_is_whole() {
    for file in ["index", "chunks/000001"] {
        let fixture = Fixture::new();
        fixture.add_block(id(1)).await;
        fixture.add_block(id(2)).await;
        fixture.delete(id(1), file).await;
        let fetcher = fixture.fetcher();
        let view = fetcher.sync(NOW_MS).await.unwrap();
        assert_eq!(ids(&view), [id(2)]);
        assert_eq!(view.incomplete[&id(1)].missing, [file]);
        assert!(view.is_complete(), "the view is: it knows that the block is not");
        assert_eq!(
            fixture.bucket.count(Operation::Iter),
            2,
            "it was looked at twice before it was judged"
        );
        fixture.bucket.heal();
        fetcher.sync(NOW_MS).await.unwrap();
        assert_eq!(
            fixture.bucket.count(Operation::Iter),
            1,
            "and is judged at once from then on"
        );

        fixture.add_block(id(1)).await;
        let view = fetcher.sync(NOW_MS).await.unwrap();
        assert_eq!(ids(&view), [id(1), id(2)]);
        assert!(view.incomplete.is_empty());
    }
}

#[tokio::test]
async fn a_file_of_another_size_is_told_but_served() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    fixture.put(id(1), "index", "another index").await;
    let view = fixture.sync().await;
    assert_eq!(ids(&view), [id(1)]);
    assert_eq!(
        view.incomplete[&id(1)].to_string(),
        "index has 13 bytes instead of 5"
    );
    assert_eq!(fixture.bucket.count(Operation::Iter), 1);
}

#[tokio::test]
async fn what_cannot_be_confirmed_makes_the_view_incomplete() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    fixture.delete(id(1), "index").await;
    let list_of_block = Rule::next(Operation::Iter, Fault::Error(ErrorKind::Timeout)).on(&id(1).to_string());
    fixture.bucket.add(list_of_block);
    let view = fixture.sync().await;
    assert_eq!(ids(&view), []);
    assert!(view.failures[&id(1)].is_retryable());
}

#[tokio::test]
async fn a_block_that_came_whole_while_the_listing_ran_is_served() {
    let fixture = Fixture::new();
    fixture.add_block(id(1)).await;
    let late = key(id(1), "chunks/000001");
    let bucket = Arc::new(Paged {
        inner: fixture.bucket.clone(),
        late,
        listings: AtomicUsize::new(0),
    });
    let options = FetcherOptions::default();
    let fetcher = MetaFetcher::new(
        Arc::<Paged>::clone(&bucket),
        options,
        FilterChain::default(),
        FetcherMetrics::default(),
    );
    let view = fetcher.sync(NOW_MS).await.unwrap();
    assert_eq!(ids(&view), [id(1)]);
    assert!(view.incomplete.is_empty());
    assert_eq!(
        view.listing.get(id(1)).unwrap().segments.len(),
        1,
        "the view has what was found then"
    );
    assert_eq!(bucket.listings.load(Ordering::Relaxed), 2);
}

/// A bucket to which an object comes after the page that would have named it.
#[derive(Debug)]
struct Paged {
    inner: sabre_testkit::fault::FaultBucket,
    late: String,
    listings: AtomicUsize,
}

#[async_trait]
impl Bucket for Paged {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn list(
        &self,
        prefix: &str,
        recursive: bool,
    ) -> sabre_objstore::Result<BoxStream<'_, sabre_objstore::Result<ListEntry>>> {
        let is_first = self.listings.fetch_add(1, Ordering::Relaxed) == 0;
        let entries: Vec<_> = self.inner.list(prefix, recursive).await?.collect().await;
        let is_seen = move |entry: &sabre_objstore::Result<ListEntry>| {
            !is_first || entry.as_ref().is_ok_and(|entry| entry.key() != self.late)
        };
        Ok(stream::iter(entries.into_iter().filter(is_seen).collect::<Vec<_>>()).boxed())
    }

    async fn get(&self, key: &str) -> sabre_objstore::Result<GetBody> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> sabre_objstore::Result<RangeBody> {
        self.inner.get_range(key, offset, len).await
    }

    async fn attributes(&self, key: &str) -> sabre_objstore::Result<ObjectMeta> {
        self.inner.attributes(key).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> sabre_objstore::Result<()> {
        self.inner.put(key, bytes).await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> sabre_objstore::Result<()> {
        self.inner.upload(key, source).await
    }

    async fn delete(&self, key: &str) -> sabre_objstore::Result<()> {
        self.inner.delete(key).await
    }
}
