//! A server with `--http.config`, asked as clients do.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, http::Extensions, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    flags::{groups, parse_groups},
    http_server::{HttpOptions, HttpServer},
    metrics::Registry,
    probe::Probe,
    tls::Subject,
    tls::test_files::{ask, certificate, connect, nobody, put, replace, somebody},
};

/// Of `secret`, with the fewest rounds that there are.
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const ME: &str = "Authorization: Basic bWU6c2VjcmV0";

struct Running {
    folder: TempDir,
    address: SocketAddr,
    registry: Registry,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What the flag makes of this file, without a server.
fn options(folder: &TempDir, text: &str) -> Result<HttpOptions, String> {
    let path = folder.path().join("web.yml");
    replace(&path, text);
    let arguments = [
        "--http-address=127.0.0.1:0",
        &format!("--http.config={}", path.display()),
    ];
    let flags = parse_groups(&[groups::http()], &arguments).unwrap();
    HttpOptions::from_flags(&flags).map_err(|error| error.to_string())
}

/// The certificate stands beside the file.
fn with_certificate() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("tls.crt"), "server.pem");
    put(&folder.path().join("tls.key"), "server.key.pem");
    folder
}

fn error_of(text: &str) -> String {
    options(&with_certificate(), text).unwrap_err()
}

async fn start(text: &str) -> Running {
    let folder = with_certificate();
    let options = options(&folder, text).unwrap();
    let registry = Registry::new();
    let probe = Probe::new(&registry);
    let framed = get(async || ([("x-frame-options", "sameorigin")], "framed"));
    let who = get(async |extensions: Extensions| {
        let subject = extensions.get::<Arc<Subject>>();
        let name = subject.and_then(|subject| subject.common_name.clone());
        format!("{name:?}")
    });
    let routes = Router::new().route("/framed", framed).route("/who", who);
    let server = HttpServer::new(options, &registry, &probe).routes(routes);
    let bound = server.bind().await.unwrap();
    probe.set_ready();
    let stop = CancellationToken::new();
    Running {
        folder,
        address: bound.local_addr(),
        registry,
        stop: stop.clone(),
        task: tokio::spawn(bound.serve(stop)),
    }
}

