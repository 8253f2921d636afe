//! A gRPC server under TLS, called as queriers do.

use std::net::SocketAddr;

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::{
    flags::{groups, parse_groups},
    grpc_server::{GrpcOptions, GrpcServer},
    metrics::Registry,
    probe::Probe,
    tls::{
        ClientFiles,
        test_files::{certificate, connect, nobody, put, somebody},
    },
};

struct Running {
    folder: TempDir,
    address: SocketAddr,
    registry: Registry,
    /// Stops the server with the test.
    _stop: tokio_util::sync::DropGuard,
}

/// Certificate and key stand in a folder of their own, so that they can be replaced.
async fn start(more: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    put(&cert, "server.pem");
    put(&key, "server.key.pem");
    let cert = format!("--{CERT}={}", cert.display());
    let key = format!("--{KEY}={}", key.display());
    let arguments = [&["--grpc-address=127.0.0.1:0", &cert, &key], more].concat();
    let flags = parse_groups(&[groups::grpc_server()], &arguments).unwrap();
    let (registry, stop) = (Registry::new(), CancellationToken::new());
    let probe = Probe::new(&registry);
    let server = GrpcServer::new(GrpcOptions::from_flags(&flags).unwrap());
    let bound = server.bind(&registry, &probe).await.unwrap();
    let address = bound.local_addr();
    tokio::spawn(bound.serve(stop.clone()));
    Running {
        folder,
        address,
        registry,
        _stop: stop.drop_guard(),
    }
}

impl Running {
    /// A channel of a client that calls the server `name`.
    fn channel(&self, name: &'static str, files: ClientFiles) -> Channel {
        let address = self.address;
        let connector = tower::service_fn(move |_: http::Uri| {
            let files = files.clone();
            async move { connect(address, name, &files, &["h2"]).await.map(TokioIo::new) }
        });
        Endpoint::from_static("https://store.test").connect_with_connector_lazy(connector)
    }

    async fn call(&self, name: &'static str, files: ClientFiles) -> Result<(), Status> {
        let mut client = HealthClient::new(self.channel(name, files));
        client.check(HealthCheckRequest::default()).await.map(drop)
    }

    fn exports(&self, line: &str) -> bool {
        self.registry.classic().lines().any(|found| found == line)
    }
}

/// The certificate of the server, by the name that it is for.
async fn is_called(server: &Running, name: &'static str) -> bool {
    server.call(name, nobody()).await.is_ok()
}

#[tokio::test]
async fn calls_are_answered_under_tls_to_whom_trusts_the_authority() {
    let server = start(&[]).await;
    server.call("store.test", nobody()).await.unwrap();
    let stranger = ClientFiles {
        ca_file: certificate("other-ca.pem"),
        ..ClientFiles::default()
    };
    assert!(server.call("store.test", stranger).await.is_err());
    assert!(!is_called(&server, "other.test").await);
    let plain = Endpoint::from_shared(format!("http://{}", server.address))
        .unwrap()
        .connect_lazy();
    let plain = HealthClient::new(plain)
        .check(HealthCheckRequest::default())
        .await;
    assert!(plain.is_err(), "plain text is not spoken");
}

