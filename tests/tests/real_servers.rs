//! A real Prometheus, the real binary, a real S3: what Prometheus wrote is what StoreAPI answers, sample by sample.
//!
//! Runs where these are set, and says that it skips where they are not:
//! `SABRE_TEST_BINARY` (sabre), `SABRE_TEST_PROMETHEUS`, `SABRE_TEST_VERSITYGW`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use sabre_model::Labels;
use sabre_objstore::BucketExt;
use sabre_proto::thanos::{LabelMatcher, SeriesRequest, label_matcher, store_client::StoreClient};
use sabre_runtime::clock;
use sabre_testkit::series::SeriesAnswer;
use sabre_tests::{
    process::{Process, answers_ok, free_address},
    prometheus::{Prometheus, batch, blocks},
    samples::{SeriesMap, add_histograms, count, differences, of_remote_read, of_store_api},
};
use tonic::transport::Channel;

const STEP_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;

struct Programs {
    sabre: String,
    prometheus: String,
    versitygw: String,
}

impl Programs {
    fn find() -> Option<Programs> {
        let get = |name: &str| {
            let value = std::env::var(name).ok();
            if value.is_none() {
                eprintln!("SKIPPED: {name} is not set, the test against real servers does not run");
            }
            value
        };
        Some(Programs {
            sabre: get("SABRE_TEST_BINARY")?,
            prometheus: get("SABRE_TEST_PROMETHEUS")?,
            versitygw: get("SABRE_TEST_VERSITYGW")?,
        })
    }
}

/// VersityGW over a folder, signatures checked.
async fn start_s3(dir: &Path, binary: &str) -> Result<(Process, String)> {
    let address = free_address()?;
    let root = dir.join("s3");
    std::fs::create_dir_all(root.join("blocks"))?;
    let arguments = [
        "--access",
        "AKTEST",
        "--secret",
        "SKTEST",
        "--region",
        "us-east-1",
        "--port",
        &address,
        "--quiet",
        "posix",
    ]
    .map(str::to_string)
    .into_iter()
    .chain([root.display().to_string()])
    .collect::<Vec<_>>();
    let mut process = Process::start(dir, "versitygw", binary, &arguments)?;
    process
        .wait_until("listening", || async {
            tokio::net::TcpStream::connect(&address).await.is_ok()
        })
        .await?;
    let config = format!(
        "type: S3\nconfig:\n  bucket: blocks\n  endpoint: {address}\n  region: us-east-1\n  access_key: AKTEST\n  secret_key: SKTEST\n  insecure: true\nprefix: team/metrics\n"
    );
    Ok((process, config))
}

/// A component of sabre with its gRPC address.
async fn start_sabre(
    dir: &Path,
    programs: &Programs,
    name: &str,
    arguments: &[String],
) -> Result<(Process, String)> {
    let (http, grpc) = (free_address()?, free_address()?);
    let mut all = vec![
        name.to_string(),
        format!("--http-address={http}"),
        format!("--grpc-address={grpc}"),
    ];
    all.extend_from_slice(arguments);
    let mut process = Process::start(dir, name, &programs.sabre, &all)?;
    process
        .wait_until("ready", || answers_ok(&http, "/-/ready"))
        .await?;
    Ok((process, grpc))
}

async fn ask(grpc: &str, range: (i64, i64)) -> Result<SeriesMap> {
    let channel = Channel::from_shared(format!("http://{grpc}"))?.connect().await?;
    let matcher = LabelMatcher {
        r#type: label_matcher::Type::Re as i32,
        name: "__name__".to_string(),
        value: ".+".to_string(),
    };
    let request = SeriesRequest {
        min_time: range.0,
        max_time: range.1,
        matchers: vec![matcher],
        ..SeriesRequest::default()
    };
    let mut client = StoreClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut stream = client.series(request).await?.into_inner();
    let mut answer = SeriesAnswer::default();
    while let Some(message) = stream.message().await? {
        answer.push(message)?;
    }
    ensure!(
        answer.disorder().is_none(),
        "order of series: {:?}",
        answer.disorder()
    );
    of_store_api(&answer.by_labels(), range)
}

