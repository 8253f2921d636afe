//! Metrics of a process that ends before anybody scrapes it.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Writes the page of metrics for node exporter's textfile collector. The collector sees the old file or the new one.
///
/// # Errors
/// What the file system says.
pub(crate) async fn write_textfile(path: &Path, page: &str) -> anyhow::Result<()> {
    // The collector reads *.prom only, so it passes over this name.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let context = || format!("write metrics to {}", path.display());
    tokio::fs::write(temporary, page).await.with_context(context)?;
    tokio::fs::rename(temporary, path).await.with_context(context)
}

/// Replaces the metrics of this job at a push gateway.
///
/// # Errors
/// When it cannot be reached or refuses.
pub(crate) async fn push(gateway: &str, job: &str, page: String) -> anyhow::Result<()> {
    let job = utf8_percent_encode(job, NON_ALPHANUMERIC);
    let url = format!("{}/metrics/job/{job}", gateway.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let request = client
        .put(&url)
        .header("Content-Type", sabre_runtime::metrics::CLASSIC_CONTENT_TYPE)
        .body(page);
    // The address may hold a password.
    let response = request.send().await.map_err(reqwest::Error::without_url);
    let response = response.context("push metrics")?;
    if !response.status().is_success() {
        bail!("the push gateway answers status {}", response.status().as_u16());
    }
    Ok(())
}
