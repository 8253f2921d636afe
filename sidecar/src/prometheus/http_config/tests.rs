use axum::{Router, http::HeaderMap, http::header::AUTHORIZATION, routing::get};
use sabre_runtime::{
    flags::{groups, parse_groups},
    http_server::{HttpOptions, HttpServer},
    metrics::Registry,
    probe::Probe,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::*;
use crate::{
    prometheus::{PrometheusClient, PrometheusError},
    testing::ScriptedPrometheus,
};

/// Certificates for tests: `server.pem` is for `store.test` and `127.0.0.1`, `named.pem` for neither.
const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../lib/runtime/src/tls/certificates");

/// Of `secret`, with the fewest rounds that there are.
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

fn parse(text: &str) -> HttpClientConfig {
    sabre_runtime::yaml::from_str_strict("--prometheus.http-client", text).unwrap()
}

fn refused(yaml: &str) -> String {
    parse(yaml).build().unwrap_err().to_string()
}

/// A server with TLS and passwords as Prometheus' `--web.config.file` would have it. It says who asks as its version.
struct Guarded {
    url: Url,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Guarded {
    /// `more` stands in its `tls_server_config`, `users` at the top.
    async fn start(more: &str, users: &str) -> Guarded {
        let dir = tempfile::tempdir().unwrap();
        let web = dir.path().join("web.yml");
        let text = format!(
            "tls_server_config: {{cert_file: {CERTIFICATES}/server.pem, key_file: {CERTIFICATES}/server.key.pem{more}}}\n{users}"
        );
        fs::write(&web, text).unwrap();
        let flag = format!("--http.config={}", web.display());
        let flags = parse_groups(&[groups::http()], &["--http-address=127.0.0.1:0", &flag]).unwrap();
        let (registry, probe) = (Registry::new(), Probe::new(&Registry::new()));
        let who = get(async |headers: HeaderMap| {
            let who = headers.get(AUTHORIZATION).and_then(|who| who.to_str().ok());
            let who = who.unwrap_or("nobody").to_owned();
            serde_json::json!({"status": "success", "data": {"version": who}}).to_string()
        });
        let server = HttpServer::new(HttpOptions::from_flags(&flags).unwrap(), &registry, &probe)
            .routes(Router::new().route("/api/v1/status/buildinfo", who));
        let bound = server.bind().await.unwrap();
        let (url, stop) = (
            format!("https://{}", bound.local_addr()),
            CancellationToken::new(),
        );
        tokio::spawn(bound.serve(stop.clone()));
        Guarded {
            url: Url::parse(&url).unwrap(),
            stop,
            _dir: dir,
        }
    }

    /// Who the server takes a client with this document for.
    async fn seen(&self, document: &str) -> Result<String, PrometheusError> {
        let http = parse(document).build().unwrap();
        PrometheusClient::new(http, self.url.clone(), Duration::from_secs(60))
            .version()
            .await
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_under_tls_is_asked_by_those_who_trust_its_authority() {
    let server = Guarded::start("", "").await;
    let ca = format!("ca_file: {CERTIFICATES}/ca.pem");
    assert_eq!(
        server.seen(&format!("tls_config: {{{ca}}}")).await.unwrap(),
        "nobody"
    );
    let other = format!("tls_config: {{ca_file: {CERTIFICATES}/other-ca.pem}}");
    for untrusting in ["{}", &other] {
        let error = server.seen(untrusting).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
    let skipping = "tls_config: {insecure_skip_verify: true}";
    assert_eq!(server.seen(skipping).await.unwrap(), "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_must_be_for_the_name_that_is_given() {
    let server = Guarded::start("", "").await;
    let named = |name: &str| format!("tls_config: {{ca_file: {CERTIFICATES}/ca.pem, server_name: {name}}}");
    assert_eq!(server.seen(&named("store.test")).await.unwrap(), "nobody");
    let error = server.seen(&named("other.test")).await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate_where_one_is_asked_for() {
    let asks =
        format!(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: {CERTIFICATES}/ca.pem");
    let server = Guarded::start(&asks, "").await;
    let ca = format!("ca_file: {CERTIFICATES}/ca.pem");
    server.seen(&format!("tls_config: {{{ca}}}")).await.unwrap_err();
    let shown = format!(
        "tls_config: {{{ca}, cert_file: {CERTIFICATES}/client.pem, key_file: {CERTIFICATES}/client.key.pem}}"
    );
    assert_eq!(server.seen(&shown).await.unwrap(), "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_passwords_are_shown_also_those_in_files() {
    let server = Guarded::start("", &format!("basic_auth_users: {{me: '{HASH}'}}")).await;
    let tls = "tls_config: {insecure_skip_verify: true}";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "secret\n").unwrap();
    for password in [
        "password: secret".to_owned(),
        format!("password_file: {}", file.display()),
    ] {
        let document = format!("{tls}\nbasic_auth: {{username: me, {password}}}");
        assert_eq!(server.seen(&document).await.unwrap(), "Basic bWU6c2VjcmV0");
    }
    for wrong in ["", "\nbasic_auth: {username: me, password: wrong}"] {
        let error = server.seen(&format!("{tls}{wrong}")).await.unwrap_err();
        assert!(
            matches!(&error, PrometheusError::Status { status, .. } if status.as_u16() == 401),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_and_read_anew_from_its_file() {
    let server = Guarded::start("", "").await;
    let tls = "tls_config: {insecure_skip_verify: true}";
    let text = format!("{tls}\nbearer_token: abc");
    assert_eq!(server.seen(&text).await.unwrap(), "Bearer abc");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "first\n").unwrap();
    let document = format!("{tls}\nbearer_token_file: {}", file.display());
    let http = parse(&document).build().unwrap();
    let client = PrometheusClient::new(http, server.url.clone(), Duration::from_secs(60));
    assert_eq!(client.version().await.unwrap(), "Bearer first");
    fs::write(&file, "second\n").unwrap();
    assert_eq!(client.version().await.unwrap(), "Bearer second");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy() {
    let proxy = ScriptedPrometheus::start().await;
    let http = parse(&format!("proxy_url: {}", proxy.url)).build().unwrap();
    // Nobody has this name: who is asked is the proxy.
    let elsewhere = Url::parse("http://prometheus.invalid/prefix").unwrap();
    let client = PrometheusClient::new(http, elsewhere, Duration::from_secs(60));
    proxy.answers_data("api/v1/status/buildinfo", r#"{"version":"1"}"#);
    assert_eq!(client.version().await.unwrap(), "1");
}

#[tokio::test]
async fn the_head_of_an_answer_is_waited_for_as_long_as_the_document_says() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = parse("transport_config: {response_header_timeout: 1000000}")
        .build()
        .unwrap();
    // Nobody answers there.
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let client = PrometheusClient::new(http, url, Duration::from_secs(3_600));
    let error = client.version().await.unwrap_err().to_string();
    assert!(error.contains("response_header_timeout"), "{error}");
}

#[tokio::test]
async fn an_answer_is_waited_for_as_long_as_the_flag_says() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let http = HttpClientConfig::default().build().unwrap();
    // Nobody answers there.
    let client = PrometheusClient::new(http, url, Duration::from_millis(1));
    let error = client.version().await.unwrap_err().to_string();
    assert!(error.contains("no answer from Prometheus"), "{error}");
}

#[tokio::test]
async fn answers_are_asked_for_packed_unless_the_document_says_otherwise() {
    for (document, wanted) in [
        ("{}", true),
        ("transport_config: {disable_compression: true}", false),
    ] {
        let http = parse(document).build().unwrap();
        let server = sabre_testkit::s3::ScriptedServer::start_with(|_| sabre_testkit::s3::Answer::new(404));
        let server = server.await.unwrap();
        let url = Url::parse(&format!("http://{}", server.address())).unwrap();
        let client = PrometheusClient::new(http, url, Duration::from_secs(60));
        client.version().await.unwrap_err();
        let asked = server.requests().remove(0);
        assert_eq!(asked.header("accept-encoding").is_some(), wanted, "{document}");
    }
}

#[test]
fn limits_of_idle_connections_are_those_of_go() {
    let idle = |text: &str| parse(text).transport_config.idle_connections();
    assert_eq!(idle("{}"), 2);
    assert_eq!(idle("transport_config: {max_idle_conns_per_host: 9}"), 9);
    assert_eq!(idle("transport_config: {max_idle_conns_per_host: 0}"), 2);
    assert_eq!(
        idle("transport_config: {max_idle_conns_per_host: 9, max_idle_conns: 3}"),
        3
    );
    assert_eq!(
        idle("transport_config: {max_idle_conns_per_host: 9, max_idle_conns: 0}"),
        9
    );
}

#[test]
fn what_has_no_effect_is_said() {
    let ignored = |text: &str| parse(text).transport_config.ignored();
    assert!(ignored("transport_config: {dialer_timeout: 1, tls_handshake_timeout: 1}").is_empty());
    let both = ignored("transport_config: {max_conns_per_host: 3, expect_continue_timeout: 1}");
    let keys: Vec<&str> = both.iter().map(|(key, _)| *key).collect();
    assert_eq!(
        keys,
        [
            "transport_config.max_conns_per_host",
            "transport_config.expect_continue_timeout"
        ]
    );
}

#[test]
fn what_prometheus_operator_passes_is_accepted() {
    for text in [
        r#"{"tls_config": {"insecure_skip_verify":true}}"#,
        "tls_config:\n  insecure_skip_verify: true\n",
        "transport_config: {max_idle_conns: 3, dialer_timeout: 1000000000}",
    ] {
        parse(text).build().unwrap();
    }
}

#[test]
fn bad_documents_name_the_key() {
    assert!(refused("tls_config: {cert_file: a.pem}").contains("tls_config.key_file"));
    assert!(
        refused("tls_config: {ca_file: nowhere.pem}").contains("tls_config.ca_file: cannot read nowhere.pem")
    );
    assert!(refused("tls_config: {server_name: a b}").contains("tls_config.server_name"));
    assert!(refused("bearer_token: x\nbasic_auth: {username: u}").contains("basic_auth"));
    assert!(refused("bearer_token_file: does-not-exist").contains("does-not-exist"));
    let unknown = sabre_runtime::yaml::from_str_strict::<HttpClientConfig>("flag", "tls: {}");
    assert!(unknown.is_err_and(|error| error.to_string().contains("tls")));
}

#[test]
fn secrets_are_not_printed() {
    let config = parse("basic_auth: {username: u, password: canary}");
    assert!(!format!("{config:?}{:?}", config.build().unwrap()).contains("canary"));
}
