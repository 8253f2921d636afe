//! Two real Prometheus replicas with gaps, a sidecar at each, a querier over both: one line without holes. What one of them
//! says itself (`agreement`), and a sidecar that is killed within an answer (`cut_off`).
//!
//! Runs where these are set, and says that it skips where they are not: `SABRE_TEST_BINARY` (sabre),
//! `SABRE_TEST_PROMETHEUS`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

mod agreement;
mod cut_off;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use sabre_proto::{
    prometheus_copy::{Sample, TimeSeries},
    thanos::Label,
};
use sabre_runtime::clock;
use sabre_tests::{
    process::{Process, answers_ok, free_address},
    prometheus::Prometheus,
};
use serde_json::Value;

const STEP_MS: i64 = 15_000;
const MINUTE_MS: i64 = 60_000;
/// What the counter rises in a second.
const PER_SECOND: f64 = 0.2;

/// A replica: when it scrapes within a step, and from when to when it does not, in minutes.
struct Replica {
    name: &'static str,
    offset_ms: i64,
    gap_minutes: (i64, i64),
}

const REPLICAS: [Replica; 2] = [
    Replica {
        name: "a",
        offset_ms: 0,
        gap_minutes: (30, 50),
    },
    Replica {
        name: "b",
        offset_ms: 7_000,
        gap_minutes: (70, 85),
    },
];

const MINUTES: i64 = 110;

/// A counter whose value is the time, so that its rate is known at each moment.
fn counter(from_ms: i64, t: i64) -> TimeSeries {
    let label = |name: &str, value: &str| Label {
        name: name.to_string(),
        value: value.to_string(),
    };
    TimeSeries {
        labels: vec![label("__name__", "shop_requests_total"), label("job", "shop")],
        samples: vec![Sample {
            value: (t - from_ms) as f64 / 1e3 * PER_SECOND,
            timestamp: t,
        }],
        ..TimeSeries::default()
    }
}

async fn start_replica(
    dir: &Path,
    programs: (&str, &str),
    replica: &Replica,
    from_ms: i64,
) -> Result<(Prometheus, Process, String)> {
    let dir = dir.join(replica.name);
    std::fs::create_dir_all(&dir)?;
    let prometheus = Prometheus::start_replica(&dir, programs.1, None, "30d", replica.name).await?;
    agreement::fill(&prometheus, from_ms).await?;
    let mut samples = Vec::new();
    for t in (from_ms..from_ms + MINUTES * MINUTE_MS).step_by(STEP_MS as usize) {
        let minute = (t - from_ms) / MINUTE_MS;
        if minute < replica.gap_minutes.0 || minute >= replica.gap_minutes.1 {
            samples.push(counter(from_ms, t + replica.offset_ms));
        }
    }
    for many in samples.chunks(40) {
        prometheus.write(many.to_vec()).await?;
    }
    let (sidecar, grpc) = start_sidecar(&dir, programs.0, &prometheus).await?;
    Ok((prometheus, sidecar, grpc))
}

/// A sidecar and its address of gRPC.
async fn start_sidecar(dir: &Path, sabre: &str, prometheus: &Prometheus) -> Result<(Process, String)> {
    let (http, grpc) = (free_address()?, free_address()?);
    let arguments = [
        "sidecar".to_string(),
        format!("--http-address={http}"),
        format!("--grpc-address={grpc}"),
        format!("--prometheus.url=http://{}", prometheus.address),
        format!("--tsdb.path={}", prometheus.data.display()),
    ];
    let mut sidecar = Process::start(dir, "sidecar", sabre, &arguments)?;
    sidecar
        .wait_until("ready", || answers_ok(&http, "/-/ready"))
        .await?;
    Ok((sidecar, grpc))
}

/// A querier over two sidecars, and its address of HTTP.
async fn start_querier(
    dir: &Path,
    name: &str,
    sabre: &str,
    endpoints: [&str; 2],
) -> Result<(Process, String)> {
    let http = free_address()?;
    let mut arguments = vec![
        "query".to_string(),
        format!("--http-address={http}"),
        format!("--grpc-address={}", free_address()?),
        "--query.replica-label=replica".to_string(),
    ];
    arguments.extend(endpoints.map(|endpoint| format!("--endpoint={endpoint}")));
    let mut querier = Process::start(dir, name, sabre, &arguments)?;
    querier
        .wait_until("both sidecars are known", || async {
            let stores = get(&http, "stores", &[]).await.unwrap_or_default();
            stores["data"]["sidecar"].as_array().map_or(0, Vec::len) == 2
        })
        .await?;
    Ok((querier, http))
}

