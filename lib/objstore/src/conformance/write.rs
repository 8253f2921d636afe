//! Writing and deleting: whole or not at all.

use std::{io, io::Write, time::Duration};

use futures::{StreamExt, TryStreamExt, future, stream};

use super::{
    Bucket, BucketExt, Bytes, CONCURRENCY, LARGE_BYTES, UploadSource, content, delete_all, keys, pieces, put,
    source,
};

pub(super) async fn overwriting(bucket: &dyn Bucket) {
    put(bucket, "o/key", b"first and longer").await;
    put(bucket, "o/key", b"second").await;
    assert_eq!(bucket.get_all("o/key", 100).await.unwrap(), "second");
    assert_eq!(bucket.attributes("o/key").await.unwrap().size_bytes, 6);
    bucket
        .upload("o/key", source(content(LARGE_BYTES), None))
        .await
        .unwrap();
    assert_eq!(
        bucket.attributes("o/key").await.unwrap().size_bytes,
        LARGE_BYTES as u64
    );
    bucket.upload("o/key", source(Bytes::new(), None)).await.unwrap();
    assert_eq!(bucket.attributes("o/key").await.unwrap().size_bytes, 0);
    assert_eq!(keys(bucket, "o", true).await, ["o/key"]);
    delete_all(bucket, "o").await;
}

pub(super) async fn deleting(bucket: &dyn Bucket) {
    for key in ["d/a/1", "d/a/2", "d/b"] {
        put(bucket, key, b"x").await;
    }
    bucket.delete("d/missing").await.unwrap();
    bucket.delete("d/a/missing/deep").await.unwrap();
    bucket.delete("d/a").await.unwrap();
    assert_eq!(
        keys(bucket, "d", true).await,
        ["d/a/1", "d/a/2", "d/b"],
        "a directory is no object"
    );
    bucket.delete("d/a/1").await.unwrap();
    assert_eq!(keys(bucket, "d", true).await, ["d/a/2", "d/b"]);
    bucket.delete("d/a/2").await.unwrap();
    bucket.delete("d/a/2").await.unwrap();
    assert_eq!(keys(bucket, "d", false).await, ["d/b"]);
    bucket.delete("d/b").await.unwrap();
    assert_eq!(keys(bucket, "", false).await, [""; 0]);
}

pub(super) async fn uploads_of_all_kinds(bucket: &dyn Bucket) {
    for len in [0, 1, 5 << 20, LARGE_BYTES] {
        let bytes = content(len);
        let file = TempFile::new(&bytes);
        bucket
            .upload("kinds/file", UploadSource::File(file.path.clone()))
            .await
            .unwrap();
        bucket
            .upload("kinds/known", source(bytes.clone(), Some(len as u64)))
            .await
            .unwrap();
        bucket
            .upload("kinds/unknown", source(bytes.clone(), None))
            .await
            .unwrap();
        bucket
            .upload("kinds/bytes", UploadSource::bytes(bytes.clone()))
            .await
            .unwrap();
        for key in ["kinds/file", "kinds/known", "kinds/unknown", "kinds/bytes"] {
            let found = bucket.get_all(key, LARGE_BYTES as u64).await.unwrap();
            assert!(
                found == bytes,
                "{key} of {len} bytes came back as {}",
                found.len()
            );
        }
    }
    delete_all(bucket, "kinds").await;
}

pub(super) async fn a_failing_upload_leaves_nothing(bucket: &dyn Bucket) {
    for before in [0, 100, LARGE_BYTES] {
        let broken = pieces(content(before)).chain([Err(io::Error::other("the source broke"))]);
        let error = bucket
            .upload("fail/source", UploadSource::stream(stream::iter(broken)))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("the source broke"), "{error}");
        assert!(!error.is_retryable(), "{error}");
        for promised in [before as u64 + 1, (before as u64).wrapping_sub(1)] {
            let wrong = source(content(before), Some(promised));
            assert!(
                bucket.upload("fail/size", wrong).await.is_err(),
                "{before} bytes for {promised}"
            );
        }
    }
    let missing = UploadSource::File("/nonexistent/sabre-conformance".into());
    let error = bucket.upload("fail/missing", missing).await.unwrap_err();
    assert!(
        error.to_string().contains("/nonexistent/sabre-conformance"),
        "{error}"
    );
    assert!(!error.is_not_found(), "it is not the object that is missing");
    assert_eq!(keys(bucket, "fail", true).await, [""; 0]);
    assert_eq!(bucket.pending_uploads("fail").await.unwrap(), []);
}

pub(super) async fn a_dropped_upload_leaves_nothing(bucket: &dyn Bucket) {
    let (begun, is_begun) = tokio::sync::oneshot::channel();
    let signal = stream::once(async move {
        let _ = begun.send(());
        future::pending().await
    });
    let hanging = stream::iter(pieces(content(LARGE_BYTES))).chain(signal);
    let upload = bucket.upload("drop/key", UploadSource::stream(hanging));
    tokio::select! {
        result = upload => panic!("a source without end was uploaded: {result:?}"),
        _ = is_begun => {}
    }
    assert_eq!(keys(bucket, "drop", true).await, [""; 0]);
    // What a drop leaves is cleared away in the background.
    for _ in 0..500 {
        if bucket.pending_uploads("drop").await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "a dropped upload is still pending: {:?}",
        bucket.pending_uploads("drop").await
    );
}

pub(super) async fn many_at_once(bucket: &dyn Bucket) {
    let work = (0..64_usize).map(|n| async move {
        let key = format!("many/{}/{n}", n % 4);
        let bytes = content(1000 + n);
        bucket.put(&key, bytes.clone()).await?;
        assert!(bucket.get_all(&key, 10_000).await? == bytes);
        assert_eq!(
            bucket.get_range(&key, 500, 100).await?.bytes,
            bytes.slice(500..600)
        );
        if n % 2 == 0 {
            bucket.delete(&key).await
        } else {
            Ok(())
        }
    });
    stream::iter(work)
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
        .unwrap();
    assert_eq!(keys(bucket, "many", true).await.len(), 32);
    delete_all(bucket, "many").await;
}

pub(super) async fn readers_see_whole_objects(bucket: &dyn Bucket) {
    let versions = [Bytes::from(vec![b'a'; 50_000]), Bytes::from(vec![b'b'; 150_000])];
    let [first, second] = &versions;
    bucket.put("swap", first.clone()).await.unwrap();
    let writer = async {
        for n in 0..20 {
            bucket
                .put("swap", if n % 2 == 0 { second.clone() } else { first.clone() })
                .await
                .unwrap();
        }
    };
    let reader = async {
        for _ in 0..20 {
            let range = bucket.get_range("swap", 0, u64::MAX).await.unwrap();
            assert!(
                versions.contains(&range.bytes),
                "a range of {} bytes",
                range.bytes.len()
            );
        }
    };
    tokio::join!(writer, reader);
    bucket.delete("swap").await.unwrap();
}

/// A file that goes away with its owner; the crate for that is not at hand outside tests.
struct TempFile {
    path: std::path::PathBuf,
}

impl TempFile {
    fn new(bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("sabre-conformance-{:016x}", rand::random::<u64>()));
        let file = std::fs::File::create_new(&path);
        file.unwrap().write_all(bytes).unwrap();
        Self { path }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
