//! A secret that a component is given, by a flag or by a file, is nowhere in what it writes or answers.

use std::{fs, path::Path};

use sabre_testkit::{prometheus::FakePrometheus, s3::S3Server};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::support::{Component, Refusing, binary, command};

mod environment;

const CANARY: &str = "k4n4ri3nv0g3l";
/// `me:` and the canary as basic authentication sends them.
const ENCODED: &str = "bWU6azRuNHJpM252MGczbA==";

/// Asked of every component: what it does not have is answered by 404.
const PAGES: &[&str] = &[
    "/metrics",
    "/",
    "/blocks",
    "/loaded",
    "/graph",
    "/stores",
    "/debug/pprof/",
    "/debug/pprof/cmdline",
    "/api/v1/status/compactor",
    "/api/v1/status/flags",
    "/api/v1/status/config",
    "/api/v1/status/buildinfo",
    "/api/v1/status/runtimeinfo",
    "/api/v1/stores",
    "/api/v1/targets",
    "/api/v1/query?query=up",
];

/// Requests are logged as they begin and as they end, which is the most that there is.
const LOGGING_REQUESTS: &str =
    "--request.logging-config={options: {level: DEBUG, decision: {log_start: true, log_end: true}}}";

/// A command line.
struct Row {
    what: &'static str,
    words: &'static [&'static str],
    flags: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

/// The servers that rows point at.
struct Around {
    s3: S3Server,
    prometheus: FakePrometheus,
    refusing: Refusing,
}

