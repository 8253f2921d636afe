//! Headers come from disk if they can, and from the bucket if they must.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use sabre_model::Labels;
use sabre_objstore::{Bucket, MemoryBucket};

use super::{
    super::*,
    fixture::{assert_equal, block, bucket_with, expected_header, index_v2, many_series},
};
use crate::layout::{INDEX_FILE, key};

fn loader(bucket: &Arc<MemoryBucket>, dir: Option<&Path>) -> HeaderLoader {
    let pages = PageCache::new(1 << 20);
    let bucket = Arc::<MemoryBucket>::clone(bucket);
    HeaderLoader::new(bucket, dir.map(Path::to_owned), pages, HeaderOptions::default())
}

#[tokio::test]
async fn the_file_is_that_of_thanos_to_the_byte() {
    let index = index_v2(&many_series(100));
    let bucket = bucket_with(&index).await;
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let built = loader.load(block(), None).await.unwrap();
    assert!(built.build.is_some());
    let path = dir.path().join(block().to_string()).join("index-header");
    assert_eq!(loader.path(block()), Some(path.clone()));
    assert_eq!(fs::read(&path).unwrap(), expected_header(&index));
    assert_equal(&built.header, &index);
    let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "no temporary file stays behind");

    // Whatever the bucket holds now: it is not asked.
    bucket.delete(&key(block(), INDEX_FILE)).await.unwrap();
    let opened = loader.load(block(), Some(index.len() as u64)).await.unwrap();
    assert!(opened.build.is_none());
    assert_equal(&opened.header, &index);

    loader.remove(block()).await.unwrap();
    loader.remove(block()).await.unwrap();
    assert!(!path.exists());
    assert_equal(&opened.header, &index);
}

#[tokio::test]
async fn a_large_index_is_read_in_parts() {
    // The symbols alone are several parts long.
    let series: Vec<_> = (0..1200)
        .map(|n| Labels::from_pairs([("a", format!("{n:05}{}", "x".repeat(8_000)))]).unwrap())
        .collect();
    let index = index_v2(&series);
    let bucket = bucket_with(&index).await;
    for dir in [None, Some(tempfile::tempdir().unwrap())] {
        let loader = loader(&bucket, dir.as_ref().map(|dir| dir.path()));
        let loaded = loader.load(block(), Some(index.len() as u64)).await.unwrap();
        assert_eq!(loaded.header.size_bytes(), expected_header(&index).len() as u64);
        assert_equal(&loaded.header, &index);
    }
}

#[tokio::test]
async fn a_broken_file_is_built_again() {
    let index = index_v2(&many_series(100));
    let bucket = bucket_with(&index).await;
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let path = loader.path(block()).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let good = expected_header(&index);
    let flipped: Vec<_> = good
        .iter()
        .enumerate()
        .map(|(n, byte)| byte ^ u8::from(n == 100))
        .collect();
    for broken in [&[][..], b"nonsense", &good[..good.len() / 2], &flipped] {
        fs::write(&path, broken).unwrap();
        let loaded = loader.load(block(), None).await.unwrap();
        assert!(loaded.build.is_some());
        assert_eq!(fs::read(&path).unwrap(), good);
    }
}

#[tokio::test]
async fn a_file_made_from_another_index_is_built_again() {
    let (old, new) = (index_v2(&many_series(50)), index_v2(&many_series(51)));
    let bucket = bucket_with(&new).await;
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let path = loader.path(block()).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, expected_header(&old)).unwrap();
    let loaded = loader.load(block(), Some(new.len() as u64)).await.unwrap();
    assert!(loaded.build.is_some());
    assert_equal(&loaded.header, &new);
}

#[tokio::test]
async fn what_a_stopped_builder_left_is_no_hindrance() {
    let index = index_v2(&many_series(10));
    let bucket = bucket_with(&index).await;
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let path = loader.path(block()).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.with_extension("tmp"), "half a header").unwrap();
    assert_equal(&loader.load(block(), None).await.unwrap().header, &index);
    assert!(!path.with_extension("tmp").exists());
}

