//! The conformance suite on S3: on a server in this process, and on one that the environment names.

use sabre_objstore::{Bucket, BucketExt, ErrorKind, config, conformance};
use sabre_testkit::s3::S3Server;

fn config(endpoint: &str, bucket: &str, access_key: &str, secret_key: &str, more: &str) -> String {
    format!(
        "type: S3\nconfig:\n  bucket: {bucket}\n  endpoint: {endpoint}\n  insecure: true\n  \
         access_key: {access_key}\n  secret_key: {secret_key}\n  part_size: 5242880\n{more}"
    )
}

async fn server() -> (tempfile::TempDir, S3Server) {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(root.path(), "the-access-key", "the-secret-key")
        .await
        .unwrap();
    server.create_bucket("blocks").unwrap();
    (root, server)
}

async fn conforms(more: &str) {
    let (_root, server) = server().await;
    let config = config(
        &server.endpoint(),
        "blocks",
        "the-access-key",
        "the-secret-key",
        more,
    );
    conformance::run(config::from_yaml(&config, "test").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_settings() {
    conforms("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_and_no_digests() {
    conforms("  send_content_md5: false\nprefix: tenant/a\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_multipart() {
    conforms("  disable_multipart: true\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_what_the_server_has() {
    let (_root, server) = server().await;
    let config = config(
        &server.endpoint(),
        "blocks",
        "the-access-key",
        "the-secret-key",
        "",
    );
    let bucket = config::from_yaml(&config, "test").unwrap();
    assert_eq!(bucket.name(), "blocks");
    bucket.put("01ABC/meta.json", "{}".into()).await.unwrap();
    assert_eq!(
        std::fs::read(server.folder("blocks").join("01ABC/meta.json")).unwrap(),
        b"{}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_refused_and_not_tried_again() {
    let (_root, server) = server().await;
    for (access_key, secret_key) in [("the-access-key", "another"), ("another", "the-secret-key")] {
        let config = config(&server.endpoint(), "blocks", access_key, secret_key, "");
        let bucket = config::from_yaml(&config, "test").unwrap();
        let error = bucket.get_all("k", 1).await.unwrap_err();
        assert!(error.is_access_denied(), "{error}");
        assert!(error.to_string().contains("check"), "{error}");
        assert!(!error.to_string().contains("gave up"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_not_a_missing_object() {
    let (_root, server) = server().await;
    let config = config(
        &server.endpoint(),
        "nowhere",
        "the-access-key",
        "the-secret-key",
        "",
    );
    let bucket = config::from_yaml(&config, "test").unwrap();
    let error = bucket.list_all("", true, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("check `bucket`"), "{error}");
}

/// `SABRE_TEST_S3=endpoint,bucket,access-key,secret-key`: the whole suite on a real server.
#[tokio::test(flavor = "multi_thread")]
async fn external_server() {
    let Ok(place) = std::env::var("SABRE_TEST_S3") else {
        println!("skipped: SABRE_TEST_S3=endpoint,bucket,access-key,secret-key is not set");
        return;
    };
    let [endpoint, bucket, access_key, secret_key] = place.split(',').collect::<Vec<_>>()[..] else {
        panic!("SABRE_TEST_S3 is not endpoint,bucket,access-key,secret-key");
    };
    for more in [
        "",
        "  list_objects_version: v1\n",
        "  disable_multipart: true\n  send_content_md5: false\n",
    ] {
        let config = config(endpoint, bucket, access_key, secret_key, more);
        conformance::run(config::from_yaml(&config, "test").unwrap()).await;
    }
}