#[tokio::test]
async fn http_2_is_agreed_upon_and_nothing_else() {
    let server = start(&[]).await;
    let stream = connect(server.address, "store.test", &nobody(), &["http/1.1", "h2"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(
        connect(server.address, "store.test", &nobody(), &["http/1.1"])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn with_a_client_ca_clients_must_show_a_certificate_of_it() {
    let server = start(&[&format!("--{CLIENT_CA}={}", certificate("ca.pem"))]).await;
    server.call("store.test", somebody("client")).await.unwrap();
    assert!(server.call("store.test", nobody()).await.is_err());
    assert!(server.call("store.test", somebody("stranger")).await.is_err());
}

#[tokio::test]
async fn a_client_ca_that_is_replaced_counts_for_the_next_client() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    put(&ca, "other-ca.pem");
    let server = start(&[&format!("--{CLIENT_CA}={}", ca.display())]).await;
    assert!(server.call("store.test", somebody("client")).await.is_err());
    put(&ca, "ca.pem");
    server.call("store.test", somebody("client")).await.unwrap();
    assert!(server.call("store.test", somebody("stranger")).await.is_err());
}

/// Whether a client that speaks nothing newer than 1.2 is answered.
async fn speaks_1_2(server: &Running) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in Source::file("ca", certificate("ca.pem")).chain().unwrap() {
        roots.add(certificate).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector
        .connect("store.test".try_into().unwrap(), stream)
        .await
        .is_ok()
}

#[tokio::test]
async fn nothing_older_than_the_lowest_version_is_spoken() {
    assert!(!speaks_1_2(&start(&[]).await).await, "1.3 is the default");
    for version in ["1.0", "1.1", "1.2"] {
        let server = start(&[&format!("--{MIN_VERSION}={version}")]).await;
        assert!(speaks_1_2(&server).await, "{version}");
    }
}

#[tokio::test]
async fn cipher_suites_of_1_2_and_curves_are_those_of_the_flags() {
    let strange =
        "--grpc-server-tls-ciphers=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA";
    let server = start(&["--grpc-server-tls-min-version=1.2", strange]).await;
    assert!(!speaks_1_2(&server).await, "its certificate is not of RSA");
    assert!(is_called(&server, "store.test").await, "1.3 has its own");
    let server = start(&["--grpc-server-tls-curves=CurveP384,CurveP521"]).await;
    let stream = connect(server.address, "store.test", &nobody(), &["h2"])
        .await
        .unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::secp384r1);
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_to_the_next_client() {
    let server = start(&[]).await;
    let old = server.channel("store.test", nobody());
    HealthClient::new(old.clone())
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
    put(&server.folder.path().join("tls.crt"), "renewed.pem");
    put(&server.folder.path().join("tls.key"), "renewed.key.pem");
    assert!(is_called(&server, "renewed.test").await && !is_called(&server, "store.test").await);
    HealthClient::new(old)
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
    assert!(server.exports("sabre_server_reloads_total{server=\"grpc\",result=\"ok\"} 1"));
}

#[tokio::test]
async fn files_of_no_use_leave_the_old_certificate_and_are_counted_once() {
    let server = start(&[]).await;
    std::fs::remove_file(server.folder.path().join("tls.key")).unwrap();
    for _ in 0..3 {
        assert!(is_called(&server, "store.test").await);
    }
    assert!(server.exports("sabre_server_reloads_total{server=\"grpc\",result=\"failed\"} 1"));
    put(&server.folder.path().join("tls.crt"), "expired.pem");
    put(&server.folder.path().join("tls.key"), "server.key.pem");
    assert!(
        !is_called(&server, "store.test").await,
        "an expired one is used, and refused by clients"
    );
    let ends = "sabre_server_certificate_end_timestamp_seconds{server=\"grpc\"} 1609459200";
    assert!(server.exports(ends), "{}", server.registry.classic());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_new_certificate_is_exported_although_no_client_comes() {
    let server = start(&[]).await;
    let ends = "sabre_server_certificate_end_timestamp_seconds{server=\"grpc\"} 1609459200";
    put(&server.folder.path().join("tls.crt"), "expired.pem");
    assert!(!server.exports(ends));
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    assert!(server.exports(ends), "{}", server.registry.classic());
}

#[test]
fn what_is_wrong_is_said_before_a_port_is_bound_with_its_flag() {
    let cert = format!("--{CERT}={}", certificate("server.pem"));
    let key = format!("--{KEY}={}", certificate("server.key.pem"));
    let ca = format!("--{CLIENT_CA}={}", certificate("ca.pem"));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty_ca = format!("--{CLIENT_CA}={}", empty.path().display());
    let wrong_key = format!("--{KEY}={}", certificate("client.key.pem"));
    for (arguments, problem) in [
        (
            vec![&*cert],
            "--grpc-server-tls-key: it is missing, and TLS needs",
        ),
        (vec![&key], "--grpc-server-tls-cert: it is missing, and TLS needs"),
        (vec![&ca], "--grpc-server-tls-cert: it is missing, and TLS needs"),
        (
            vec!["--grpc-server-tls-cert=/no", &key],
            "--grpc-server-tls-cert: /no cannot be read: No such file",
        ),
        (
            vec![&cert, "--grpc-server-tls-key=/"],
            "--grpc-server-tls-key: / cannot be read: ",
        ),
        (
            vec![&cert, &wrong_key],
            "client.key.pem is not the key of the certificate",
        ),
        (vec![&cert, &key, &empty_ca], "has no certificate in it"),
        (
            vec![&cert, &key, "--grpc-server-tls-ciphers=A"],
            "--grpc-server-tls-ciphers: \"A\" is not a cipher suite",
        ),
        (
            vec![&cert, &key, "--grpc-server-tls-curves=P256"],
            "--grpc-server-tls-curves: \"P256\" is not a curve",
        ),
        (
            vec![&cert, &key, "--grpc-server-tls-curves=CurveP521"],
            "--grpc-server-tls-curves: none of these",
        ),
    ] {
        let flags = parse_groups(&[groups::grpc_server()], &arguments).unwrap();
        let error = GrpcOptions::from_flags(&flags).unwrap_err().to_string();
        assert!(
            error.starts_with("--grpc-server-tls-") && error.contains(problem),
            "{error}"
        );
    }
    let flags = parse_groups(&[groups::grpc_server()], &[]).unwrap();
    assert!(GrpcOptions::from_flags(&flags).unwrap().tls.is_none());
    assert!(parse_groups(&[groups::grpc_server()], &["--grpc-server-tls-min-version=1.4"]).is_err());
}