fn assert_equal(what: &str, want: &SeriesMap, got: &SeriesMap) {
    let found = differences(want, got);
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
    println!("{what}: {} series, {} samples are equal", want.len(), count(want));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_wrote_is_what_store_api_answers() -> Result<()> {
    let Some(programs) = Programs::find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let (_s3, bucket) = start_s3(dir.path(), &programs.versitygw).await?;

    // Seven hours of history, ending now: enough for Prometheus to cut blocks of its own.
    let mut prometheus = Prometheus::start(dir.path(), &programs.prometheus, None, "30d").await?;
    let now_ms = clock::now_ms();
    let from_ms = now_ms - 7 * HOUR_MS;
    let steps = (now_ms - from_ms) / STEP_MS;
    for first in (0..=steps).step_by(40) {
        let many =
            (first..(first + 40).min(steps + 1)).flat_map(|step| batch(from_ms + step * STEP_MS, step));
        prometheus.write(many.collect()).await?;
    }
    prometheus.wait_for_blocks(2).await?;
    // Prometheus 2.42 leaves histograms out of remote read by samples: for those the truth is what was written.
    let all: Vec<_> = (0..=steps)
        .flat_map(|step| batch(from_ms + step * STEP_MS, step))
        .collect();
    let written = of_remote_read(&all)?;
    let external = Labels::from_pairs([("cluster", "ci"), ("replica", "a")])?;
    let everything = (from_ms, now_ms);
    let sidecar_arguments = [
        format!("--prometheus.url=http://{}", prometheus.address),
        format!("--tsdb.path={}", prometheus.data.display()),
        "--prometheus.get_config_interval=1s".to_string(),
        format!("--objstore.config={bucket}"),
    ];
    let (mut sidecar, sidecar_grpc) =
        start_sabre(dir.path(), &programs, "sidecar", &sidecar_arguments).await?;
    // While Prometheus cuts blocks its answer moves from memory to disk: both sides are asked until they rest.
    let mut found = Vec::new();
    for _ in 0..6 {
        let mut truth = prometheus.settled_read(everything).await?;
        add_histograms(&mut truth, &written, &external, everything);
        let answer = ask(&sidecar_grpc, everything).await?;
        found = differences(&truth, &answer);
        if found.is_empty() {
            ensure!(
                count(&truth) > 15_000,
                "Prometheus has {} samples only",
                count(&truth)
            );
            println!(
                "sidecar, all that Prometheus has: {} samples are equal",
                count(&truth)
            );
            break;
        }
        println!(
            "{} samples in Prometheus, {} from the sidecar, asking again",
            count(&truth),
            count(&answer)
        );
    }
    assert!(
        found.is_empty(),
        "sidecar, all that Prometheus has:\n{}",
        found.join("\n")
    );

    // Shipped: the state file names every block, and the bucket has each whole.
    let cut = blocks(&prometheus.data).len();
    let state_path = prometheus.data.join("thanos.shipper.json");
    let shipped = || {
        let text = std::fs::read_to_string(&state_path).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value["uploaded"].as_array().map_or(0, Vec::len)
    };
    sidecar
        .wait_until("all blocks are shipped", || async { shipped() >= cut })
        .await?;
    let in_bucket = sabre_objstore::config::from_yaml(&bucket, "test")?;
    let keys = in_bucket.list_all("", true, 10_000).await?;
    let metas = keys
        .iter()
        .filter(|entry| entry.key().ends_with("/meta.json"))
        .count();
    ensure!(metas == cut, "{metas} blocks in the bucket, {cut} on disk");
    ensure!(
        !keys.iter().any(|entry| entry.key().ends_with("tombstones")),
        "tombstones were shipped"
    );

    let store_arguments = [
        format!("--data-dir={}", dir.path().join("store").display()),
        format!("--objstore.config={bucket}"),
    ];
    let (store, store_grpc) = start_sabre(dir.path(), &programs, "store", &store_arguments).await?;
    let shipped_range = block_range(&prometheus.data)?;
    let mut shipped_truth = prometheus.read(shipped_range).await?;
    add_histograms(&mut shipped_truth, &written, &external, shipped_range);
    ensure!(
        count(&shipped_truth) > 10_000,
        "the blocks have {} samples only",
        count(&shipped_truth)
    );
    assert_equal(
        "store, what was shipped",
        &shipped_truth,
        &ask(&store_grpc, shipped_range).await?,
    );

    // Prometheus goes away and comes back, having forgotten all blocks but its newest: those are in the bucket only, and
    // the sidecar answers for the rest as before.
    let address = prometheus.address.clone();
    prometheus.stop()?;
    let mut prometheus = Prometheus::start(dir.path(), &programs.prometheus, Some(&address), "1h").await?;
    prometheus.wait_for_one_block().await?;
    let forgotten = (shipped_range.0, block_range(&prometheus.data)?.0 - 1);
    ensure!(
        prometheus.read(forgotten).await?.is_empty(),
        "Prometheus still has what it should have forgotten"
    );
    assert_equal(
        "store, what is only in the bucket",
        &shipped_truth,
        &ask(&store_grpc, shipped_range).await?,
    );
    let mut rest_truth = prometheus.read(everything).await?;
    add_histograms(&mut rest_truth, &written, &external, (forgotten.1 + 1, now_ms));
    ensure!(
        count(&rest_truth) > 1_000,
        "Prometheus kept {} samples only",
        count(&rest_truth)
    );
    assert_equal(
        "sidecar, after Prometheus came back",
        &rest_truth,
        &ask(&sidecar_grpc, everything).await?,
    );

    sidecar.terminate().context("the sidecar ends cleanly")?;
    store.terminate().context("the store ends cleanly")?;
    prometheus.stop()
}

/// A SIGKILL at any moment of shipping: the next start completes what is missing, and no block is half there.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sidecar_leaves_what_the_next_one_completes() -> Result<()> {
    let Some(programs) = Programs::find() else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let (_s3, bucket) = start_s3(dir.path(), &programs.versitygw).await?;
    let mut prometheus = Prometheus::start(dir.path(), &programs.prometheus, None, "30d").await?;
    let now_ms = clock::now_ms();
    let steps = 9 * HOUR_MS / STEP_MS;
    for first in (0..=steps).step_by(40) {
        let many = (first..(first + 40).min(steps + 1))
            .flat_map(|step| batch(now_ms - 9 * HOUR_MS + step * STEP_MS, step));
        prometheus.write(many.collect()).await?;
    }
    prometheus.wait_for_blocks(3).await?;
    let cut = blocks(&prometheus.data).len();
    let in_bucket = sabre_objstore::config::from_yaml(&bucket, "test")?;
    for delay_ms in [20, 60, 100, 140, 200, 300] {
        let arguments = [
            "sidecar".to_string(),
            format!("--http-address={}", free_address()?),
            format!("--grpc-address={}", free_address()?),
            format!("--prometheus.url=http://{}", prometheus.address),
            format!("--tsdb.path={}", prometheus.data.display()),
            format!("--objstore.config={bucket}"),
        ];
        let sidecar = Process::start(dir.path(), "killed", &programs.sabre, &arguments)?;
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        sidecar.kill();
        let keys: Vec<String> = in_bucket
            .list_all("", true, 10_000)
            .await?
            .iter()
            .map(|entry| entry.key().to_string())
            .collect();
        for meta in keys.iter().filter(|key| key.ends_with("/meta.json")) {
            let block = meta.trim_end_matches("meta.json");
            for file in ["index", "chunks/000001"] {
                ensure!(
                    keys.contains(&format!("{block}{file}")),
                    "killed after {delay_ms} ms: {block} has no {file}"
                );
            }
        }
    }
    let arguments = [
        format!("--prometheus.url=http://{}", prometheus.address),
        format!("--tsdb.path={}", prometheus.data.display()),
        format!("--objstore.config={bucket}"),
    ];
    let (mut sidecar, _) = start_sabre(dir.path(), &programs, "sidecar", &arguments).await?;
    let whole = || async {
        let keys = in_bucket.list_all("", true, 10_000).await.unwrap_or_default();
        keys.iter()
            .filter(|entry| entry.key().ends_with("/meta.json"))
            .count()
            >= cut
    };
    sidecar.wait_until("all blocks are shipped", whole).await?;
    println!("killed six times while shipping, {cut} blocks are whole");
    sidecar.terminate()?;
    prometheus.stop()
}

/// First and last instant of the blocks on disk.
fn block_range(data: &Path) -> Result<(i64, i64)> {
    let mut range = (i64::MAX, i64::MIN);
    for dir in blocks(data) {
        let meta = sabre_tsdb::meta::BlockMeta::parse(&std::fs::read(dir.join("meta.json"))?)?;
        range = (range.0.min(meta.min_time), range.1.max(meta.max_time - 1));
    }
    Ok(range)
}
