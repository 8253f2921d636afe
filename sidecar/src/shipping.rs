//! The task that ships: at every wake-up, and at the latest every 30 s.

use std::{path::Path, time::Duration};

use sabre_block::dir_lock::DirLock;
use sabre_runtime::{cpu::blocking, metrics::Gauge};
use tokio_util::sync::CancellationToken;

use crate::{
    known::ContactReader,
    shipper::{Shipper, SyncError, Wakeups, take_lock},
};

/// The rescan that finds what no notification told.
const RESCAN_INTERVAL: Duration = Duration::from_secs(30);

/// Notifications come in bursts, and a block that just appeared is looked at once.
const SETTLE: Duration = Duration::from_secs(1);

/// How long uploads that are given up at the end may take to be aborted.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// Why shipping ended.
#[derive(Debug, thiserror::Error)]
pub enum ShippingError {
    /// Prometheus did not tell its external labels in time.
    #[error(
        "Prometheus did not tell its external labels within {0:?} (--prometheus.ready_timeout), giving up"
    )]
    NotReady(Duration),
    /// The data directory cannot be used.
    #[error("--tsdb.path, the data directory of Prometheus, cannot be used: {0}")]
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
    directory_taken: Gauge,
    mut contact: ContactReader,
    ready_timeout: Duration,
    stop: CancellationToken,
) -> Result<(), ShippingError> {
    let lock = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        lock = take(tsdb_dir, &directory_taken) => lock?,
    };
    // Before Prometheus is asked anything: it reads the state file on its own.
    let shipper = blocking(move || shipper.prepare().map(|()| shipper))
        .await
        .map_err(SyncError::from)??;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        first = tokio::time::timeout(ready_timeout, contact.first()) => {
            first.map_err(|_| ShippingError::NotReady(ready_timeout))?;
        }
    }
    let wakeups = Wakeups::of(tsdb_dir);
    while !stop.is_cancelled() {
        // Without external labels nothing is shipped, also under those that were there before.
        if let Some(known) = contact.last_labelled() {
            shipper.set_retention(known.retention);
            // A disk or a bucket that does not answer must not hold up the end of the process.
            tokio::select! {
                () = stop.cancelled() => break,
                () = sync_once(&shipper, &known.external_labels, &stop) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(RESCAN_INTERVAL) => {}
            () = settled(&wakeups) => {}
        }
    }
    // An upload that was given up just now is still to be aborted.
    sabre_objstore::aborts_done(ABORT_PATIENCE).await;
    drop(lock);
    Ok(())
}

/// Waits for the data directory: after a restart the old sidecar may still be leaving.
async fn take(tsdb_dir: &Path, directory_taken: &Gauge) -> Result<DirLock, SyncError> {
    let mut is_first = true;
    loop {
        let dir = tsdb_dir.to_path_buf();
        let taken = blocking(move || take_lock(&dir)).await?;
        let lock = taken.map_err(|source| SyncError::Local {
            path: tsdb_dir.to_path_buf(),
            source,
        })?;
        directory_taken.set(i64::from(lock.is_none()));
        if let Some(lock) = lock {
            return Ok(lock);
        }
        if is_first {
            tracing::warn!(dir = %tsdb_dir.display(), "another sidecar ships from this data directory, this one only answers queries until that one is gone");
            is_first = false;
        }
        tokio::time::sleep(RESCAN_INTERVAL).await;
    }
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

#[cfg(test)]
mod tests;