impl Running {
    async fn plain(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn status(&self, head: &str) -> String {
        self.plain(head).await.chars().skip(9).take(3).collect()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn exports(&self, line: &str) -> bool {
        self.registry.classic().lines().any(|found| found == line)
    }
}

const TLS: &str = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n";

#[tokio::test]
async fn passwords_guard_everything_probes_and_metrics_too() {
    let server = start(&format!("basic_auth_users:\n  me: {HASH}\n")).await;
    for path in ["/-/healthy", "/-/ready", "/metrics", "/framed", "/nothing"] {
        let refused = server.plain(&format!("GET {path} HTTP/1.1")).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{path}: {refused}");
        assert!(refused.contains("www-authenticate: Basic\r\n"), "{refused}");
        assert!(refused.ends_with("\r\n\r\nUnauthorized\n"), "{refused}");
    }
    assert_eq!(
        server.status(&format!("GET /-/ready HTTP/1.1\r\n{ME}")).await,
        "200"
    );
    assert_eq!(
        server.status(&format!("GET /nothing HTTP/1.1\r\n{ME}")).await,
        "404"
    );
    // me:wrong, you:secret
    for wrong in ["bWU6d3Jvbmc=", "eW91OnNlY3JldA=="] {
        let head = format!("GET /metrics HTTP/1.1\r\nAuthorization: Basic {wrong}");
        assert_eq!(server.status(&head).await, "401");
    }
}

#[tokio::test]
async fn users_are_those_of_the_file_as_it_is_now() {
    let server = start(&format!("basic_auth_users:\n  me: {HASH}\n")).await;
    let head = format!("GET /-/ready HTTP/1.1\r\n{ME}");
    assert_eq!(server.status(&head).await, "200");
    replace(
        &server.file("web.yml"),
        format!("basic_auth_users:\n  other: {HASH}\n"),
    );
    assert_eq!(server.status(&head).await, "401");
    replace(&server.file("web.yml"), "basic_auth_userz: {}\n");
    assert_eq!(
        server.status(&head).await,
        "401",
        "a file of no use leaves the old one"
    );
    assert!(server.exports("sabre_server_reloads_total{server=\"http\",result=\"failed\"} 1"));
    replace(&server.file("web.yml"), "");
    assert_eq!(server.status("GET /-/ready HTTP/1.1").await, "200");
    assert!(server.exports("sabre_server_reloads_total{server=\"http\",result=\"ok\"} 2"));
}

#[tokio::test]
async fn headers_are_added_and_those_of_a_handler_stay() {
    let headers = "{X-Frame-Options: deny, Strict-Transport-Security: max-age=9, X-XSS-Protection: ''}";
    let server = start(&format!("http_server_config: {{headers: {headers}}}\n")).await;
    let ready = server.plain("GET /-/ready HTTP/1.1").await;
    assert!(ready.contains("x-frame-options: deny\r\n"), "{ready}");
    assert!(
        ready.contains("strict-transport-security: max-age=9\r\n"),
        "{ready}"
    );
    assert!(!ready.contains("x-xss-protection"), "{ready}");
    let framed = server.plain("GET /framed HTTP/1.1").await;
    assert!(framed.contains("x-frame-options: sameorigin\r\n"), "{framed}");
}

#[tokio::test]
async fn requests_beyond_the_rate_are_turned_away() {
    let server = start("rate_limit: {interval: 10h, burst: 2}\n").await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(server.status("GET /-/ready HTTP/1.1").await);
    }
    assert_eq!(answers, ["200", "200", "429"]);
}

#[tokio::test]
async fn probes_and_metrics_answer_under_tls_to_whom_trusts_the_authority() {
    let server = start(TLS).await;
    for name in ["store.test", "127.0.0.1"] {
        let ready = ask(server.address, name, &nobody(), "GET /-/ready HTTP/1.1")
            .await
            .unwrap();
        assert!(
            ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("OK"),
            "{ready}"
        );
    }
    let mut stranger = nobody();
    stranger.ca_file = certificate("other-ca.pem");
    let error = ask(server.address, "store.test", &stranger, "GET / HTTP/1.1")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let error = ask(server.address, "other.test", &nobody(), "GET / HTTP/1.1")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let page = server.registry.classic();
    let line = "sabre_server_certificate_end_timestamp_seconds{server=\"http\"} 4";
    assert!(page.contains(line), "{page}");
    server.stop.cancel();
    server.task.await.unwrap();
}

/// Speaks HTTP/2 on the stream.
async fn http_2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

#[tokio::test]
async fn http_2_is_spoken_under_tls_unless_the_file_says_no() {
    let server = start(TLS).await;
    let stream = connect(server.address, "store.test", &nobody(), &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = http_2(stream).await;
    let request = http::Request::get("https://store.test/-/ready")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, http::Version::HTTP_2)
    );
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "OK");
    connection.abort();

    replace(
        &server.file("web.yml"),
        format!("{TLS}http_server_config: {{http2: false}}\n"),
    );
    let stream = connect(server.address, "store.test", &nobody(), &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn headers_that_are_too_long_for_http_2_are_refused() {
    /// More than a client sends besides.
    const OTHERS_BYTES: usize = 1_000;
    let server = start(TLS).await;
    for (bytes, status) in [
        (super::super::MAX_HEAD_BYTES - OTHERS_BYTES, 200),
        (super::super::MAX_HEAD_BYTES, 431),
    ] {
        let stream = connect(server.address, "store.test", &nobody(), &["h2"])
            .await
            .unwrap();
        let (mut sender, connection) = http_2(stream).await;
        let request = http::Request::get("https://store.test/-/ready")
            .header("x", "a".repeat(bytes))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{bytes}");
        connection.abort();
    }
}

#[tokio::test]
async fn clients_show_a_certificate_of_the_authority_with_a_name_that_is_allowed() {
    let folder = format!(
        "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: {}\n",
        certificate("ca.pem")
    );
    let server = start(&folder).await;
    let ready = "GET /-/ready HTTP/1.1";
    assert!(
        ask(server.address, "store.test", &somebody("client"), ready)
            .await
            .is_ok()
    );
    assert!(ask(server.address, "store.test", &nobody(), ready).await.is_err());
    assert!(
        ask(server.address, "store.test", &somebody("stranger"), ready)
            .await
            .is_err()
    );
    replace(
        &server.file("web.yml"),
        format!("{folder}  client_allowed_sans: [other.test]\n"),
    );
    assert!(
        ask(server.address, "store.test", &somebody("client"), ready)
            .await
            .is_err()
    );
    replace(
        &server.file("web.yml"),
        format!("{folder}  client_allowed_sans: [other.test, client.test]\n"),
    );
    assert!(
        ask(server.address, "store.test", &somebody("client"), ready)
            .await
            .is_ok()
    );
    let line = "sabre_tls_handshake_failures_total{server=\"http\",reason=\"failed\"} 3";
    assert!(server.exports(line), "{}", server.registry.classic());
}

#[tokio::test]
async fn handlers_know_whom_the_certificate_of_a_client_is_for() {
    let who = "GET /who HTTP/1.1";
    let server = start(&TLS.replace('}', ", client_auth_type: RequestClientCert}")).await;
    for (client, name) in [
        (somebody("client"), "Some(\"client\")"),
        (somebody("stranger"), "Some(\"stranger\")"),
        (nobody(), "None"),
    ] {
        // The second connection takes up the session of the first.
        for _ in 0..2 {
            let answer = ask(server.address, "store.test", &client, who).await.unwrap();
            assert!(answer.ends_with(name), "{answer}");
        }
    }
}

#[tokio::test]
async fn any_certificate_will_do_where_none_is_verified() {
    let server = start(&TLS.replace('}', ", client_auth_type: RequireAnyClientCert}")).await;
    let ready = "GET /-/ready HTTP/1.1";
    assert!(
        ask(server.address, "store.test", &somebody("stranger"), ready)
            .await
            .is_ok()
    );
    assert!(ask(server.address, "store.test", &nobody(), ready).await.is_err());
}

#[tokio::test]
async fn the_lowest_and_the_highest_version_are_kept_to() {
    let server = start(&TLS.replace('}', ", max_version: TLS12}")).await;
    let only_1_3 = crate::tls::ClientFiles {
        min_version: "1.3".to_owned(),
        ..nobody()
    };
    let ready = "GET /-/ready HTTP/1.1";
    assert!(ask(server.address, "store.test", &nobody(), ready).await.is_ok());
    assert!(ask(server.address, "store.test", &only_1_3, ready).await.is_err());
    replace(&server.file("web.yml"), TLS.replace('}', ", min_version: TLS13}"));
    assert!(ask(server.address, "store.test", &only_1_3, ready).await.is_ok());
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_the_next_client_and_a_bad_one_to_nobody() {
    let server = start(TLS).await;
    let ready = "GET /-/ready HTTP/1.1";
    put(&server.file("tls.key"), "renewed.key.pem");
    assert!(
        ask(server.address, "store.test", &nobody(), ready).await.is_ok(),
        "the key is ahead of its certificate, both stay"
    );
    put(&server.file("tls.crt"), "renewed.pem");
    assert!(
        ask(server.address, "renewed.test", &nobody(), ready)
            .await
            .is_ok()
    );
    assert!(ask(server.address, "store.test", &nobody(), ready).await.is_err());
    std::fs::remove_file(server.file("tls.crt")).unwrap();
    assert!(
        ask(server.address, "renewed.test", &nobody(), ready)
            .await
            .is_ok()
    );
    assert!(server.exports("sabre_server_reloads_total{server=\"http\",result=\"failed\"} 2"));
    assert!(server.exports("sabre_server_reloads_total{server=\"http\",result=\"ok\"} 1"));
    replace(&server.file("web.yml"), "");
    assert!(
        ask(server.address, "renewed.test", &nobody(), ready)
            .await
            .is_ok(),
        "TLS is not turned off under way"
    );
}

#[test]
fn certificate_and_key_may_stand_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let indented = |name: &str| {
        let text = std::fs::read_to_string(certificate(name)).unwrap();
        text.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    let text = format!(
        "tls_server_config:\n  cert: |\n{}  key: |\n{}",
        indented("server.pem"),
        indented("server.key.pem")
    );
    let options = options(&folder, &text).unwrap();
    assert!(!format!("{options:?}").contains("PRIVATE"));
    assert!(options.web.unwrap().config().current().tls.is_some());
}

#[test]
fn files_of_exporters_that_are_right_are_taken() {
    for text in [
        "",
        "# nothing\n",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
        "tls_server_config: {min_version: TLS13}",
        "rate_limit: {interval: 0}",
        "rate_limit: {interval: 1000000000, burst: 1}",
    ] {
        let options = options(&with_certificate(), text).unwrap();
        assert!(options.web.unwrap().config().current().tls.is_none(), "{text}");
    }
    for more in [
        "",
        ", client_auth_type: NoClientCert",
        ", min_version: TLS10",
        ", cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]",
        ", curve_preferences: [CurveP521, CurveP256], prefer_server_cipher_suites: false",
    ] {
        let options = options(&with_certificate(), &TLS.replace('}', &format!("{more}}}"))).unwrap();
        assert!(options.web.unwrap().config().current().tls.is_some(), "{more}");
    }
}

#[test]
fn what_is_wrong_with_the_file_is_said_with_its_key() {
    for (text, problem) in [
        ("junk", "web configuration"),
        (
            "tls_server_confi: {}",
            "unknown key `tls_server_confi`, known are tls_server_config",
        ),
        (
            "tls_server_config: {cert_filee: a}",
            "unknown key `cert_filee`, known are cert, key",
        ),
        (
            "tls_server_config: {cert_file: tls.crt}",
            "tls_server_config.key_file: it is missing",
        ),
        (
            "tls_server_config: {key_file: tls.key}",
            "tls_server_config.cert_file: it is missing",
        ),
        (
            "tls_server_config: {cert_file: no.crt, key_file: tls.key}",
            "no.crt cannot be read: No such file",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.crt}",
            "tls.crt has no private key in it",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, client_auth_type: Please}",
            "none of NoClientCert",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, client_auth_type: RequireAndVerifyClientCert}",
            "tls_server_config.client_ca_file: it is missing",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, client_ca_file: tls.crt}",
            "tls_server_config.client_ca_file: clients are not asked",
        ),
        (
            "tls_server_config: {client_allowed_sans: [client.test]}",
            "tls_server_config.cert_file: it is missing",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, client_allowed_sans: [client.test], \
             client_auth_type: RequireAnyClientCert}",
            "tls_server_config.client_allowed_sans: names of clients say nothing unless",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, client_allowed_sans: [me@client.test], \
             client_ca_file: tls.crt, client_auth_type: RequireAndVerifyClientCert}",
            "tls_server_config.client_allowed_sans: \"me@client.test\" is an e-mail address",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, min_version: '1.2'}",
            "none of TLS10",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, max_version: TLS11}",
            "older than 1.2 are not",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, min_version: TLS13, max_version: TLS12}",
            "tls_server_config.max_version: it is lower",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, cipher_suites: [TLS_INVENTED]}",
            "tls_server_config.cipher_suites: \"TLS_INVENTED\" is not a cipher suite",
        ),
        (
            "tls_server_config: {cert_file: tls.crt, key_file: tls.key, curve_preferences: [CurveP521]}",
            "tls_server_config.curve_preferences: none of these",
        ),
        (
            "http_server_config: {headers: {X-Mine: a}}",
            "headers.X-Mine: this header cannot be set",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: maybe}}",
            "one of deny, sameorigin is wanted",
        ),
        (
            "basic_auth_users: {me: canary}",
            "basic_auth_users.me: a bcrypt hash is wanted",
        ),
        ("rate_limit: {interval: soon, burst: 1}", "rate_limit.interval: "),
        (
            "rate_limit: {interval: -1s, burst: 1}",
            "rate_limit.interval: a duration below zero",
        ),
        ("rate_limit: {interval: 1s}", "rate_limit.burst: with 0"),
    ] {
        let error = error_of(text);
        assert!(
            error.starts_with("--http.config: /") && error.contains("/web.yml: "),
            "{error}"
        );
        assert!(error.contains(problem), "{text}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
    let missing = parse_groups(&[groups::http()], &["--http.config=/no/such.yml"]).unwrap();
    let error = HttpOptions::from_flags(&missing).unwrap_err().to_string();
    assert!(
        error.starts_with("--http.config: /no/such.yml: cannot be read: No such file"),
        "{error}"
    );
}
