//! What goes out.

use sabre_es_retention::cluster::transport::{Method, Transport};
use sabre_testkit::s3::{Answer, Recorded, ScriptedServer};
use serde_json::json;

use crate::{request, transport};

const SIGNED: &str = "aws: {access_key_id: AK, secret_access_key: canary, session_token: the-token}";

async fn sent(access: &str, request: sabre_es_retention::cluster::transport::Request) -> Recorded {
    let server = ScriptedServer::start([Answer::new(200)]).await.unwrap();
    let transport = transport(&format!("http://{}/", server.endpoint()), access);
    transport.send(request).await.unwrap();
    server.requests().remove(0)
}

#[tokio::test]
async fn a_body_is_json_and_no_body_has_no_type() {
    let put = request(Method::Put, &["_snapshot", "r"]).json(&json!({"type": "fs"}));
    let seen = sent("{}", put).await;
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("PUT", "/_snapshot/r")
    );
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(&seen.body[..], b"{\"type\":\"fs\"}");
    assert!(
        seen.header("user-agent")
            .unwrap()
            .starts_with("sabre-es-retention/")
    );

    let seen = sent(
        "{}",
        request(Method::Get, &["_cat", "indices"]).parameter("h", "a,b"),
    )
    .await;
    assert_eq!(seen.target, "/_cat/indices?h=a%2Cb");
    assert_eq!(
        (seen.header("content-type"), seen.header("authorization")),
        (None, None)
    );
}

#[tokio::test]
async fn a_put_without_a_body_says_that_it_is_empty() {
    let seen = sent("{}", request(Method::Put, &["logs-2026.01.01"])).await;
    assert_eq!(seen.header("content-length"), Some("0"));
}

#[tokio::test]
async fn a_name_and_a_password() {
    let seen = sent(
        "basic: {username: Aladdin, password: 'open sesame'}",
        request(Method::Get, &[]),
    )
    .await;
    assert_eq!(
        seen.header("authorization"),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
}

#[tokio::test]
async fn an_api_key_and_a_token() {
    let seen = sent("api_key: abc==", request(Method::Get, &[])).await;
    assert_eq!(seen.header("authorization"), Some("ApiKey abc=="));
    let seen = sent("bearer_token: abc", request(Method::Get, &[])).await;
    assert_eq!(seen.header("authorization"), Some("Bearer abc"));
}

#[tokio::test]
async fn a_rotated_secret_is_sent_at_the_next_request() {
    let server = ScriptedServer::start([Answer::new(200), Answer::new(200)])
        .await
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one\n").unwrap();
    let text = format!("bearer_token_file: {}", file.path().display());
    let transport = transport(&format!("http://{}", server.endpoint()), &text);
    transport.send(request(Method::Get, &[])).await.unwrap();
    std::fs::write(file.path(), "two\n").unwrap();
    transport.send(request(Method::Get, &[])).await.unwrap();
    let seen: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(seen, ["Bearer one", "Bearer two"]);
}

#[tokio::test]
async fn a_signature_covers_what_no_proxy_changes() {
    let seen = sent(SIGNED, request(Method::Put, &["a"]).json(&json!({}))).await;
    let authorization = seen.header("authorization").unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AK/"),
        "{authorization}"
    );
    assert!(
        authorization.contains("/eu-west-1/es/aws4_request, "),
        "{authorization}"
    );
    let names = "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, ";
    assert!(authorization.contains(names), "{authorization}");
    assert_eq!(seen.header("x-amz-security-token"), Some("the-token"));
    // Of `{}`.
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(seen.header("x-amz-content-sha256"), Some(digest));
    assert_eq!(seen.headers.iter().filter(|(name, _)| name == "host").count(), 1);
}

#[tokio::test]
async fn a_prefix_of_the_endpoint_is_part_of_every_path() {
    let server = ScriptedServer::start([Answer::new(200)]).await.unwrap();
    let transport = transport(&format!("http://{}/es/", server.endpoint()), SIGNED);
    transport
        .send(request(Method::Get, &["_cat", "indices"]))
        .await
        .unwrap();
    assert_eq!(server.requests().remove(0).target, "/es/_cat/indices");
}
