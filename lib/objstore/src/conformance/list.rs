//! Listing: one level or all, in order, however many there are and whatever they are called.

use super::{Bucket, BucketExt, delete_all, dir, keys, put, put_all};
use crate::ListEntry;

pub(super) async fn one_level(bucket: &dyn Bucket) {
    assert_eq!(keys(bucket, "", false).await, [""; 0]);
    for key in ["l/b/1", "l/b/2/x", "l/a", "l/c", "l/b.txt", "l/b0", "lx/y", "l-x"] {
        put(bucket, key, b"12").await;
    }
    assert_eq!(keys(bucket, "", false).await, ["l-x", "l/", "lx/"]);
    for prefix in ["l", "l/"] {
        assert_eq!(
            keys(bucket, prefix, false).await,
            ["l/a", "l/b.txt", "l/b/", "l/b0", "l/c"]
        );
    }
    assert_eq!(
        keys(bucket, "l/b", false).await,
        ["l/b/1", "l/b/2/"],
        "l/b.txt and l/b0 are not below l/b"
    );
    assert_eq!(
        keys(bucket, "l/a", false).await,
        [""; 0],
        "an object is no directory"
    );
    assert_eq!(keys(bucket, "missing/dir", false).await, [""; 0]);

    let found = bucket.list_all("l/b", false, 10).await.unwrap();
    let object = found.first().cloned().and_then(ListEntry::into_object).unwrap();
    assert_eq!(object.size_bytes, 2);
    assert_eq!(found.last(), Some(&dir("l/b/2/")));
    delete_all(bucket, "").await;
}

pub(super) async fn recursive(bucket: &dyn Bucket) {
    for key in ["r/b/1", "r/b/2/x", "r/a", "r/b.txt", "rx/y"] {
        put(bucket, key, b"12").await;
    }
    assert_eq!(
        keys(bucket, "r", true).await,
        ["r/a", "r/b.txt", "r/b/1", "r/b/2/x"]
    );
    assert_eq!(keys(bucket, "r/b/", true).await, ["r/b/1", "r/b/2/x"]);
    assert_eq!(
        keys(bucket, "", true).await,
        ["r/a", "r/b.txt", "r/b/1", "r/b/2/x", "rx/y"]
    );
    assert_eq!(keys(bucket, "missing", true).await, [""; 0]);
    assert!(
        bucket
            .list_all("", true, 100)
            .await
            .unwrap()
            .into_iter()
            .all(|e| e.into_object().is_some())
    );
    delete_all(bucket, "").await;
}

pub(super) async fn unusual_keys(bucket: &dyn Bucket) {
    let mut all: Vec<String> = [
        "u/with space",
        "u/plus+plus",
        "u/percent%2Fpercent%",
        "u/amp&lt;<>\"'",
        "u/equals=semicolon;comma,",
        "u/question?hash#",
        "u/ümläut",
        "u/日本語/ファイル",
        "u/emoji-🦀",
        "u/~tilde!star*(paren)",
        "u/colon:at@dollar$",
        "u/..dots...",
        "u/ leading",
    ]
    .map(str::to_owned)
    .to_vec();
    put_all(bucket, &all).await;
    all.sort();
    assert_eq!(keys(bucket, "u", true).await, all);
    let level: Vec<String> = all.iter().map(|key| key.replace("/ファイル", "/")).collect();
    assert_eq!(keys(bucket, "u", false).await, level);
    for key in &all {
        assert_eq!(bucket.get_all(key, 100).await.unwrap(), key, "{key}");
        assert!(bucket.exists(key).await.unwrap(), "{key}");
    }
    assert_eq!(keys(bucket, "u/日本語", false).await, ["u/日本語/ファイル"]);
    delete_all(bucket, "u").await;
}

pub(super) async fn more_than_a_page(bucket: &dyn Bucket) {
    // Together more than a page of the usual 1,000, directories and objects by turns.
    let mut all: Vec<String> = (0..600)
        .flat_map(|n| [format!("p/{n:04}/f"), format!("p/{n:04}.f")])
        .collect();
    put_all(bucket, &all).await;
    all.sort();
    assert_eq!(keys(bucket, "p", true).await, all);
    let mut level: Vec<String> = all.iter().map(|key| key.replace("/f", "/")).collect();
    level.sort();
    assert_eq!(keys(bucket, "p", false).await, level);
    let error = bucket.list_all("p", true, 1199).await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
    delete_all(bucket, "p").await;
}
