//! A component whose servers speak TLS, know their clients by certificate or by password, and whose certificates are
//! renewed on disk.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use hyper_util::rt::TokioIo;
use reqwest::{Certificate, Client, StatusCode};
use sabre_runtime::tls::{ClientFiles, client_config};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::support::{Component, binary, command};

/// The bcrypt hash of `secret`, with the fewest rounds that there are.
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

fn certificate(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../lib/runtime/src/tls/certificates");
    format!("{folder}/{name}")
}

/// Puts a certificate in place as a Secret is replaced: whole, under another inode.
fn put(path: &Path, name: &str) {
    let new = path.with_extension("new");
    fs::copy(certificate(name), &new).unwrap();
    fs::rename(new, path).unwrap();
}

/// A client of HTTP that trusts this authority and finds the server under its names.
fn client(authority: &str, address: SocketAddr) -> Client {
    let authority = fs::read(certificate(authority)).unwrap();
    let builder = Client::builder().tls_certs_only([Certificate::from_pem(&authority).unwrap()]);
    let builder = builder.pool_max_idle_per_host(0);
    let names = ["store.test", "renewed.test"];
    let named = names
        .into_iter()
        .fold(builder, |builder, name| builder.resolve(name, address));
    named.build().unwrap()
}

/// What the server that is called `name` answers to this user, or `None` without a connection.
async fn get(
    client: &Client,
    name: &str,
    address: SocketAddr,
    user: Option<(&str, &str)>,
) -> Option<StatusCode> {
    let mut request = client.get(format!("https://{name}:{}/-/ready", address.port()));
    if let Some((user, password)) = user {
        request = request.basic_auth(user, Some(password));
    }
    Some(request.send().await.ok()?.status())
}

/// Whether the gRPC server that is called `name` answers a client who shows this certificate.
async fn is_served(address: SocketAddr, name: &'static str, shown: Option<&str>) -> bool {
    let mut files = ClientFiles {
        ca_file: certificate("ca.pem"),
        ..ClientFiles::default()
    };
    if let Some(shown) = shown {
        files.cert_file = certificate(&format!("{shown}.pem"));
        files.key_file = certificate(&format!("{shown}.key.pem"));
    }
    let mut config = client_config(&files).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_: axum::http::Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let stream = connector.connect(name.try_into().unwrap(), stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let channel = Endpoint::from_static("https://store.test").connect_with_connector_lazy(connect);
    let health = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    health.is_ok()
}

fn querier(dir: &Path, more: &[String]) -> Component {
    let mut command = command(binary());
    command
        .args([
            "query",
            "--http-address=127.0.0.1:0",
            "--grpc-address=127.0.0.1:0",
        ])
        .args(more);
    Component::start("the querier", command, dir)
}

fn grpc_flags(dir: &Path) -> Vec<String> {
    vec![
        format!("--grpc-server-tls-cert={}/tls.crt", dir.display()),
        format!("--grpc-server-tls-key={}/tls.key", dir.display()),
        format!("--grpc-server-tls-client-ca={}", certificate("ca.pem")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_clients_are_let_in_and_a_renewed_certificate_is_shown_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    put(&cert, "server.pem");
    put(&key, "server.key.pem");
    let web = dir.path().join("web.yml");
    let text = format!(
        "tls_server_config: {{cert_file: tls.crt, key_file: tls.key}}\nbasic_auth_users: {{me: {HASH}}}\n"
    );
    fs::write(&web, text).unwrap();
    let mut flags = grpc_flags(dir.path());
    flags.push(format!("--http.config={}", web.display()));
    let mut querier = querier(dir.path(), &flags);
    let http: SocketAddr = querier.http_address().await.unwrap().parse().unwrap();
    let grpc: SocketAddr = querier.grpc_address().await.unwrap().parse().unwrap();
    let (friend, stranger) = (client("ca.pem", http), client("other-ca.pem", http));
    let me = Some(("me", "secret"));
    // It is ready as soon as it has looked for its endpoints, of which there are none.
    while get(&friend, "store.test", http, me).await == Some(StatusCode::SERVICE_UNAVAILABLE) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for (client, name, user, expected) in [
        (&friend, "store.test", me, Some(StatusCode::OK)),
        (&friend, "store.test", None, Some(StatusCode::UNAUTHORIZED)),
        (
            &friend,
            "store.test",
            Some(("me", "wrong")),
            Some(StatusCode::UNAUTHORIZED),
        ),
        (
            &friend,
            "store.test",
            Some(("you", "secret")),
            Some(StatusCode::UNAUTHORIZED),
        ),
        (&friend, "renewed.test", me, None),
        (&stranger, "store.test", me, None),
    ] {
        assert_eq!(get(client, name, http, user).await, expected, "{name} {user:?}");
    }
    for (name, shown, expected) in [
        ("store.test", Some("client"), true),
        ("store.test", Some("stranger"), false),
        ("store.test", None, false),
        ("renewed.test", Some("client"), false),
    ] {
        assert_eq!(is_served(grpc, name, shown).await, expected, "{name} {shown:?}");
    }
    put(&cert, "renewed.pem");
    put(&key, "renewed.key.pem");
    assert_eq!(get(&friend, "renewed.test", http, me).await, Some(StatusCode::OK));
    assert_eq!(get(&friend, "store.test", http, me).await, None);
    assert!(is_served(grpc, "renewed.test", Some("client")).await);
    assert!(!is_served(grpc, "store.test", Some("client")).await);
    assert!(!is_served(grpc, "renewed.test", Some("stranger")).await);
    let status = querier.stop().await;
    assert!(status.success(), "{}", querier.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_no_use_is_refused_before_anything_is_served_and_an_expired_one_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    put(&key, "server.key.pem");
    for (content, problem) in [(None, "No such file"), (Some("nonsense"), "no certificate")] {
        if let Some(content) = content {
            fs::write(&cert, content).unwrap();
        }
        let mut querier = querier(dir.path(), &grpc_flags(dir.path()));
        let status = querier.end().await;
        let log = querier.stderr();
        assert_eq!(status.code(), Some(1), "{log}");
        let named = log.contains("grpc-server-tls-cert") && log.contains(&cert.display().to_string());
        assert!(named && log.contains(problem), "{log}");
        assert!(!log.contains("listening for"), "{log}");
    }
    put(&cert, "expired.pem");
    let mut querier = querier(dir.path(), &grpc_flags(dir.path()));
    querier.grpc_address().await.unwrap();
    let log = querier.stderr();
    let warned = log.find("has expired: it ended at 2021-01-01T00:00:00Z");
    assert!(
        log.contains("level=warn") && log.contains("tls.crt") && warned.is_some(),
        "{log}"
    );
    assert!(
        warned < log.find("listening for"),
        "before anything is served: {log}"
    );
    let status = querier.stop().await;
    assert!(status.success(), "{}", querier.stderr());
}
