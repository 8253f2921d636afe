//! Certificates, and who is believed.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use sabre_es_retention::{
    access::HttpTransport,
    cluster::transport::{Method, Transport, TransportError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{request, settings, transport};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(format!("{DATA}/{name}.pem"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// A server with a certificate for 127.0.0.1, which may want one of the client. Returns its address.
async fn server(wants_certificate: bool) -> String {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if wants_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(certificates("ca").remove(0)).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(format!("{DATA}/server.key")).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(
        builder.with_single_cert(certificates("server"), key).unwrap(),
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else {
                continue;
            };
            let mut request = vec![0; 64 << 10];
            let _ = socket.read(&mut request).await;
            let _ = socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
            let _ = socket.shutdown().await;
        }
    });
    format!("https://{address}")
}

async fn status(endpoint: &str, tls: &str) -> Result<u16, TransportError> {
    let transport = transport(endpoint, &format!("tls: {tls}"));
    transport
        .send(request(Method::Get, &["a"]))
        .await
        .map(|answer| answer.status)
}

#[tokio::test]
async fn an_unknown_authority_is_refused_with_a_hint() {
    let error = status(&server(false).await, "{}").await.unwrap_err();
    assert!(matches!(error, TransportError::Connect(_)), "{error}");
    assert!(error.to_string().contains("access.tls.ca_file"), "{error}");
}

#[tokio::test]
async fn an_authority_of_our_own_and_the_switch() {
    let endpoint = server(false).await;
    let own = format!("{{ca_file: {DATA}/ca.pem}}");
    assert_eq!(status(&endpoint, &own).await.unwrap(), 200);
    assert_eq!(
        status(&endpoint, "{insecure_skip_verify: true}").await.unwrap(),
        200
    );
    // The certificate has no name.
    let named = endpoint.replace("127.0.0.1", "localhost");
    let error = status(&named, &own).await.unwrap_err();
    assert!(matches!(error, TransportError::Connect(_)), "{error}");
}

#[tokio::test]
async fn a_certificate_of_our_own() {
    let endpoint = server(true).await;
    let without = format!("{{ca_file: {DATA}/ca.pem}}");
    assert!(status(&endpoint, &without).await.is_err());
    let with =
        format!("{{ca_file: {DATA}/ca.pem, cert_file: {DATA}/client.pem, key_file: {DATA}/client.key}}");
    assert_eq!(status(&endpoint, &with).await.unwrap(), 200);
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_key() {
    let error = |tls: &str| {
        HttpTransport::new("https://h.test", "", &settings(&format!("tls: {tls}")))
            .unwrap_err()
            .to_string()
    };
    for (tls, want) in [
        (
            "{ca_file: does-not-exist}",
            "access.tls.ca_file: cannot read does-not-exist",
        ),
        ("{cert_file: a.pem}", "access.tls.key_file: is missing"),
        ("{key_file: a.key}", "access.tls.cert_file: is missing"),
        (&format!("{{ca_file: {DATA}/client.key}}"), "access.tls.ca_file: "),
        (
            &format!("{{cert_file: {DATA}/client.pem, key_file: {DATA}/ca.pem}}"),
            "access.tls.cert_file: no certificate and key",
        ),
    ] {
        assert!(error(tls).contains(want), "{tls}: {}", error(tls));
    }
}
