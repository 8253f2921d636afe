//! Forty days of a real cluster, in a few minutes: the binary runs once a day, documents are made day by day, days are missed,
//! snapshots fail, documents come late. After every day each document is looked for.
//!
//! Runs where these are set, and says that it skips where they are not: `SABRE_TEST_BINARY` (sabre), `SABRE_TEST_SEARCH` (a
//! folder with what `tests/servers/build.sh` made, by its names), and for S3 `SABRE_TEST_VERSITYGW`. With
//! `SABRE_TEST_BOTOCORE_PYTHON` every request is signed, and botocore recomputes the signatures on the way to the cluster.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

mod checks;
mod cluster;
mod job;
// The crate of the tests across components would bring all components with it.
#[path = "../../../tests/src/process.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is a module of a library there")]
mod process;
mod story;
mod world;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    cluster::{Cluster, Signatures, start_s3},
    job::Job,
    process::Process,
    story::Story,
};

fn find(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        eprintln!("SKIPPED: {name} is not set, forty days of a real cluster do not run");
    }
    value
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

/// Adds to an error what became of each process and what it wrote.
fn explain<'a>(result: Result<()>, processes: impl IntoIterator<Item = &'a mut Process>) -> Result<()> {
    let mut result = result;
    if result.is_err() {
        for process in processes {
            result = result.context(process.describe());
        }
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn open_search_3_with_an_s3_repository() -> Result<()> {
    let (Some(binary), Some(builds), Some(versitygw)) = (
        find("SABRE_TEST_BINARY"),
        find("SABRE_TEST_SEARCH"),
        find("SABRE_TEST_VERSITYGW"),
    ) else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let (mut s3, s3_address) = start_s3(dir.path(), &versitygw, "log-archive").await?;
    let settings = [
        format!("s3.client.default.endpoint=http://{s3_address}"),
        "s3.client.default.region=us-east-1".to_owned(),
        "s3.client.default.path_style_access=true".to_owned(),
        "secure:s3.client.default.access_key=AKTEST".to_owned(),
        "secure:s3.client.default.secret_key=SKTEST".to_owned(),
    ];
    let mut cluster = Cluster::start(dir.path(), &builds, "opensearch-3", &settings).await?;
    let mut signatures = Signatures::start(dir.path(), port_of(&cluster.address)).await?;
    let endpoint = signatures
        .as_ref()
        .map_or(&cluster.address, |proxy| &proxy.address);
    let job = Job::new(
        dir.path(),
        &binary,
        endpoint,
        signatures.is_some(),
        &json!({"type": "s3", "settings": {"base_path": "daily"}}),
    )?;
    let result = Story::new(&cluster, &job).play().await;
    let verifier = signatures.as_mut().map(Signatures::process);
    explain(result, [&mut s3, cluster.process()].into_iter().chain(verifier))?;
    if let Some(signatures) = signatures {
        signatures.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7_10_with_a_folder() -> Result<()> {
    let (Some(binary), Some(builds)) = (find("SABRE_TEST_BINARY"), find("SABRE_TEST_SEARCH")) else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), &builds, "elasticsearch-7.10", &[]).await?;
    let location = Path::new("archive");
    let job = Job::new(
        dir.path(),
        &binary,
        &cluster.address,
        false,
        &json!({"type": "fs", "settings": {"location": location}}),
    )?;
    let result = Story::new(&cluster, &job).play().await;
    explain(result, [cluster.process()])
}
