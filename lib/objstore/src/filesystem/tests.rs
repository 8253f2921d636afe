use std::{fs, fs::File, os::unix::fs::symlink, path::Path};

use bytes::Bytes;
use futures::stream;

use super::*;
use crate::BucketExt;

fn bucket() -> (tempfile::TempDir, FilesystemBucket) {
    let dir = tempfile::tempdir().unwrap();
    let bucket = FilesystemBucket::new(dir.path());
    (dir, bucket)
}

async fn keys(bucket: &FilesystemBucket, prefix: &str, recursive: bool) -> Vec<String> {
    let entries = bucket.list_all(prefix, recursive, usize::MAX).await.unwrap();
    entries.iter().map(|entry| entry.key().to_owned()).collect()
}

fn temp_files(root: &Path) -> usize {
    fs::read_dir(root.join(TEMP_DIR)).map_or(0, Iterator::count)
}

#[tokio::test]
async fn is_what_thanos_lays_out() {
    let (dir, bucket) = bucket();
    bucket
        .put("01ABC/chunks/000001", Bytes::from_static(b"x"))
        .await
        .unwrap();
    assert_eq!(fs::read(dir.path().join("01ABC/chunks/000001")).unwrap(), b"x");
    fs::create_dir_all(dir.path().join("02ABC")).unwrap();
    fs::write(dir.path().join("02ABC/meta.json"), "{}").unwrap();
    assert_eq!(bucket.get_all("02ABC/meta.json", 10).await.unwrap(), "{}");
    assert_eq!(keys(&bucket, "", false).await, ["01ABC/", "02ABC/"]);
}

#[tokio::test]
async fn empty_directories_are_not_listed_and_go_with_their_last_object() {
    let (dir, bucket) = bucket();
    fs::create_dir_all(dir.path().join("empty/below/below")).unwrap();
    bucket.put("a/b/c", Bytes::new()).await.unwrap();
    bucket.put("a/d", Bytes::new()).await.unwrap();
    assert_eq!(keys(&bucket, "", false).await, ["a/"]);
    bucket.delete("a/b/c").await.unwrap();
    assert!(!dir.path().join("a/b").exists());
    assert!(dir.path().join("a/d").exists());
    bucket.delete("a/d").await.unwrap();
    assert!(!dir.path().join("a").exists());
    assert!(dir.path().exists());
}

