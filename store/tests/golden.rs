//! The recorded answers of a Thanos store, from a filesystem bucket and from S3.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed step fails the test"
)]

mod common;

use common::start;
use sabre_objstore::{FilesystemBucket, SharedBucket};
use sabre_testkit::{golden::golden, s3::S3Server, storeapi};

async fn check(bucket: SharedBucket, cases: &[storeapi::Case]) {
    let store = start(bucket).await;
    let differences = storeapi::check(cases, store.served.channel.clone()).await;
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        cases.len(),
        differences.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_equal_those_of_thanos_from_files() {
    let Some(golden) = golden() else { return };
    let dir = golden.copy(storeapi::BUCKET).unwrap();
    let cases = storeapi::load(&golden).unwrap();
    check(common::shared(FilesystemBucket::new(dir.path())), &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_equal_those_of_thanos_from_s3() {
    let Some(golden) = golden() else { return };
    let root = tempfile::tempdir().unwrap();
    let bucket = golden.copy(storeapi::BUCKET).unwrap();
    std::fs::rename(bucket.path(), root.path().join("blocks")).unwrap();
    let server = S3Server::start(root.path(), "access", "secret").await.unwrap();
    let config = format!(
        "type: S3\nconfig:\n  bucket: blocks\n  endpoint: {}\n  insecure: true\n  access_key: access\n  secret_key: secret\n",
        server.endpoint()
    );
    let cases = storeapi::load(&golden).unwrap();
    check(
        sabre_objstore::config::from_yaml(&config, "store").unwrap(),
        &cases,
    )
    .await;
}
