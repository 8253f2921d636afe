//! What every bucket must do, as a suite that runs on any of them.
//!
//! The cases panic with what is wrong, as tests do. They keep to a directory of their own, which is empty afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "these are tests that happen to be public"
)]

mod list;
mod read;
mod write;

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Bucket, BucketExt, ListEntry, Prefixed, SharedBucket, UploadSource};

/// More than two parts of the smallest size that S3 allows.
const LARGE_BYTES: usize = (11 << 20) + 7;

/// How many requests the suite has under way at once.
const CONCURRENCY: usize = 16;

/// Runs all cases.
pub async fn run(bucket: SharedBucket) {
    let directory = format!("conformance-{:016x}", rand::random::<u64>());
    let outside: SharedBucket = Arc::clone(&bucket);
    let bucket = Prefixed::wrap(bucket, &directory).unwrap();
    let bucket = &*bucket;

    read::absence_is_told_from_failure(bucket).await;
    read::whole_objects(bucket).await;
    read::ranges(bucket).await;
    read::attributes(bucket).await;
    read::invalid_keys(bucket).await;
    list::one_level(bucket).await;
    list::recursive(bucket).await;
    list::unusual_keys(bucket).await;
    list::more_than_a_page(bucket).await;
    write::overwriting(bucket).await;
    write::deleting(bucket).await;
    write::uploads_of_all_kinds(bucket).await;
    write::a_failing_upload_leaves_nothing(bucket).await;
    write::a_dropped_upload_leaves_nothing(bucket).await;
    write::many_at_once(bucket).await;
    write::readers_see_whole_objects(bucket).await;

    assert_eq!(keys(bucket, "", true).await, [""; 0], "the cases clean up");
    assert_eq!(
        keys(&*outside, &directory, false).await,
        [""; 0],
        "an empty directory is none"
    );
}

async fn keys(bucket: &dyn Bucket, prefix: &str, recursive: bool) -> Vec<String> {
    let entries = bucket.list_all(prefix, recursive, 100_000).await.unwrap();
    entries.iter().map(|entry| entry.key().to_owned()).collect()
}

async fn put(bucket: &dyn Bucket, key: &str, bytes: &'static [u8]) {
    bucket.put(key, Bytes::from_static(bytes)).await.unwrap();
}

async fn put_all(bucket: &dyn Bucket, keys: &[String]) {
    let puts = keys.iter().map(|key| bucket.put(key, Bytes::from(key.clone())));
    stream::iter(puts)
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
        .unwrap();
}

async fn delete_all(bucket: &dyn Bucket, prefix: &str) {
    let entries = bucket.list_all(prefix, true, 100_000).await.unwrap();
    let deletes = entries.iter().map(|entry| bucket.delete(entry.key()));
    stream::iter(deletes)
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
        .unwrap();
}

/// Bytes of which no two stretches look alike.
fn content(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

/// `bytes` in pieces of a size that divides nothing.
fn pieces(mut bytes: Bytes) -> impl Iterator<Item = io::Result<Bytes>> + Send {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(99_991));
        (!piece.is_empty()).then_some(Ok(piece))
    })
}

fn source(bytes: Bytes, size_bytes: Option<u64>) -> UploadSource {
    UploadSource::Stream {
        stream: stream::iter(pieces(bytes)).boxed(),
        size_bytes,
    }
}

fn dir(key: &str) -> ListEntry {
    ListEntry::Dir(key.to_owned())
}
