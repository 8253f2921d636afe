//! The task that ships: at every wake-up, and at the latest every 30 s.

use std::{path::Path, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    known::ContactReader,
    shipper::{Shipper, SyncError, Wakeups},
};

/// The rescan that finds what no notification told.
const RESCAN_INTERVAL: Duration = Duration::from_secs(30);

/// Notifications come in bursts, and a block that just appeared is looked at once.
const SETTLE: Duration = Duration::from_secs(1);

/// Why shipping ended.
#[derive(Debug, thiserror::Error)]
pub enum ShippingError {
    /// Prometheus did not tell its external labels in time.
    #[error(
        "Prometheus did not tell its external labels within {0:?} (--prometheus.ready_timeout), giving up"
    )]
    NotReady(Duration),
    /// The data directory cannot be used.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

/// Ships until `stop`.
///
/// # Errors
/// When Prometheus never answers, or the data directory cannot be written at all. What fails later is logged and
/// tried again.
pub async fn run(
    shipper: Shipper,
    tsdb_dir: &Path,
    mut contact: ContactReader,
    ready_timeout: Duration,
    stop: CancellationToken,
) -> Result<(), ShippingError> {
    // Before Prometheus is asked anything: it reads the state file on its own.
    shipper.prepare()?;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = tokio::time::timeout(ready_timeout, contact.first()) => {
            first.map_err(|_| ShippingError::NotReady(ready_timeout))?;
        }
    }
    let wakeups = Wakeups::of(tsdb_dir);
    while !stop.is_cancelled() {
        if let Some(known) = contact.last() {
            sync_once(&shipper, &known.external_labels, &stop).await;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(RESCAN_INTERVAL) => {}
            () = settled(&wakeups) => {}
        }
    }
    Ok(())
}

async fn settled(wakeups: &Wakeups) {
    wakeups.next().await;
    tokio::time::sleep(SETTLE).await;
}

async fn sync_once(shipper: &Shipper, external_labels: &sabre_model::Labels, stop: &CancellationToken) {
    match shipper.sync(external_labels, stop).await {
        Ok(report) if !report.failed.is_empty() => {
            tracing::warn!(
                shipped = report.shipped.len(),
                failed = report.failed.len(),
                "not all blocks were shipped, tried again in {RESCAN_INTERVAL:?}"
            );
        }
        Ok(report) => tracing::debug!(
            shipped = report.shipped.len(),
            found = report.found.len(),
            "data directory and bucket agree"
        ),
        Err(error) => tracing::error!(%error, "blocks are not shipped, tried again in {RESCAN_INTERVAL:?}"),
    }
}