#[tokio::test]
async fn nothing_stays_behind_when_the_bucket_fails() {
    let bucket = Arc::new(MemoryBucket::new("empty"));
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    assert!(loader.load(block(), Some(1000)).await.unwrap_err().is_gone());
    assert_eq!(
        fs::read_dir(dir.path().join(block().to_string()))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn directories_of_other_blocks_are_removed_and_nothing_else() {
    let bucket = Arc::new(MemoryBucket::new("b"));
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let other = BlockId::from_parts(1, [1; 10]);
    for name in [block().to_string(), other.to_string(), "meta-syncer".to_owned()] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    loader
        .retain(std::collections::HashSet::from([block()]))
        .await
        .unwrap();
    assert!(dir.path().join(block().to_string()).exists());
    assert!(!dir.path().join(other.to_string()).exists());
    assert!(dir.path().join("meta-syncer").exists());
    fs::remove_dir_all(dir.path()).unwrap();
    loader.retain(std::collections::HashSet::new()).await.unwrap();
}

#[tokio::test]
async fn an_index_of_version_3_is_read_as_2() {
    let mut index = index_v2(&many_series(10));
    let as_v2 = expected_header(&index);
    index[4] = 3;
    let bucket = bucket_with(&index).await;
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let loaded = loader.load(block(), None).await.unwrap();
    assert_eq!(loaded.header.index_version(), sabre_tsdb::index::Version::V2);
    assert_eq!(fs::read(loader.path(block()).unwrap()).unwrap(), as_v2);
}

/// Room for so many bytes.
#[derive(Debug)]
struct SmallRoom(AtomicU64);

impl Room for SmallRoom {
    fn take(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    fn give(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn memory_is_taken_before_a_header_is_built_and_kept() {
    const ROOM_BYTES: u64 = 8 << 20;
    let index = index_v2(&many_series(2000));
    let bucket = bucket_with(&index).await;
    for dir in [None, Some(tempfile::tempdir().unwrap())] {
        let loader = loader(&bucket, dir.as_ref().map(|dir| dir.path()));
        let size_bytes = Some(index.len() as u64);
        let none: SharedRoom = Arc::new(SmallRoom(AtomicU64::new(0)));
        let refused = loader.load_within(block(), size_bytes, &none).await.unwrap_err();
        assert!(
            matches!(refused.cause(), crate::Cause::NoMemory { bytes } if *bytes > 0),
            "{refused}"
        );
        assert!(refused.is_retryable() && refused.to_string().contains("no memory is free for"));
        let some = Arc::new(SmallRoom(AtomicU64::new(ROOM_BYTES)));
        let shared: SharedRoom = Arc::<SmallRoom>::clone(&some);
        let loaded = loader.load_within(block(), size_bytes, &shared).await.unwrap();
        let taken = ROOM_BYTES - some.0.load(Ordering::Relaxed);
        assert!(taken >= loaded.header.memory_bytes() as u64, "{taken} bytes");
        if dir.is_some() {
            // One that is on disk already is not opened without memory either.
            let refused = loader.load_within(block(), size_bytes, &none).await.unwrap_err();
            assert!(
                matches!(refused.cause(), crate::Cause::NoMemory { .. }),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn builders_at_once_do_not_touch_each_others_files() {
    let index = index_v2(&many_series(2000));
    let bucket = bucket_with(&index).await;
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let builds = (0..8).map(|_| {
        let loader = loader.clone();
        tokio::spawn(async move { loader.build(block(), None).await })
    });
    for built in futures::future::join_all(builds).await {
        assert_equal(&built.unwrap().unwrap().header, &index);
    }
    let files = fs::read_dir(dir.path().join(block().to_string())).unwrap();
    assert_eq!(files.count(), 1, "no temporary file stays behind");
}

/// Room for what is asked for first, which is what is on its way.
#[derive(Debug, Default)]
struct WindowOnly {
    is_asked: AtomicBool,
    held_bytes: AtomicU64,
}

impl Room for WindowOnly {
    fn take(&self, bytes: u64) -> bool {
        let is_first = !self.is_asked.swap(true, Ordering::Relaxed);
        if is_first {
            self.held_bytes.store(bytes, Ordering::Relaxed);
        }
        is_first
    }

    fn give(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn what_there_is_no_memory_to_open_is_not_downloaded_again() {
    let index = index_v2(&many_series(2000));
    let bucket = bucket_with(&index).await;
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(&bucket, Some(dir.path()));
    let size_bytes = Some(index.len() as u64);
    let room = Arc::new(WindowOnly::default());
    let shared: SharedRoom = Arc::<WindowOnly>::clone(&room);
    let refused = loader
        .load_within(block(), size_bytes, &shared)
        .await
        .unwrap_err();
    assert!(
        matches!(refused.cause(), crate::Cause::NoMemory { .. }),
        "{refused}"
    );
    assert_eq!(room.held_bytes.load(Ordering::Relaxed), 0, "it is given back");
    assert!(loader.path(block()).unwrap().exists());
    bucket.delete(&key(block(), INDEX_FILE)).await.unwrap();
    let opened = loader.load(block(), size_bytes).await.unwrap();
    assert_equal(&opened.header, &index);
}
