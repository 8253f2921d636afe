//! Certificates, and who is believed.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sabre_objstore::{Bucket, ErrorKind, config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// A server with a certificate for `s3.test`, which knows no object. Returns its endpoint.
async fn server() -> String {
    let chain = CertificateDer::pem_file_iter(format!("{DATA}/server.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{DATA}/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else {
                continue;
            };
            let mut request = vec![0; 64 << 10];
            let _ = socket.read(&mut request).await;
            let _ = socket
                .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                .await;
            let _ = socket.shutdown().await;
        }
    });
    endpoint
}

async fn exists(endpoint: &str, http_config: &str) -> sabre_objstore::Result<bool> {
    let text = format!(
        "type: S3\nconfig:\n  bucket: b\n  endpoint: {endpoint}\n  access_key: a\n  secret_key: s\n  \
         http_config: {http_config}\n"
    );
    config::from_yaml(&text, "test").unwrap().exists("k").await
}

#[tokio::test]
async fn an_unknown_authority_is_refused_at_once_with_a_hint() {
    let error = exists(&server().await, "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("tls_config.ca_file"), "{error}");
    assert!(!error.to_string().contains("gave up"), "{error}");
}

#[tokio::test]
async fn an_authority_of_our_own_and_another_name() {
    let endpoint = server().await;
    let named = format!("{{tls_config: {{ca_file: {DATA}/ca.pem, server_name: s3.test}}}}");
    assert!(!exists(&endpoint, &named).await.unwrap());
    let unnamed = format!("{{tls_config: {{ca_file: {DATA}/ca.pem}}}}");
    assert_eq!(
        exists(&endpoint, &unnamed).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[tokio::test]
async fn verification_can_be_skipped_at_either_place() {
    let endpoint = server().await;
    assert!(!exists(&endpoint, "{insecure_skip_verify: true}").await.unwrap());
    assert!(
        !exists(&endpoint, "{tls_config: {insecure_skip_verify: true}}")
            .await
            .unwrap()
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    for (key, http_config) in [
        (
            "tls_config.ca_file",
            "{tls_config: {ca_file: /nonexistent.pem}}".to_owned(),
        ),
        (
            "tls_config.ca_file",
            format!("{{tls_config: {{ca_file: {DATA}/server.key}}}}"),
        ),
        (
            "tls_config.cert_file",
            "{tls_config: {cert_file: /nonexistent.pem, key_file: /nonexistent.key}}".to_owned(),
        ),
    ] {
        let text = format!("type: S3\nconfig: {{bucket: b, endpoint: e, http_config: {http_config}}}\n");
        let error = config::from_yaml(&text, "test").unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

/// A server that answers in plain text whatever is sent. Returns its endpoint.
async fn plain_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 64 << 10];
            let _ = socket.read(&mut request).await;
            let _ = socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await;
            let _ = socket.shutdown().await;
        }
    });
    endpoint
}

/// What a tool that looks for an object at `endpoint` is told.
async fn told_to_a_tool(endpoint: &str, insecure: bool) -> sabre_objstore::Error {
    let text = format!(
        "type: S3\nconfig: {{bucket: b, endpoint: \"{endpoint}\", insecure: {insecure}, access_key: a, secret_key: s}}\n"
    );
    let bucket = config::from_yaml_for_tool(&text, "test").unwrap();
    bucket.exists("k").await.unwrap_err()
}

#[tokio::test]
async fn a_server_without_tls_is_told_so_after_few_tries() {
    let error = told_to_a_tool(&plain_server().await, false).await;
    assert_eq!((error.kind(), error.is_lasting()), (ErrorKind::Unavailable, true));
    let text = error.to_string();
    for part in [
        "InvalidContentType",
        "set `insecure: true`",
        "gave up after 3 tries",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A name with a part of more than 63 bytes is refused by the resolver itself, without a server; without TLS no proxy is
/// asked either.
#[tokio::test]
async fn a_name_that_is_not_known_is_told_so_after_few_tries() {
    let error = told_to_a_tool(&format!("{}.invalid:9000", "a".repeat(64)), true).await;
    assert_eq!((error.kind(), error.is_lasting()), (ErrorKind::Unavailable, true));
    let text = error.to_string();
    for part in ["name is not known", "`endpoint`", "gave up after 3 tries"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