async fn get(address: &str, path: &str, parameters: &[(&str, String)]) -> Result<Value> {
    let url = url_of(address, path, parameters);
    let response = reqwest::get(&url).await?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{url}: {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

fn url_of(address: &str, path: &str, parameters: &[(&str, String)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("http://{address}/api/v1/{path}?{}", query.finish())
}

/// The one series of an answer to a range query: time in seconds, and value.
fn line(answer: &Value) -> Result<BTreeMap<i64, f64>> {
    let result = answer["data"]["result"].as_array().context("a result")?;
    ensure!(result.len() == 1, "{} series, not one: {answer}", result.len());
    let mut line = BTreeMap::new();
    for value in result[0]["values"].as_array().context("values")? {
        let t = value[0].as_f64().context("a time")?;
        line.insert(t as i64, value[1].as_str().context("a value")?.parse()?);
    }
    Ok(line)
}

fn range(
    query: &str,
    (start_ms, end_ms): (i64, i64),
    step_s: i64,
    more: &[(&'static str, &str)],
) -> Vec<(&'static str, String)> {
    let mut parameters = vec![
        ("query", query.to_string()),
        ("start", (start_ms / 1000).to_string()),
        ("end", (end_ms / 1000).to_string()),
        ("step", step_s.to_string()),
    ];
    parameters.extend(more.iter().map(|(name, value)| (*name, (*value).to_string())));
    parameters
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_with_gaps_make_one_line() -> Result<()> {
    let (Ok(sabre), Ok(prometheus)) = (
        std::env::var("SABRE_TEST_BINARY"),
        std::env::var("SABRE_TEST_PROMETHEUS"),
    ) else {
        eprintln!("SKIPPED: SABRE_TEST_BINARY or SABRE_TEST_PROMETHEUS is not set, no querier is started");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let from_ms = (clock::now_ms() / MINUTE_MS - MINUTES - 1) * MINUTE_MS;
    let until_ms = from_ms + (MINUTES - 1) * MINUTE_MS;
    let (prometheus_a, sidecar_a, grpc_a) =
        start_replica(dir.path(), (&sabre, &prometheus), &REPLICAS[0], from_ms).await?;
    let (prometheus_b, sidecar_b, grpc_b) =
        start_replica(dir.path(), (&sabre, &prometheus), &REPLICAS[1], from_ms).await?;
    let endpoints = [grpc_a.as_str(), grpc_b.as_str()];
    let (querier, http) = start_querier(dir.path(), "query", &sabre, endpoints).await?;

    let asked = (from_ms + 10 * MINUTE_MS, until_ms);
    let rate = range("rate(shop_requests_total[5m])", asked, 15, &[]);
    let steps = (asked.1 - asked.0) / 15_000 + 1;
    let merged = line(&get(&http, "query_range", &rate).await?)?;
    ensure!(
        merged.len() as i64 == steps,
        "{} of {steps} steps have a rate",
        merged.len()
    );
    // Where the merge goes over to the other replica it waits for two intervals, so that a range may begin or end up to 45 s
    // off, of which half an interval is extrapolated: an eighth of five minutes at either end. Where that happens depends
    // on how Prometheus cut its chunks.
    let mut exact = 0;
    for (t, value) in &merged {
        let error = (value / PER_SECOND - 1.0).abs();
        ensure!(error < 0.26, "rate {value} at {t}, not {PER_SECOND}");
        exact += usize::from(error < 1e-6);
    }
    ensure!(exact * 2 > merged.len(), "{exact} of {steps} rates are exact");
    let values = range("shop_requests_total", asked, 15, &[]);
    let whole = line(&get(&http, "query_range", &values).await?)?;
    ensure!(
        whole.len() as i64 == steps,
        "{} of {steps} steps have a value",
        whole.len()
    );
    println!("two replicas, one line: {steps} steps, no hole, {exact} rates exact and none far off");

    // Each replica alone has its hole: what is shown above is the merge's work.
    let apart = range("count(shop_requests_total)", asked, 15, &[("dedup", "false")]);
    let apart = line(&get(&http, "query_range", &apart).await?)?;
    let alone = apart.values().filter(|count| **count == 1.0).count();
    ensure!(alone > 60, "{alone} steps with one replica only");

    agreement::holds(&http, &prometheus_a, from_ms).await?;

    // A sidecar dies while queries run: each is answered, with a warning once its half is gone.
    let queries = (0..40).map(|_| get(&http, "query_range", &values));
    let (answers, ()) = tokio::join!(futures::future::join_all(queries), async {
        sidecar_b.kill();
    });
    let mut warned = 0;
    for answer in answers
        .into_iter()
        .chain([get(&http, "query_range", &values).await])
    {
        let answer = answer?;
        let has_warning = answer["warnings"]
            .as_array()
            .is_some_and(|warnings| !warnings.is_empty());
        let got = line(&answer)?;
        ensure!(
            has_warning || got == whole,
            "an answer lacks samples and says nothing"
        );
        if has_warning {
            let text = answer["warnings"].to_string();
            ensure!(
                text.contains(&grpc_b),
                "the warning does not name {grpc_b}: {text}"
            );
            warned += 1;
        }
        ensure!(got.len() > whole.len() / 2, "{} steps are left", got.len());
    }
    println!(
        "a sidecar was killed under 41 queries: {warned} have a warning, none lacks samples without one"
    );

    querier.terminate().context("the querier ends cleanly")?;

    // Another sidecar at the second replica, which is killed while its answer is read.
    let (sidecar_b, grpc_b) = start_sidecar(dir.path(), &sabre, &prometheus_b).await?;
    for prometheus in [&prometheus_a, &prometheus_b] {
        cut_off::fill(prometheus, until_ms).await?;
    }
    let throttle = cut_off::Throttle::before(&grpc_b).await?;
    let endpoints = [grpc_a.as_str(), throttle.address()];
    let (querier, http) = start_querier(dir.path(), "query-2", &sabre, endpoints).await?;
    cut_off::within_an_answer(&http, &throttle, sidecar_b, until_ms).await?;

    querier.terminate().context("the second querier ends cleanly")?;
    sidecar_a.terminate().context("the sidecar ends cleanly")?;
    prometheus_a.stop()
}