fn assert_silent(what: &str, text: &str) {
    for secret in [CANARY, ENCODED] {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{what}: {lines:#?}");
    }
}

impl Around {
    async fn start(dir: &Path) -> Self {
        let root = dir.join("s3");
        fs::create_dir(&root).unwrap();
        let s3 = S3Server::start(&root, "access", CANARY).await.unwrap();
        s3.create_bucket("blocks").unwrap();
        Self {
            s3,
            prometheus: FakePrometheus::start(&[("cluster", "eu1")]).await.unwrap(),
            refusing: Refusing::new(),
        }
    }

    fn bucket(&self, endpoint: &str, more: &str) -> String {
        format!(
            "{{type: S3, config: {{bucket: blocks, endpoint: '{endpoint}', insecure: true, access_key: access, \
             secret_key: {CANARY}, max_retries: 1{more}}}}}"
        )
    }

    /// The bucket that works.
    fn good_bucket(&self) -> String {
        self.bucket(&self.s3.endpoint(), "")
    }

    /// A bucket that is not there.
    fn bad_bucket(&self) -> String {
        self.bucket(&self.refusing.address(), &format!(", session_token: {CANARY}"))
    }
}

fn tracing(collector: &str) -> String {
    format!(
        "{{type: OTLP, config: {{client_type: grpc, endpoint: '{collector}', insecure: true, headers: {{authorization: \
         Bearer {CANARY}}}}}}}"
    )
}

fn row(what: &'static str, words: &'static [&'static str], flags: Vec<String>) -> Row {
    Row {
        what,
        words,
        flags,
        variables: Vec::new(),
    }
}

/// Components that start.
fn accepted(around: &Around, dir: &Path) -> Vec<Row> {
    let closed = around.refusing.address();
    let data = |name: &str| {
        let path = dir.join(name);
        fs::create_dir_all(&path).unwrap();
        path.display().to_string()
    };
    let url = around
        .prometheus
        .url()
        .replacen("http://", &format!("http://me:{CANARY}@"), 1);
    let traces = format!("--tracing.config={}", tracing(&closed));
    let redis = format!("{{type: REDIS, config: {{addr: '{closed}', username: me, password: {CANARY}}}}}");
    let servers = [
        "--http-address=127.0.0.1:0",
        "--grpc-address=127.0.0.1:0",
        LOGGING_REQUESTS,
    ]
    .map(str::to_owned);
    let with = |more: Vec<String>| [servers.to_vec(), more].concat();
    vec![
        row(
            "a sidecar",
            &["sidecar"],
            with(vec![
                format!("--prometheus.url={url}"),
                format!("--prometheus.http-client={{basic_auth: {{username: me, password: {CANARY}}}}}"),
                format!("--tsdb.path={}", data("tsdb")),
                format!("--objstore.config={}", around.good_bucket()),
                traces.clone(),
            ]),
        ),
        row(
            "a sidecar whose Prometheus is away",
            &["sidecar"],
            with(vec![
                format!("--prometheus.url=http://me:{CANARY}@{closed}"),
                format!(
                    "--prometheus.http-client={{bearer_token: {CANARY}, proxy_url: 'http://me:{CANARY}@{closed}'}}"
                ),
                format!("--tsdb.path={}", data("tsdb2")),
                format!("--objstore.config={}", around.bad_bucket()),
            ]),
        ),
        row(
            "a store",
            &["store"],
            with(vec![
                format!("--objstore.config={}", around.good_bucket()),
                format!("--index-cache.config={redis}"),
                format!("--store.caching-bucket.config={redis}"),
                format!("--data-dir={}", data("store")),
                traces.clone(),
            ]),
        ),
        row(
            "a store whose bucket is away",
            &["store"],
            with(vec![
                format!("--objstore.config={}", around.bad_bucket()),
                format!("--data-dir={}", data("store2")),
            ]),
        ),
        row(
            "a compactor",
            &["compact"],
            vec![
                "--wait".to_owned(),
                "--http-address=127.0.0.1:0".to_owned(),
                format!("--objstore.config={}", around.good_bucket()),
                format!("--data-dir={}", data("compact")),
                traces.clone(),
            ],
        ),
        row(
            "a compactor whose bucket is away",
            &["compact"],
            vec![
                "--http-address=127.0.0.1:0".to_owned(),
                format!("--objstore.config={}", around.bad_bucket()),
                format!("--data-dir={}", data("compact2")),
            ],
        ),
        row(
            "a querier",
            &["query"],
            with(vec![format!("--endpoint={closed}"), traces]),
        ),
        row(
            "tools at a bucket that is away",
            &["tools", "bucket", "ls"],
            vec![format!("--objstore.config={}", around.bad_bucket())],
        ),
    ]
}

/// The flags of es-retention that has this access to a cluster.
fn retention_config(dir: &Path, name: &str, endpoint: &str, access: &str) -> Vec<String> {
    let path = dir.join(name);
    let text = format!(
        "es_endpoint: {endpoint}\nregion: eu-central-1\nes_repo_name: repo\nes_index_prefix: logs\n\
         bucket_name: b\nindex_retention: 7\nsnapshot_retention: 30\nes_retention:\n  timeouts: {{attempts: 1}}\n  \
         access: {access}\n"
    );
    fs::write(&path, text).unwrap();
    vec![format!("--config-file={}", path.display())]
}

/// Jobs of es-retention, whose cluster is away.
fn retention(around: &Around, dir: &Path) -> Vec<Row> {
    let closed = around.refusing.address();
    let config = |name: &str, access: &str| retention_config(dir, name, &format!("http://{closed}"), access);
    let job: &'static [&'static str] = &["es-retention", "plan"];
    let basic = format!("{{basic: {{username: me, password: {CANARY}}}}}");
    let keys = format!("{{aws: {{access_key_id: a, secret_access_key: {CANARY}, session_token: {CANARY}}}}}");
    let mut by_variable = row(
        "es-retention with a name in its address",
        job,
        config("variable.yml", "{}"),
    );
    by_variable
        .variables
        .push(("HOST", format!("http://me:{CANARY}@{closed}")));
    let mut pushing = row(
        "es-retention that pushes",
        &["es-retention", "run"],
        config("push.yml", &basic),
    );
    pushing
        .flags
        .push(format!("--metrics.push-gateway=http://me:{CANARY}@{closed}"));
    vec![
        row("es-retention with a password", job, config("basic.yml", &basic)),
        row("es-retention with keys", job, config("keys.yml", &keys)),
        row(
            "es-retention with a token",
            job,
            config("token.yml", &format!("{{bearer_token: {CANARY}}}")),
        ),
        row(
            "es-retention with an API key",
            job,
            config("api.yml", &format!("{{api_key: {CANARY}}}")),
        ),
        by_variable,
        pushing,
    ]
}

/// Every document that may hold secrets, broken in a way that its error tells of.
fn refused() -> Vec<Row> {
    let documents: &[(&'static str, &'static [&'static str], &str)] = &[
        ("sidecar", &["sidecar"], "objstore.config"),
        ("sidecar", &["sidecar"], "prometheus.http-client"),
        ("store", &["store"], "objstore.config"),
        ("store", &["store"], "index-cache.config"),
        ("store", &["store"], "store.caching-bucket.config"),
        ("store", &["store"], "tracing.config"),
        ("compact", &["compact"], "objstore.config"),
        ("query", &["query"], "endpoint.sd-config"),
        ("query", &["query"], "tracing.config"),
        ("tools", &["tools", "bucket", "ls"], "objstore.config"),
    ];
    let broken = [
        format!("type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  secret_kee: {CANARY}\n"),
        format!("type: S3\nconfig: [{CANARY}]\n"),
        format!("type: S3\nconfig:\n  secret_key: \"{CANARY}\n"),
        format!("type: {CANARY}\n"),
        format!("{CANARY}\n"),
        format!("basic_auth: {{password: [{CANARY}]}}\n"),
    ];
    let mut rows = Vec::new();
    for (what, words, flag) in documents {
        for document in &broken {
            let mut flags = vec![format!("--{flag}={document}")];
            if *flag != "objstore.config" && matches!(*what, "store" | "compact" | "tools") {
                flags.push("--objstore.config={type: FILESYSTEM, config: {directory: /nowhere}}".to_owned());
            }
            rows.push(row(what, words, flags));
        }
    }
    rows
}

/// Moves every document of `row` into a file.
fn by_files(row: &mut Row, dir: &Path) {
    const DOCUMENTS: &[&str] = &[
        "--objstore.config=",
        "--prometheus.http-client=",
        "--index-cache.config=",
        "--store.caching-bucket.config=",
        "--tracing.config=",
    ];
    for (number, flag) in row.flags.iter_mut().enumerate() {
        let Some(start) = DOCUMENTS.iter().find(|start| flag.starts_with(**start)) else {
            continue;
        };
        let path = dir.join(format!("document{number}.yaml"));
        fs::write(&path, &flag[start.len()..]).unwrap();
        *flag = format!("{}-file={}", start.trim_end_matches('='), path.display());
    }
}

/// The body of an answer to a client who shows the secret; `None` if there is none.
async fn ask(address: &str, page: &str) -> Option<String> {
    let request = reqwest::Client::new().get(format!("http://{address}{page}"));
    let request = request.header("authorization", format!("Bearer {CANARY}"));
    let response = request.header("cookie", CANARY).send().await.ok()?;
    response.text().await.ok()
}

/// Calls it as a client who shows the secret; what it answers is its own affair.
async fn call(component: &mut Component) {
    let Some(address) = component.grpc_address().await else {
        return;
    };
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    let Ok(channel) = endpoint.connect().await else {
        return;
    };
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let authorization = format!("Basic {ENCODED}").parse().unwrap();
    request.metadata_mut().insert("authorization", authorization);
    let _ = HealthClient::new(channel).check(request).await;
}

/// Runs it until it is ready, in trouble or at its end, looks at all pages, and stops it. Returns its exit code.
async fn observe(row: &Row, dir: &Path) -> Option<i32> {
    let mut command = command(binary());
    command
        .args(row.words)
        .arg("--log.level=debug")
        .args(&row.flags)
        .envs(row.variables.iter().map(|(name, value)| (name, value)));
    let mut component = Component::start(row.what, command, dir);
    if let Some(address) = component.http_address().await {
        let in_trouble = |log: &str| log.contains("level=warn") || log.contains("level=error");
        component.settle(&address, in_trouble).await;
        for page in PAGES {
            if let Some(body) = ask(&address, page).await {
                assert_silent(&format!("{}: {page}", row.what), &body);
            }
        }
        if row.flags.iter().any(|flag| flag.starts_with("--grpc-address=")) {
            call(&mut component).await;
        }
        component.stop().await;
    }
    let code = component.end().await.code();
    let logs_requests = row.flags.iter().any(|flag| flag == LOGGING_REQUESTS);
    assert!(
        !logs_requests || component.stderr().contains("started gRPC call"),
        "{}",
        row.what
    );
    // Others have pages of their own only.
    let is_querier = logs_requests && row.words == ["query"];
    assert!(!is_querier || component.stderr().contains("started HTTP request"));
    assert_silent(&format!("{}: standard output", row.what), &component.stdout());
    assert_silent(&format!("{}: log", row.what), &component.stderr());
    assert!(!component.stderr().is_empty(), "{}", row.what);
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn no_component_shows_a_secret_given_by_a_flag() {
    let dir = tempfile::tempdir().unwrap();
    let around = Around::start(dir.path()).await;
    for row in accepted(&around, dir.path()) {
        observe(&row, dir.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_component_shows_a_secret_given_by_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let around = Around::start(dir.path()).await;
    for mut row in accepted(&around, dir.path()) {
        by_files(&mut row, dir.path());
        observe(&row, dir.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn es_retention_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let around = Around::start(dir.path()).await;
    for row in retention(&around, dir.path()) {
        let code = observe(&row, dir.path()).await;
        assert_ne!(code, Some(0), "{}: its cluster is away", row.what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_refused_show_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    for row in refused() {
        let code = observe(&row, dir.path()).await;
        assert!(
            matches!(code, Some(1 | 2)),
            "{} {:?}: {code:?}",
            row.what,
            row.flags
        );
    }
}

/// The test above can fail: a secret that is shown is found.
#[test]
#[should_panic(expected = "a log: ")]
fn a_secret_that_is_shown_is_found() {
    assert_silent("a log", &format!("one\ntwo {CANARY}"));
}
