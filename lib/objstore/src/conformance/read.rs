//! Reading: what is there, what is not, and parts of it.

use super::{Bucket, BucketExt, Bytes, LARGE_BYTES, content, put, source};
use crate::ErrorKind;

pub(super) async fn absence_is_told_from_failure(bucket: &dyn Bucket) {
    put(bucket, "absence/dir/file", b"x").await;
    for key in [
        "absence/none",
        "absence/dir",
        "absence/dir/fil",
        "absence/dir/file/below",
        "nothing",
    ] {
        assert!(bucket.get(key).await.unwrap_err().is_not_found(), "get {key}");
        assert!(
            bucket.get_range(key, 0, 1).await.unwrap_err().is_not_found(),
            "get_range {key}"
        );
        assert!(
            bucket.attributes(key).await.unwrap_err().is_not_found(),
            "attributes {key}"
        );
        assert!(!bucket.exists(key).await.unwrap(), "exists {key}");
        assert!(
            bucket.get_if_present(key).await.unwrap().is_none(),
            "get_if_present {key}"
        );
        let error = bucket.get(key).await.unwrap_err();
        assert!(
            error.key().ends_with(key) && error.to_string().contains(key),
            "{error}"
        );
    }
    assert!(bucket.exists("absence/dir/file").await.unwrap());
    bucket.delete("absence/dir/file").await.unwrap();
    assert!(!bucket.exists("absence/dir/file").await.unwrap());
}

pub(super) async fn whole_objects(bucket: &dyn Bucket) {
    for len in [0, 1, 70_000, LARGE_BYTES] {
        let bytes = content(len);
        bucket
            .upload("whole", source(bytes.clone(), Some(len as u64)))
            .await
            .unwrap();
        let body = bucket.get("whole").await.unwrap();
        assert_eq!(body.size_bytes, len as u64);
        assert!(
            bucket.get_all("whole", len as u64).await.unwrap() == bytes,
            "{len} bytes"
        );
        assert!(
            bucket
                .get_all_if_present("whole", len as u64)
                .await
                .unwrap()
                .unwrap()
                == bytes
        );
    }
    let error = bucket.get_all("whole", 1000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    bucket.delete("whole").await.unwrap();
}

pub(super) async fn ranges(bucket: &dyn Bucket) {
    let bytes = content(100_000);
    bucket.put("ranges", bytes.clone()).await.unwrap();
    for (offset, len) in [
        (0_u64, 1_u64),
        (0, 100_000),
        (12_345, 54_321),
        (99_999, 1),
        (99_999, 2),
        (90_000, 20_000),
        (0, u64::MAX),
        (5, u64::MAX),
        (100_000, 1),
        (100_000, u64::MAX),
        (0, 0),
        (10, 0),
        (100_000, 0),
    ] {
        let end = 100_000.min(offset.saturating_add(len));
        let expected = bytes.slice(usize::try_from(offset).unwrap()..usize::try_from(end).unwrap());
        let body = bucket.get_range("ranges", offset, len).await.unwrap();
        assert!(
            body.bytes == expected,
            "{len} bytes at {offset}: {} bytes came",
            body.bytes.len()
        );
        assert_eq!(body.object_size_bytes, 100_000, "{len} bytes at {offset}");
    }
    for (offset, len) in [(100_001, 1), (u64::MAX, 1), (u64::MAX, u64::MAX), (1 << 40, 0)] {
        let error = bucket.get_range("ranges", offset, len).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains("100000 bytes"),
            "the message names the size: {error}"
        );
    }
    bucket.put("ranges", Bytes::new()).await.unwrap();
    for len in [0, 1, u64::MAX] {
        let body = bucket.get_range("ranges", 0, len).await.unwrap();
        assert_eq!(
            (body.bytes.len(), body.object_size_bytes),
            (0, 0),
            "{len} bytes of an empty object"
        );
    }
    assert_eq!(
        bucket.get_range("ranges", 1, 1).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    bucket.delete("ranges").await.unwrap();
}

pub(super) async fn attributes(bucket: &dyn Bucket) {
    bucket.put("attributes/file", content(4321)).await.unwrap();
    let found = bucket.attributes("attributes/file").await.unwrap();
    assert_eq!((found.key.as_str(), found.size_bytes), ("attributes/file", 4321));
    let listed = bucket.list_all("attributes", true, 10).await.unwrap();
    let listed = listed
        .into_iter()
        .next()
        .and_then(crate::ListEntry::into_object)
        .unwrap();
    assert_eq!(
        (listed.key.as_str(), listed.size_bytes),
        ("attributes/file", 4321)
    );
    // Listings carry milliseconds, answers to HEAD whole seconds.
    assert_eq!(listed.last_modified_ms / 1000, found.last_modified_ms / 1000);
    bucket.delete("attributes/file").await.unwrap();
}

pub(super) async fn invalid_keys(bucket: &dyn Bucket) {
    for key in [
        "", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/..", "./a", "a\nb",
    ] {
        for error in [
            bucket.get(key).await.unwrap_err(),
            bucket.get_range(key, 0, 1).await.unwrap_err(),
            bucket.attributes(key).await.unwrap_err(),
            bucket.exists(key).await.unwrap_err(),
            bucket.put(key, Bytes::new()).await.unwrap_err(),
            bucket.upload(key, source(Bytes::new(), None)).await.unwrap_err(),
            bucket.delete(key).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
    }
    for prefix in ["/", "a//", "../"] {
        assert_eq!(
            bucket.list_all(prefix, true, 10).await.unwrap_err().kind(),
            ErrorKind::Invalid,
            "{prefix}"
        );
    }
}
