//! How Prometheus is told to reload, and how it is known that it did.

use std::time::Duration;

use sabre_model::time::UtcTime;
use serde::Deserialize;

use super::signal::{SignalError, hang_up};
use crate::prometheus::{PrometheusClient, PrometheusError};

/// Time between two looks at whether Prometheus has reloaded.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// `--reloader.method`.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// `POST /-/reload`.
    Http(PrometheusClient),
    /// SIGHUP to the process of this name, then its API tells how it went.
    Signal {
        /// `--reloader.process-name`.
        process_name: String,
        /// Whom to ask.
        client: PrometheusClient,
    },
}

/// Why Prometheus did not reload.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// It refused, or does not answer.
    #[error("{0}")]
    Prometheus(#[from] PrometheusError),
    /// It refused by a status that says nothing.
    #[error("{0}; is Prometheus started with --web.enable-lifecycle?")]
    Refused(PrometheusError),
    /// It cannot be signalled.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// It says so itself.
    #[error("Prometheus could not load the new configuration and keeps the one it has: see its log")]
    Failed,
    /// It did not say in time.
    #[error("Prometheus did not reload within {0:?} (--reloader.watch-interval)")]
    TookTooLong(Duration),
}

/// Of `/api/v1/status/runtimeinfo`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    #[serde(default)]
    reload_config_success: bool,
    last_config_time: String,
}

/// How the last load of Prometheus' configuration went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loaded {
    well: bool,
    /// When one last went well, in seconds since the epoch.
    at_seconds: i64,
}

impl Trigger {
    /// As in the label of the metric.
    pub(super) fn method(&self) -> &'static str {
        match self {
            Trigger::Http(_) => "http",
            Trigger::Signal { .. } => "signal",
        }
    }

    /// Tells Prometheus, and waits until it has the new configuration. The caller says how long that may take.
    pub(super) async fn reload(&self, now_ms: fn() -> i64) -> Result<(), TriggerError> {
        match self {
            Trigger::Http(client) => client.reload().await.map_err(|error| match error {
                PrometheusError::Status { status, .. } if matches!(status.as_u16(), 403..=405) => {
                    TriggerError::Refused(error)
                }
                other => other.into(),
            }),
            Trigger::Signal { process_name, client } => by_signal(process_name, client, now_ms).await,
        }
    }
}

async fn by_signal(
    process_name: &str,
    client: &PrometheusClient,
    now_ms: fn() -> i64,
) -> Result<(), TriggerError> {
    let before = loaded(client).await?;
    // Prometheus tells whole seconds: within the same one a new load could not be told from the old.
    if now_ms().div_euclid(1000) <= before.at_seconds {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    hang_up(process_name)?;
    loop {
        let now = loaded(client).await?;
        if now.well && now.at_seconds > before.at_seconds {
            return Ok(());
        }
        if before.well && !now.well {
            return Err(TriggerError::Failed);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn loaded(client: &PrometheusClient) -> Result<Loaded, PrometheusError> {
    const CALL: &str = "status/runtimeinfo";
    let info = client
        .get::<RuntimeInfo>(CALL, "api/v1/status/runtimeinfo", &[])
        .await?
        .value;
    let at = UtcTime::parse(&info.last_config_time).map_err(|error| PrometheusError::Unusable {
        call: CALL,
        reason: format!("lastConfigTime: {error}"),
    })?;
    Ok(Loaded {
        well: info.reload_config_success,
        at_seconds: at.seconds(),
    })
}
