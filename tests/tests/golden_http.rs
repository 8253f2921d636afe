//! The recorded requests to a real querier, sent to ours: a store gateway over the same bucket and a querier before it, each
//! a process of its own, as users run them.
//!
//! Runs where `SABRE_TEST_BINARY` is set, and says that it skips where it is not.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use sabre_testkit::golden::golden;
use sabre_tests::process::{Process, answers_ok, free_address};
use serde_json::Value;

/// Requests under way at once.
const PARALLEL: usize = 4;

/// Functions whose results come in an order.
const SORTED: [&str; 3] = ["sort", "topk", "bottomk"];

async fn start(
    dir: &std::path::Path,
    binary: &str,
    command: &str,
    more: &[String],
) -> Result<(Process, String, String)> {
    let (http, grpc) = (free_address()?, free_address()?);
    let mut arguments = vec![
        command.to_string(),
        format!("--http-address={http}"),
        format!("--grpc-address={grpc}"),
    ];
    arguments.extend_from_slice(more);
    let mut process = Process::start(dir, command, binary, &arguments)?;
    process
        .wait_until("ready", || answers_ok(&http, "/-/ready"))
        .await?;
    Ok((process, http, grpc))
}

/// Names and values are recorded as they are, and no value has an ampersand.
fn url_of(http: &str, record: &Value) -> String {
    let path = record["path"].as_str().unwrap_or_default();
    let pairs = record["params"].as_str().unwrap_or_default().split('&');
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))));
    format!("http://{http}{path}?{}", query.finish())
}

/// Numbers in strings are equal to 1e-9 of their size, times to the millisecond.
fn same(ours: &Value, recorded: &Value) -> bool {
    match (ours, recorded) {
        (Value::String(ours), Value::String(recorded)) => {
            ours == recorded || same_number(ours, recorded).unwrap_or(false)
        }
        (Value::Number(ours), Value::Number(recorded)) => {
            let (ours, recorded) = (ours.as_f64(), recorded.as_f64());
            ours.zip(recorded).is_some_and(|(a, b)| (a - b).abs() < 0.0005)
        }
        (Value::Array(ours), Value::Array(recorded)) => {
            ours.len() == recorded.len() && ours.iter().zip(recorded).all(|(a, b)| same(a, b))
        }
        (Value::Object(ours), Value::Object(recorded)) => {
            let has_same = |(key, value)| recorded.get(key).is_some_and(|other| same(value, other));
            ours.len() == recorded.len() && ours.iter().all(has_same)
        }
        _ => ours == recorded,
    }
}

fn same_number(ours: &str, recorded: &str) -> Option<bool> {
    let (a, b): (f64, f64) = (ours.parse().ok()?, recorded.parse().ok()?);
    Some(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()))
}

/// The series of a result by their labels, where the query does not sort.
fn in_order(data: &Value, is_sorted: bool) -> Value {
    let mut data = data.clone();
    if let Some(result) = data.get_mut("result").and_then(Value::as_array_mut)
        && !is_sorted
    {
        result.sort_by_cached_key(|series| {
            let mut labels: Vec<_> = series["metric"].as_object().into_iter().flatten().collect();
            labels.sort_by_key(|(name, _)| name.as_str());
            format!("{labels:?}")
        });
    }
    data
}

/// What differs between an answer and the recorded one.
fn difference(status: u16, ours: &Value, record: &Value) -> Option<String> {
    let recorded = &record["body"];
    if Some(u64::from(status)) != record["status"].as_u64() {
        return Some(format!("status {status} against {}: {ours}", record["status"]));
    }
    if status != 200 {
        let is_same = ours["errorType"] == recorded["errorType"];
        return (!is_same).then(|| format!("{ours} against {recorded}"));
    }
    let remarks = |body: &Value| {
        let has = |key: &str| body[key].as_array().is_some_and(|all| !all.is_empty());
        has("warnings") || has("infos")
    };
    if remarks(ours) != remarks(recorded) {
        return Some(format!(
            "remarks {} {} against {}",
            ours["warnings"], ours["infos"], recorded["warnings"]
        ));
    }
    let query = record["params"].as_str().unwrap_or_default();
    let query = query.strip_prefix("query=").unwrap_or_default();
    let is_sorted = SORTED.iter().any(|word| query.starts_with(word)) && !query.contains(" by ");
    let (ours, recorded) = (
        in_order(&ours["data"], is_sorted),
        in_order(&recorded["data"], is_sorted),
    );
    (!same(&ours, &recorded)).then(|| format!("{ours} against {recorded}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_are_answered_alike_by_processes() -> Result<()> {
    let Ok(binary) = std::env::var("SABRE_TEST_BINARY") else {
        eprintln!("SKIPPED: SABRE_TEST_BINARY is not set, no querier is started");
        return Ok(());
    };
    let Some(golden) = golden() else { return Ok(()) };
    let bucket = golden.copy(&["thanos/plain", "thanos/long"])?;
    let dir = tempfile::tempdir()?;
    let config = format!(
        "type: FILESYSTEM\nconfig: {{directory: {}}}",
        bucket.path().display()
    );
    let store_arguments = [
        format!("--data-dir={}", dir.path().join("store-data").display()),
        format!("--objstore.config={config}"),
    ];
    let (store, _, store_grpc) = start(dir.path(), &binary, "store", &store_arguments).await?;
    let query_arguments = [
        format!("--endpoint={store_grpc}"),
        "--query.replica-label=replica".to_string(),
        "--query.auto-downsampling".to_string(),
    ];
    let (mut querier, http, _) = start(dir.path(), &binary, "query", &query_arguments).await?;
    let client = reqwest::Client::new();
    let stores = format!("http://{http}/api/v1/stores");
    querier
        .wait_until("the store is known", || async {
            let Ok(response) = client.get(&stores).send().await else {
                return false;
            };
            response
                .text()
                .await
                .is_ok_and(|text| text.contains(&store_grpc) && text.contains("\"store\""))
        })
        .await?;

    let records = golden.lines("http.jsonl.zst")?;
    let asked = records.iter().map(async |line| {
        let record: Value = serde_json::from_str(line)?;
        let response = client.get(url_of(&http, &record)).send().await?;
        let status = response.status().as_u16();
        let body: Value = serde_json::from_str(&response.text().await?).context("no JSON")?;
        let found = difference(status, &body, &record);
        anyhow::Ok(found.map(|found| format!("{} {}: {found:.2000}", record["path"], record["params"])))
    });
    let outcomes: Vec<Result<Option<String>>> =
        futures::stream::iter(asked).buffered(PARALLEL).collect().await;
    let mut different = Vec::new();
    for outcome in outcomes {
        different.extend(outcome?);
    }
    ensure!(
        different.is_empty(),
        "{} of {} answers differ:\n{}",
        different.len(),
        records.len(),
        different.join("\n")
    );
    ensure!(records.len() > 800, "{} records only", records.len());
    println!("{} recorded requests are answered alike over HTTP", records.len());
    querier.terminate().context("the querier ends cleanly")?;
    store.terminate().context("the store ends cleanly")
}
