//! What a server may answer, and what is made of it.

use bytes::Bytes;
use sabre_objstore::{Bucket, BucketExt, ErrorKind, ListEntry, SharedBucket, config};
use sabre_testkit::s3::{Answer, Recorded, ScriptedServer};

/// A bucket at `server` that is tried three times and waits for an answer for 300 ms.
pub(crate) fn bucket_with(server: &ScriptedServer, more: &str) -> SharedBucket {
    let endpoint = server.endpoint();
    let text = format!(
        "type: S3\nconfig:\n  bucket: b\n  endpoint: {endpoint}\n  insecure: true\n  access_key: the-access-key\n  \
         secret_key: the-secret-key\n  max_retries: 2\n  part_size: 5242880\n  \
         http_config: {{response_header_timeout: 300ms}}\n{more}"
    );
    config::from_yaml(&text, "sidecar").unwrap()
}

pub(crate) async fn scripted(answers: impl IntoIterator<Item = Answer>) -> (ScriptedServer, SharedBucket) {
    let server = ScriptedServer::start(answers).await.unwrap();
    let bucket = bucket_with(&server, "");
    (server, bucket)
}

fn range(first: u64, last: u64, total: u64, body: &'static str) -> Answer {
    let header = format!("bytes {first}-{last}/{total}");
    Answer::new(206)
        .header("content-range", &header)
        .body(Bytes::from_static(body.as_bytes()))
}

