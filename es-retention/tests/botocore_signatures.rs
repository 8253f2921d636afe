//! An independent implementation recomputes signatures: botocore, in `tests/scripts/verify_signatures.py`, over the bytes that
//! came.
//!
//! Runs where `SABRE_TEST_BOTOCORE_PYTHON` names a Python that has botocore, and says that it skips where it is not set.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use sabre_es_retention::{
    access::{AccessSettings, HttpTransport},
    cluster::transport::{Method, Request, Response, Transport},
};
use serde_json::{Value, json};

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION_TOKEN: &str = "FwoGZXIvYXdzEJr//////////wEaDI+x/+=";
const METHODS: [Method; 5] = [
    Method::Get,
    Method::Head,
    Method::Put,
    Method::Post,
    Method::Delete,
];

/// Ends with the test.
struct Verifier {
    process: Child,
    endpoint: String,
}

impl Verifier {
    fn start(session_token: Option<&str>) -> Option<Verifier> {
        let Ok(python) = std::env::var("SABRE_TEST_BOTOCORE_PYTHON") else {
            eprintln!("SKIPPED: SABRE_TEST_BOTOCORE_PYTHON is not set, botocore recomputes no signature");
            return None;
        };
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/scripts/verify_signatures.py"
        );
        let mut command = Command::new(python);
        command
            .arg(script)
            .arg(format!("--access-key={ACCESS_KEY}"))
            .arg(format!("--secret-key={SECRET_KEY}"))
            .args(session_token.map(|token| format!("--session-token={token}")))
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("python");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("the server did not start: {line}"));
        let endpoint = format!("http://{address}");
        Some(Verifier { process, endpoint })
    }

    fn transport(&self, session_token: Option<&str>, service: &str) -> HttpTransport {
        let token = session_token
            .map(|token| format!(", session_token: '{token}'"))
            .unwrap_or_default();
        let text = format!(
            "aws: {{service: {service}, access_key_id: {ACCESS_KEY}, secret_access_key: '{SECRET_KEY}'{token}}}"
        );
        let settings: AccessSettings = sabre_runtime::yaml::from_str_strict("test", &text).expect("settings");
        HttpTransport::new(&self.endpoint, "eu-west-1", &settings).expect("transport")
    }

    /// How many signatures botocore got too, and what it did not get.
    async fn report(&self) -> (u64, Vec<Value>) {
        let text = reqwest::get(format!("{}/__report", self.endpoint))
            .await
            .expect("report")
            .text()
            .await
            .expect("report");
        let value: Value = serde_json::from_str(&text).expect("report");
        let failures = value["failures"].as_array().expect("failures").clone();
        (value["verified"].as_u64().expect("verified"), failures)
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn request(method: Method, segments: &[&str]) -> Request {
    Request::new(method, segments, Duration::from_secs(30))
}

async fn send(transport: &HttpTransport, request: Request) -> Response {
    let shown = request.to_string();
    transport
        .send(request)
        .await
        .unwrap_or_else(|error| panic!("{shown}: {error}"))
}

/// The calls of a run, with the names that are hard to sign.
fn known_requests() -> Vec<Request> {
    let mut all = vec![
        request(Method::Get, &[]),
        request(Method::Head, &["logs-2026.01.01"]),
        request(Method::Get, &["_cat", "indices", "logs-*"]).parameter("format", "json"),
        request(
            Method::Get,
            &["logs-*,-logs-nginx-*", "_settings", "index.uuid,index.blocks.*"],
        )
        .parameter("expand_wildcards", "open,closed"),
        request(Method::Get, &["_snapshot", "repo", "sn_logs-*,sn_other-*"]).parameter("verbose", "true"),
        request(Method::Get, &["_snapshot", "_status"]),
        request(Method::Put, &["_snapshot", "repo", "sn_logs-2026.01.01-2"])
            .parameter("wait_for_completion", "false")
            .json(&json!({"indices": "logs-2026.01.01", "metadata": {"taken": "2026-01-08"}})),
        request(Method::Delete, &["_snapshot", "repo", "sn_logs-2026.01.01"]),
        request(Method::Delete, &["logs-2026.01.01"]).parameter("ignore_unavailable", "true"),
        request(Method::Post, &["_snapshot", "repo", "_verify"]),
        request(Method::Get, &["<logs-{now/d}>", "_count"]),
        request(Method::Put, &["журнал-ü-2026.01.01"]).json(&json!({"текст": "ä€𝄞"})),
        request(Method::Get, &["a b", "c+d", "e%2Ff", "g/h", "~i._-"]).parameter("q", "a+b c&d=e/ä*,;"),
        request(Method::Get, &["x"])
            .parameter("b", "2")
            .parameter("a", "2")
            .parameter("a", "1")
            .parameter("A", ""),
    ];
    // Once more with a body on everything that may have one.
    for method in [Method::Put, Method::Post] {
        all.push(request(method, &["a"]).json(&json!({"long": "x".repeat(200_000)})));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn botocore_comes_to_the_same_signature_for_every_call_of_a_run() {
    for (service, token) in [
        ("es", None),
        ("es", Some(SESSION_TOKEN)),
        ("aoss", Some(SESSION_TOKEN)),
    ] {
        let Some(verifier) = Verifier::start(token) else {
            return;
        };
        let transport = verifier.transport(token, service);
        let requests = known_requests();
        let count = requests.len();
        for request in requests {
            let shown = request.to_string();
            let answer = send(&transport, request).await;
            assert_eq!(answer.status, 200, "{shown}: {:?}", answer.body);
        }
        let (verified, failures) = verifier.report().await;
        assert!(failures.is_empty(), "{failures:#?}");
        assert_eq!(verified, count as u64);
        println!(
            "{service}, token {}: botocore verified {verified} signatures",
            token.is_some()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn botocore_comes_to_the_same_signature_whatever_the_names_are() {
    let Some(verifier) = Verifier::start(Some(SESSION_TOKEN)) else {
        return;
    };
    let transport = verifier.transport(Some(SESSION_TOKEN), "es");
    // Names of one segment each: neither empty nor `.` or `..`, which an index cannot be called.
    let segment = "[^.\\x00]{1,12}|[a-z*,.]{1,6}-[a-z*,]{1,6}";
    let requests = (
        proptest::collection::vec(segment, 1..4),
        proptest::collection::vec((".{0,8}", ".{0,8}"), 0..4),
        proptest::option::of(".{0,40}"),
        0..METHODS.len(),
    );
    let mut runner = TestRunner::deterministic();
    const CASES: u64 = 500;
    for _ in 0..CASES {
        let (segments, parameters, body, method) = requests.new_tree(&mut runner).expect("a case").current();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut request = request(METHODS[method], &segments);
        for (name, value) in &parameters {
            request = request.parameter(name, value);
        }
        if let Some(text) = body.filter(|_| METHODS[method] != Method::Head) {
            request = request.json(&json!({ "text": text }));
        }
        let shown = request.to_string();
        let answer = send(&transport, request).await;
        assert_eq!(answer.status, 200, "{shown}: {:?}", answer.body);
    }
    let (verified, failures) = verifier.report().await;
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(verified, CASES);
    println!("botocore verified {verified} signatures of random requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_try_is_signed_anew() {
    let Some(verifier) = Verifier::start(None) else {
        return;
    };
    let transport = verifier.transport(None, "es");
    let attempt = || {
        request(Method::Put, &["_snapshot", "r", "sn_logs-*"])
            .parameter("fail", "2")
            .json(&json!({}))
    };
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(send(&transport, attempt()).await.status);
        // The time of a signature is in seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert_eq!(statuses, [503, 503, 200]);
    let (verified, failures) = verifier.report().await;
    assert_eq!((verified, failures.len()), (3, 0));
    let signatures = reqwest::get(format!("{}/__report", verifier.endpoint))
        .await
        .expect("report")
        .text()
        .await;
    let report: Value = serde_json::from_str(&signatures.expect("report")).expect("report");
    assert_eq!(report["signatures"], 3, "a signature was sent twice");
}

/// The verifier is believed only because it refuses what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn botocore_refuses_what_was_altered_on_its_way() {
    let Some(verifier) = Verifier::start(None) else {
        return;
    };
    let other = Verifier::start(Some(SESSION_TOKEN)).expect("a second one");
    let answer = send(
        &verifier.transport(Some(SESSION_TOKEN), "es"),
        request(Method::Get, &["a"]),
    )
    .await;
    // A token of which the server knows nothing is signed all the same: the keys are right.
    assert_eq!(answer.status, 200);
    let answer = send(&other.transport(None, "es"), request(Method::Get, &["a"])).await;
    assert_eq!(answer.status, 403, "a missing token");

    let unsigned: AccessSettings = AccessSettings::default();
    let transport = HttpTransport::new(&verifier.endpoint, "", &unsigned).expect("transport");
    assert_eq!(
        send(&transport, request(Method::Get, &["a"])).await.status,
        403,
        "no signature"
    );

    // One signed request, and copies of it that differ in one thing each.
    let recorder = sabre_testkit::s3::ScriptedServer::start([sabre_testkit::s3::Answer::new(200)])
        .await
        .expect("recorder");
    let host = recorder.endpoint();
    let mut to_recorder = Verifier {
        process: Command::new("true").spawn().expect("true"),
        endpoint: format!("http://{host}"),
    };
    let _ = to_recorder.process.wait();
    send(
        &to_recorder.transport(None, "es"),
        request(Method::Put, &["a"]).parameter("b", "1").json(&json!({})),
    )
    .await;
    let recorded = recorder.requests().remove(0);
    let replay = |target: &str, body: &'static str| {
        let mut request = reqwest::Client::new()
            .put(format!("{}{target}", verifier.endpoint))
            .body(body);
        for (name, value) in &recorded.headers {
            if name != "content-length" {
                request = request.header(name, value);
            }
        }
        async move { request.send().await.expect("an answer").status().as_u16() }
    };
    assert_eq!(replay("/a?b=1", "{}").await, 200, "as it was");
    assert_eq!(replay("/A?b=1", "{}").await, 403, "another path");
    assert_eq!(replay("/a?b=2", "{}").await, 403, "another query");
    assert_eq!(replay("/a?b=1", "[]").await, 403, "another body");
}