#[tokio::test]
async fn unfinished_files_are_hidden_and_gone_after_a_failure() {
    let (dir, bucket) = bucket();
    let failing = stream::iter([Ok(Bytes::from(vec![7; 3 << 20])), Err(io::Error::other("gone"))]);
    let error = bucket
        .upload("a/b", UploadSource::stream(failing))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    assert_eq!(temp_files(dir.path()), 0);
    assert!(!dir.path().join("a").exists());

    let mut hanging = Box::pin(bucket.upload(
        "a/b",
        UploadSource::stream(futures::StreamExt::chain(
            stream::iter([Ok(Bytes::from(vec![7; 3 << 20]))]),
            stream::pending(),
        )),
    ));
    while bucket.pending_uploads("").await.unwrap().is_empty() {
        tokio::select! { _ = &mut hanging => unreachable!(), () = tokio::task::yield_now() => {} }
    }
    let pending = bucket.pending_uploads("a").await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].key, "a/b");
    assert!(bucket.pending_uploads("b").await.unwrap().is_empty());
    assert_eq!(keys(&bucket, "", false).await, [""; 0]);
    assert_eq!(keys(&bucket, "", true).await, [""; 0]);
    bucket.abort_upload(&pending[0]).await.unwrap();
    bucket.abort_upload(&pending[0]).await.unwrap();
    drop(hanging);
    assert_eq!(temp_files(dir.path()), 0);
    for id in ["../x", "x", ""] {
        let upload = PendingUpload {
            key: "a".to_owned(),
            id: id.to_owned(),
            started_ms: 0,
        };
        assert_eq!(
            bucket.abort_upload(&upload).await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
}

#[tokio::test]
async fn the_hidden_directory_is_no_key() {
    let (_dir, bucket) = bucket();
    for key in [TEMP_DIR, ".sabre-tmp/x"] {
        assert_eq!(
            bucket.put(key, Bytes::new()).await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    bucket.put(".sabre-tmpx", Bytes::new()).await.unwrap();
    assert_eq!(keys(&bucket, "", true).await, [".sabre-tmpx"]);
}

#[tokio::test]
async fn links_are_followed_but_not_in_circles() {
    let (dir, bucket) = bucket();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("index"), "idx").unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink(elsewhere.path(), dir.path().join("linked")).unwrap();
    symlink(dir.path(), dir.path().join("real/loop")).unwrap();
    symlink("nowhere", dir.path().join("broken")).unwrap();
    symlink("self", dir.path().join("self")).unwrap();
    assert_eq!(keys(&bucket, "", true).await, ["linked/index"]);
    assert_eq!(keys(&bucket, "", false).await, ["linked/"]);
    assert_eq!(bucket.get_all("linked/index", 3).await.unwrap(), "idx");
    symlink(elsewhere.path().join("index"), dir.path().join("file")).unwrap();
    bucket.delete("file").await.unwrap();
    assert!(
        elsewhere.path().join("index").exists(),
        "the link goes, not what it points at"
    );
}

#[tokio::test]
async fn order_is_that_of_keys_not_of_names() {
    let (_dir, bucket) = bucket();
    for key in ["a/x", "a.txt", "a0", "a-b"] {
        bucket.put(key, Bytes::new()).await.unwrap();
    }
    assert_eq!(keys(&bucket, "", true).await, ["a-b", "a.txt", "a/x", "a0"]);
    assert_eq!(keys(&bucket, "", false).await, ["a-b", "a.txt", "a/", "a0"]);
}

#[tokio::test]
async fn directories_pipes_and_files_in_the_way_are_no_objects() {
    let (dir, bucket) = bucket();
    bucket.put("dir/file", Bytes::new()).await.unwrap();
    let pipe = rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    );
    pipe.unwrap();
    for key in ["dir", "dir/file/below", "pipe"] {
        assert!(
            bucket.get_range(key, 0, 1).await.unwrap_err().is_not_found(),
            "{key}"
        );
        assert!(bucket.get(key).await.unwrap_err().is_not_found(), "{key}");
        assert!(!bucket.exists(key).await.unwrap(), "{key}");
    }
    assert_eq!(keys(&bucket, "", true).await, ["dir/file"]);
    assert_eq!(
        bucket.put("dir", Bytes::new()).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        bucket
            .put("dir/file/below", Bytes::new())
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
    bucket.delete("dir").await.unwrap();
    bucket.delete("dir/file/below").await.unwrap();
    assert!(bucket.exists("dir/file").await.unwrap());
    assert_eq!(temp_files(dir.path()), 0);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let (dir, bucket) = bucket();
    bucket.put("k", Bytes::from(vec![1; 3 << 20])).await.unwrap();
    let body = bucket.get("k").await.unwrap();
    File::options()
        .write(true)
        .open(dir.path().join("k"))
        .unwrap()
        .set_len(2 << 20)
        .unwrap();
    let result: Result<Vec<Bytes>> = futures::TryStreamExt::try_collect(body.stream).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Truncated);
}

#[tokio::test]
async fn writers_and_deleters_of_one_directory_do_not_hurt_each_other() {
    let (dir, bucket) = bucket();
    let work = (0..8).map(|n| {
        let bucket = bucket.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                bucket.put(&format!("a/b/{n}"), Bytes::new()).await.unwrap();
                bucket.delete(&format!("a/b/{n}")).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(work).await.unwrap();
    assert!(!dir.path().join("a").exists());
    assert_eq!(temp_files(dir.path()), 0);
}

#[tokio::test]
async fn a_directory_that_is_not_there_or_no_directory_is_no_empty_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let missing = dir.path().join("missing");
    for (path, says) in [(&missing, "there is no directory"), (&file, "is no directory")] {
        let bucket = FilesystemBucket::new(path);
        let errors = [
            bucket.list_all("", true, 9).await.map(drop),
            bucket.list_all("a/", false, 9).await.map(drop),
            bucket.get("k").await.map(drop),
            bucket.get_range("k", 0, 1).await.map(drop),
            bucket.attributes("k").await.map(drop),
            bucket.exists("k").await.map(drop),
            bucket.pending_uploads("").await.map(drop),
        ];
        for error in errors.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            let text = error.to_string();
            let at = path.display().to_string();
            assert!(text.contains(says) && text.contains(&at), "{text}");
        }
    }
    let bucket = FilesystemBucket::new(&missing);
    bucket.put("a/b", Bytes::new()).await.unwrap();
    assert_eq!(keys(&bucket, "", true).await, ["a/b"]);
    assert_eq!(
        keys(&bucket, "c/", true).await,
        [""; 0],
        "a prefix may hold nothing"
    );
    let error = FilesystemBucket::new(&file)
        .put("k", Bytes::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is no directory"), "{error}");
}