#[tokio::test]
async fn access_denied_is_said_at_once_and_says_what_to_check() {
    let (server, bucket) = scripted([Answer::s3_error(403, "AccessDenied", "Access Denied")]).await;
    let error = bucket.get_range("01ABC/index", 0, 10).await.unwrap_err();
    assert!(error.is_access_denied());
    let text = error.to_string();
    for part in [
        "get_range",
        "01ABC/index",
        "\"b\"",
        "HTTP 403",
        "AccessDenied",
        "REQ1",
        "s3:GetObject",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn not_found_is_an_object_and_not_a_bucket() {
    let (server, bucket) = scripted([
        Answer::s3_error(404, "NoSuchKey", "no"),
        Answer::s3_error(404, "NoSuchBucket", "no"),
        Answer::new(404),
        Answer::new(404),
        Answer::new(404).body("<html>nginx</html>"),
    ])
    .await;
    assert!(bucket.get_range("k", 0, 1).await.unwrap_err().is_not_found());
    let error = bucket.get_range("k", 0, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(bucket.attributes("k").await.unwrap_err().is_not_found());
    assert!(!bucket.exists("k").await.unwrap());
    let error = bucket.get_range("k", 0, 1).await.unwrap_err();
    assert!(
        !error.is_not_found(),
        "a page of a proxy says nothing of an object: {error}"
    );
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|request| request.method == "HEAD")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    for refusal in [
        Answer::s3_error(503, "SlowDown", "reduce your request rate"),
        Answer::s3_error(500, "InternalError", "we are sorry"),
        Answer::s3_error(400, "RequestTimeout", "idle"),
        Answer::new(502).body("<html>"),
        Answer::new(429),
        Answer::hang_up(),
    ] {
        let (server, bucket) = scripted([refusal.clone(), refusal, range(0, 3, 4, "abcd")]).await;
        assert_eq!(bucket.get_range("k", 0, 4).await.unwrap().bytes, "abcd");
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn at_last_it_gives_up() {
    let refusal = Answer::s3_error(503, "SlowDown", "reduce your request rate");
    let (server, bucket) = scripted(vec![refusal; 9]).await;
    let error = bucket.put("k", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!(error.to_string().contains("gave up after 3 tries"), "{error}");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn the_pause_that_the_server_wants_is_kept() {
    let slow = Answer::s3_error(503, "SlowDown", "reduce your request rate").header("retry-after", "1");
    let (_server, bucket) = scripted([slow, range(0, 3, 4, "abcd")]).await;
    let begun = std::time::Instant::now();
    bucket.get_range("k", 0, 4).await.unwrap();
    assert!(begun.elapsed().as_millis() >= 1000);
}

#[tokio::test]
async fn half_a_body_is_never_a_whole_one() {
    let whole = range(0, 3, 10, "abcd");
    let (server, bucket) = scripted([whole.clone().cut_after(2), whole.clone()]).await;
    assert_eq!(bucket.get_range("k", 0, 4).await.unwrap().bytes, "abcd");
    assert_eq!(server.requests().len(), 2);
    let (_server, bucket) = scripted(vec![whole.cut_after(2); 3]).await;
    assert_eq!(
        bucket.get_range("k", 0, 4).await.unwrap_err().kind(),
        ErrorKind::Truncated
    );

    let whole = Answer::new(200).body("0123456789");
    let (_server, bucket) = scripted([whole.clone().cut_after(5), whole.clone()]).await;
    assert_eq!(bucket.get_all("k", 10).await.unwrap(), "0123456789");
    let (_server, bucket) = scripted(vec![whole.cut_after(5); 3]).await;
    assert_eq!(
        bucket.get_all("k", 10).await.unwrap_err().kind(),
        ErrorKind::Truncated
    );
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let (server, bucket) = scripted(vec![Answer::silence(); 9]).await;
    let error = bucket.attributes("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(server.requests().len(), 3);
    let (server, bucket) = scripted(vec![range(0, 3, 4, "abcd").hang_after(2); 9]).await;
    let error = bucket.get_range("k", 0, 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn answers_to_another_question_are_refused() {
    for wrong in [
        range(1, 4, 10, "bcde"),
        range(0, 2, 10, "abc"),
        range(0, 4, 10, "abcde"),
        Answer::new(206).header("content-range", "nonsense").body("abcd"),
        Answer::new(206)
            .header("content-range", "bytes 0-3/2")
            .body("abcd"),
    ] {
        let (_server, bucket) = scripted(vec![wrong.clone(); 3]).await;
        let error = bucket.get_range("k", 0, 4).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "{wrong:?}: {error}");
    }
    let (_server, bucket) = scripted([Answer::new(200).body("0123456789")]).await;
    let error = bucket.get_range("k", 5, 4).await.unwrap_err();
    assert!(error.to_string().contains("ignored the range"), "{error}");
    let (_server, bucket) = scripted([Answer::new(200).body("0123")]).await;
    assert_eq!(
        bucket.get_range("k", 0, 10).await.unwrap().bytes,
        "0123",
        "all of it was asked for"
    );
}

#[tokio::test]
async fn a_bucket_elsewhere_is_named() {
    for status in [301, 307] {
        let redirect = Answer::s3_error(status, "PermanentRedirect", "use the specified endpoint")
            .header("x-amz-bucket-region", "eu-central-1");
        let (server, bucket) = scripted([redirect]).await;
        let error = bucket.get_range("k", 0, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(
            text.contains("region: eu-central-1") && text.contains("s3.eu-central-1.amazonaws.com"),
            "{text}"
        );
        assert_eq!(server.requests().len(), 1);
    }
    let malformed = "the region 'us-east-1' is wrong; expecting 'eu-west-1'";
    let (_server, bucket) =
        scripted([Answer::s3_error(400, "AuthorizationHeaderMalformed", malformed)]).await;
    let text = bucket.get_range("k", 0, 1).await.unwrap_err().to_string();
    assert!(
        text.contains("expecting 'eu-west-1'") && text.contains("check `region`"),
        "{text}"
    );
}

#[tokio::test]
async fn requests_carry_what_the_settings_say() {
    let server = ScriptedServer::start_with(|_| Answer::new(200)).await.unwrap();
    let key_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key_file.path(), [b'k'; 32]).unwrap();
    let customer = format!(
        "  sse_config: {{type: SSE-C, encryption_key: {}}}\n",
        key_file.path().display()
    );
    for (more, header, value) in [
        ("", "content-md5", "A9WeZjwa+awzqZSdEZNQWg=="),
        ("", "content-type", "application/octet-stream"),
        (
            "  put_user_metadata: {X-Amz-Storage-Class: GLACIER_IR}\n",
            "x-amz-storage-class",
            "GLACIER_IR",
        ),
        ("  put_user_metadata: {Team: a}\n", "x-amz-meta-team", "a"),
        (
            "  sse_config: {type: SSE-S3}\n",
            "x-amz-server-side-encryption",
            "AES256",
        ),
        (
            "  sse_config: {type: SSE-KMS, kms_key_id: k1}\n",
            "x-amz-server-side-encryption",
            "aws:kms",
        ),
        (
            "  sse_config: {type: SSE-KMS, kms_key_id: k1}\n",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "k1",
        ),
        (
            "  sse_config: {type: SSE-KMS, kms_key_id: k1, kms_encryption_context: {a: b}}\n",
            "x-amz-server-side-encryption-context",
            "eyJhIjoiYiJ9",
        ),
        (
            &customer,
            "x-amz-server-side-encryption-customer-algorithm",
            "AES256",
        ),
        (
            &customer,
            "x-amz-server-side-encryption-customer-key-md5",
            "mT2HRsMGJ5IX5C+0rreZ8Q==",
        ),
        (
            "  session_token: the-token\n",
            "x-amz-security-token",
            "the-token",
        ),
    ] {
        bucket_with(&server, more).put("k", "some".into()).await.unwrap();
        let request = server.requests().pop().unwrap();
        assert_eq!(
            (request.method.as_str(), request.body.as_ref()),
            ("PUT", b"some".as_slice())
        );
        assert_eq!(request.header(header), Some(value), "{more}");
        assert!(request.header("user-agent").unwrap().contains("thanos-sidecar"));
        assert!(
            request
                .header("authorization")
                .unwrap()
                .contains("Credential=the-access-key/")
        );
        assert_eq!(
            request.header("x-amz-checksum-crc32"),
            None,
            "not every server takes it"
        );
    }
    bucket_with(&server, "  send_content_md5: false\n")
        .put("k", "some".into())
        .await
        .unwrap();
    assert_eq!(server.requests().pop().unwrap().header("content-md5"), None);
    bucket_with(&server, &customer)
        .get_range("k", 0, 1)
        .await
        .unwrap();
    let reading = server.requests().pop().unwrap();
    assert!(
        reading
            .header("x-amz-server-side-encryption-customer-key")
            .is_some()
    );
}

fn page(keys: &[&str], prefixes: &[&str], tail: &str) -> Answer {
    let objects: String = keys
        .iter()
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><Size>3</Size><LastModified>2026-01-02T03:04:05.678Z</LastModified></Contents>"
            )
        })
        .collect();
    let prefixes: String = prefixes
        .iter()
        .map(|p| format!("<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>"))
        .collect();
    Answer::new(200)
        .header("content-type", "application/xml")
        .body(format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <EncodingType>url</EncodingType>{objects}{prefixes}{tail}</ListBucketResult>"
        ))
}

async fn keys(bucket: &dyn Bucket, prefix: &str, recursive: bool) -> Vec<String> {
    let entries = bucket.list_all(prefix, recursive, 1000).await.unwrap();
    entries.iter().map(|entry| entry.key().to_owned()).collect()
}

#[tokio::test]
async fn pages_of_a_listing_are_merged_decoded_and_cleaned() {
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>T1</NextContinuationToken>";
    let (server, bucket) = scripted([
        page(&["d/", "d/a+b", "d/c%C3%BC"], &["d/b/", "d//"], more),
        page(&["d/e"], &[], "<IsTruncated>false</IsTruncated>"),
    ])
    .await;
    assert_eq!(keys(&*bucket, "d", false).await, ["d/a b", "d/b/", "d/cü", "d/e"]);
    let targets: Vec<String> = server
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    for part in ["list-type=2", "prefix=d%2F", "delimiter=%2F", "encoding-type=url"] {
        assert!(targets[0].contains(part), "{part} in {}", targets[0]);
    }
    assert!(targets[1].contains("continuation-token=T1"), "{}", targets[1]);

    let (_server, bucket) = scripted([page(&["k"], &[], "")]).await;
    let found = bucket
        .list_all("", true, 10)
        .await
        .unwrap()
        .into_iter()
        .next()
        .and_then(ListEntry::into_object);
    assert_eq!(found.unwrap().last_modified_ms, 1_767_323_045_678);
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_continued() {
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>T1</NextContinuationToken>";
    let (server, bucket) = scripted([
        page(&["a", "b"], &[], more),
        Answer::s3_error(500, "InternalError", "sorry"),
        page(&["a", "b"], &[], more),
        page(&["c"], &[], ""),
    ])
    .await;
    assert_eq!(keys(&*bucket, "", true).await, ["a", "b", "c"]);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_listing_without_end_is_noticed() {
    let again = "<IsTruncated>true</IsTruncated><NextContinuationToken>T1</NextContinuationToken>";
    let (server, bucket) = scripted(vec![page(&["a"], &[], again); 9]).await;
    let error = bucket.list_all("", true, 1000).await.unwrap_err();
    assert!(error.to_string().contains("same page"), "{error}");
    assert_eq!(server.requests().len(), 2);
    let (_server, bucket) = scripted([page(&["a"], &[], "<IsTruncated>true</IsTruncated>")]).await;
    let error = bucket.list_all("", true, 1000).await.unwrap_err();
    assert!(error.to_string().contains("list_objects_version: v1"), "{error}");
}

#[tokio::test]
async fn version_1_of_a_listing_goes_on_after_the_last_key() {
    let server = ScriptedServer::start([
        page(&["d/a", "d/c+c"], &[], "<IsTruncated>true</IsTruncated>"),
        page(
            &["d/d"],
            &["d/e/"],
            "<IsTruncated>true</IsTruncated><NextMarker>d/e/</NextMarker>",
        ),
        page(&["d/f"], &[], ""),
    ])
    .await
    .unwrap();
    let bucket = bucket_with(&server, "  list_objects_version: v1\n");
    assert_eq!(
        keys(&*bucket, "d", true).await,
        ["d/a", "d/c c", "d/d", "d/e/", "d/f"]
    );
    let markers: Vec<bool> = ["marker=d%2Fc%20c", "marker=d%2Fe%2F"]
        .iter()
        .zip(server.requests().iter().skip(1))
        .map(|(marker, request): (_, &Recorded)| request.target.contains(marker))
        .collect();
    assert_eq!(markers, [true, true], "{:?}", server.requests());
    assert!(!server.requests()[0].target.contains("list-type"));
}
