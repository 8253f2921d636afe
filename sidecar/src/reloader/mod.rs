//! Keeps Prometheus' configuration fresh: renders its file, watches it and directories of rules, and tells Prometheus.
//!
//! One look renders the file, hashes everything, and asks for a reload when the hash is not the one of the last good
//! reload. Looks happen at the start, when the file system tells of a change, and at the latest every watch interval; after
//! a reload that failed every retry interval. So what is reloaded is always what is there now.

mod changes;
mod hash;
mod metrics;
mod render;
mod signal;
#[cfg(test)]
mod tests;
mod trigger;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sabre_runtime::cpu::blocking;
use tokio_util::sync::CancellationToken;

use self::{
    changes::Changes,
    hash::{Digest, hash},
    render::{RenderError, Rendered, render},
};
pub use self::{
    metrics::ReloaderMetrics,
    trigger::{Trigger, TriggerError},
};

/// What is watched, and when.
#[derive(Clone, Debug)]
pub struct ReloaderConfig {
    /// `--reloader.config-file`.
    pub config_file: Option<PathBuf>,
    /// `--reloader.config-envsubst-file`: where the file goes with variables replaced.
    pub rendered_file: Option<PathBuf>,
    /// `--reloader.rule-dir`.
    pub rule_dirs: Vec<PathBuf>,
    /// `--reloader.watch-interval`; zero renders the file once and watches nothing.
    pub watch_interval: Duration,
    /// `--reloader.retry-interval`.
    pub retry_interval: Duration,
}

/// Where variables come from.
pub type Lookup = fn(&str) -> Option<String>;

/// The task.
#[derive(Debug)]
pub struct Reloader {
    config: ReloaderConfig,
    trigger: Trigger,
    metrics: ReloaderMetrics,
    lookup: Lookup,
    now_ms: fn() -> i64,
    /// Of the last reload that went well.
    last: Option<Digest>,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Something watched cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Prometheus did not reload.
    #[error("{0}")]
    Trigger(#[from] TriggerError),
    /// The look panicked or the process ends.
    #[error("{0}")]
    Work(#[from] sabre_runtime::cpu::WorkPanicked),
}

impl ReloaderConfig {
    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.config_file.is_none() && self.rule_dirs.is_empty()
    }
}

impl Reloader {
    /// Watches as `config` says and tells by `trigger`; variables are looked up by `lookup`.
    pub fn new(
        config: ReloaderConfig,
        trigger: Trigger,
        metrics: ReloaderMetrics,
        lookup: Lookup,
        now_ms: fn() -> i64,
    ) -> Reloader {
        metrics.info.with([trigger.method()]).set(1);
        Reloader {
            config,
            trigger,
            metrics,
            lookup,
            now_ms,
            last: None,
        }
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// Only at the start: a configuration that cannot be rendered or read.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), ReloadError> {
        if self.config.is_empty() {
            return Ok(());
        }
        if self.config.watch_interval.is_zero() {
            self.read().await?;
            tracing::info!("the configuration is rendered, nothing is watched (--reloader.watch-interval=0)");
            return Ok(());
        }
        let changes = Changes::watch(&self.config, &self.metrics);
        let mut first = true;
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                looked = self.look() => looked,
            };
            let pause = match looked {
                Ok(()) => self.config.watch_interval,
                Err(ReloadError::Trigger(error)) => {
                    tracing::error!(%error, "Prometheus did not reload, tried again in {:?}", self.config.retry_interval);
                    self.config.retry_interval
                }
                Err(error) if first => return Err(error),
                Err(error) => {
                    self.metrics.apply_errors.inc();
                    tracing::error!(%error, "the configuration cannot be used, Prometheus keeps the one it has");
                    self.config.watch_interval
                }
            };
            first = false;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
                () = changes.next() => {}
            }
        }
    }

    /// Looks once, and has Prometheus reload if anything is new.
    async fn look(&mut self) -> Result<(), ReloadError> {
        self.metrics.applies.inc();
        let digest = self.read().await?;
        if self.last.as_ref() == Some(&digest) {
            return Ok(());
        }
        self.metrics.reloads.inc();
        let told = tokio::time::timeout(self.config.watch_interval, self.trigger.reload(self.now_ms));
        let told = told
            .await
            .unwrap_or(Err(TriggerError::TookTooLong(self.config.watch_interval)));
        if let Err(error) = told {
            self.metrics.reload_errors.inc();
            self.metrics.last_successful.set(0);
            return Err(error.into());
        }
        self.last = Some(digest);
        self.metrics.last_successful.set(1);
        self.metrics
            .last_success_seconds
            .set((self.now_ms)() as f64 / 1000.0);
        tracing::info!(
            config_file = self
                .config
                .config_file
                .as_deref()
                .unwrap_or(Path::new(""))
                .display()
                .to_string(),
            rule_dirs = self.config.rule_dirs.len(),
            "Prometheus reloaded its configuration"
        );
        Ok(())
    }

    /// Renders the file and hashes what is watched.
    async fn read(&self) -> Result<Digest, ReloadError> {
        let (config, lookup) = (self.config.clone(), self.lookup);
        let unset = self.metrics.unset_variables.clone();
        blocking(move || {
            if let (Some(from), Some(to)) = (&config.config_file, &config.rendered_file) {
                let rendered = render(from, to, lookup);
                let missing = match &rendered {
                    Err(RenderError::Unset { names, .. }) => names.len(),
                    _ => 0,
                };
                unset.set(i64::try_from(missing).unwrap_or(i64::MAX));
                if rendered? == Rendered::Written {
                    tracing::info!(from = %from.display(), to = %to.display(), "configuration rendered");
                }
            }
            hash(config.config_file.as_deref(), &config.rule_dirs)
                .map_err(|(path, source)| ReloadError::Read { path, source })
        })
        .await?
    }
}
