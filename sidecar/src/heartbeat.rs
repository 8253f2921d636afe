//! Waiting for Prometheus, and staying in touch with it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sabre_runtime::{flags::without_userinfo, metrics::Gauge, probe::Probe};
use tokio_util::sync::CancellationToken;

use crate::{
    known::{ContactWriter, Known},
    prometheus::{PrometheusClient, PrometheusError, Selection, TsdbFlags},
    shipper::Retention,
};

/// Between the first question that Prometheus does not answer and the second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What Prometheus must be set to before its blocks may be shipped.
#[derive(Clone, Debug, Default)]
pub struct FlagRules {
    /// The path `storage.tsdb.delay-compact-file.path` must have, if it is set.
    pub state_file: String,
    /// Do not compare the smallest and largest block duration (`--shipper.ignore-unequal-block-size`).
    pub ignore_unequal_block_size: bool,
}

/// The task that asks Prometheus how it is.
#[derive(Debug)]
pub struct Heartbeat {
    /// Whom to ask.
    pub client: PrometheusClient,
    /// Time between two questions (`--prometheus.get_config_interval`).
    pub interval: Duration,
    /// `Some` when blocks are shipped.
    pub flag_rules: Option<FlagRules>,
    /// Told at every beat.
    pub contact: ContactWriter,
    /// Ready while Prometheus answers.
    pub probe: Probe,
    /// `thanos_sidecar_prometheus_up`.
    pub up: Gauge,
}

/// Why the sidecar cannot go on at all.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// Blocks and series need labels that tell this Prometheus from the others.
    #[error(
        "no external labels configured on Prometheus at {url}: uniquely identifying labels must be set under \
         global.external_labels of its configuration"
    )]
    NoExternalLabels {
        /// Where it is.
        url: String,
    },
}

/// Why Prometheus' flags do not fit, in words for its operator.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FlagProblem {
    /// Prometheus would compact what is not shipped yet.
    #[error(
        "Prometheus compacts its blocks itself (storage.tsdb.min-block-duration {min}, max-block-duration {max}): set both to \
         the same value, or storage.tsdb.delay-compact-file.path to {state_file}, or pass --shipper.ignore-unequal-block-size"
    )]
    UnequalBlockDurations {
        /// As Prometheus prints it.
        min: String,
        /// As Prometheus prints it.
        max: String,
        /// What the delay file would have to be.
        state_file: String,
    },
    /// Prometheus waits for a file that nobody writes.
    #[error(
        "storage.tsdb.delay-compact-file.path of Prometheus is {found}, the sidecar writes {state_file}: they must be the same"
    )]
    OtherDelayFile {
        /// As Prometheus prints it.
        found: String,
        /// What it would have to be.
        state_file: String,
    },
}

impl Heartbeat {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// Only when Prometheus, at the first contact, has no external labels; all else is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), HeartbeatError> {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            ended = self.wait_for_first_contact() => ended,
        };
        ended?;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.interval) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.beat() => {}
            }
        }
    }

    /// Tries ever more seldom, up to the interval: a Prometheus that starts beside the sidecar is there in seconds.
    async fn wait_for_first_contact(&self) -> Result<(), HeartbeatError> {
        let mut pause = FIRST_PAUSE.min(self.interval);
        loop {
            match self.try_first_contact().await {
                Ok(known) if known.external_labels.is_empty() => {
                    return Err(HeartbeatError::NoExternalLabels {
                        url: without_userinfo(self.client.base().as_str()),
                    });
                }
                Ok(known) => {
                    tracing::info!(labels = %known.external_labels, "Prometheus answers");
                    self.succeed(known);
                    return Ok(());
                }
                Err(reason) => {
                    self.up.set(0);
                    self.probe.set_not_ready(reason.clone());
                    let url = without_userinfo(self.client.base().as_str());
                    tracing::warn!(url, %reason, "waiting for Prometheus, next try in {pause:?}");
                }
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.interval);
        }
    }

    async fn try_first_contact(&self) -> Result<Known, String> {
        if let Some(rules) = &self.flag_rules {
            match self
                .client
                .tsdb_flags()
                .await
                .map_err(|error| error.to_string())?
            {
                Some(flags) => {
                    rules.check(&flags).map_err(|problem| problem.to_string())?;
                    if flags.min_block_duration != "2h" {
                        tracing::warn!(found = %flags.min_block_duration, "storage.tsdb.min-block-duration of Prometheus is not 2h, blocks are shipped all the same");
                    }
                }
                None => tracing::warn!(
                    "Prometheus does not tell its flags, whether it compacts unshipped blocks is not checked"
                ),
            }
        }
        match self.client.version().await {
            Ok(version) => tracing::info!(%version, "Prometheus' version"),
            Err(error) => tracing::warn!(%error, "Prometheus does not tell its version"),
        }
        self.ask().await.map_err(|error| error.to_string())
    }

    async fn beat(&self) {
        match self.ask().await {
            // Labels cannot vanish from one configuration to the next by intention: blocks without them would be lost among others.
            Ok(known) if known.external_labels.is_empty() => {
                self.fail(
                    "Prometheus' configuration has no external labels any more, nothing is shipped until it has"
                        .to_string(),
                );
                self.contact.unlabelled();
            }
            Ok(known) => self.succeed(known),
            Err(error) => self.fail(error.to_string()),
        }
    }

    async fn ask(&self) -> Result<Known, PrometheusError> {
        let lowest_ms = match self.client.lowest_timestamp_ms().await {
            Ok(lowest) => lowest,
            // What speaks the API without being a Prometheus may have no such page.
            Err(PrometheusError::Status { .. }) => None,
            Err(error) => return Err(error),
        };
        let external_labels = self.client.external_labels().await?;
        let everything = Selection {
            selector: None,
            mint_ms: i64::MIN,
            maxt_ms: i64::MAX,
            limit: 0,
        };
        let label_names = self.client.label_names(&everything).await?.value;
        let retention = match &self.flag_rules {
            // It only makes warnings more precise.
            Some(_) => self.client.retention().await.unwrap_or_default(),
            None => String::new(),
        };
        Ok(Known {
            external_labels,
            lowest_ms,
            retention: Retention::parse(&retention),
            label_names: Arc::new(label_names.into_iter().collect::<BTreeSet<_>>()),
        })
    }

    fn succeed(&self, known: Known) {
        self.contact.up(known);
        self.up.set(1);
        self.probe.set_ready();
    }

    fn fail(&self, reason: String) {
        tracing::warn!(%reason, "no contact with Prometheus");
        self.up.set(0);
        self.contact.lost();
        self.probe.set_not_ready(reason);
    }
}

impl FlagRules {
    /// Whether a Prometheus with `flags` leaves its blocks alone until they are shipped.
    pub fn check(&self, flags: &TsdbFlags) -> Result<(), FlagProblem> {
        if !flags.delay_compact_file.is_empty() {
            if same_path(&flags.delay_compact_file, &self.state_file) {
                return Ok(());
            }
            let (found, state_file) = (flags.delay_compact_file.clone(), self.state_file.clone());
            return Err(FlagProblem::OtherDelayFile { found, state_file });
        }
        if self.ignore_unequal_block_size || flags.min_block_duration == flags.max_block_duration {
            return Ok(());
        }
        Err(FlagProblem::UnequalBlockDurations {
            min: flags.min_block_duration.clone(),
            max: flags.max_block_duration.clone(),
            state_file: self.state_file.clone(),
        })
    }
}

fn same_path(a: &str, b: &str) -> bool {
    let clean = |path: &str| {
        std::path::Path::new(path)
            .components()
            .collect::<std::path::PathBuf>()
    };
    clean(a) == clean(b)
}

#[cfg(test)]
mod tests {
    use sabre_runtime::metrics::Registry;
    use sabre_testkit::time::{stand_still, until};

    use super::*;
    use crate::{known::contact, testing::ScriptedPrometheus};

    #[tokio::test(start_paused = true)]
    async fn prometheus_is_asked_at_the_interval_of_the_flag() {
        // Answers come through sockets.
        let _still = stand_still();
        let prometheus = ScriptedPrometheus::start().await;
        prometheus.answers("metrics", 200, "");
        prometheus.answers_data(
            "api/v1/status/config",
            r#"{"yaml":"global: {external_labels: {a: b}}"}"#,
        );
        prometheus.answers_data("api/v1/labels", "[]");
        let beats = || {
            let asked = prometheus.asked();
            asked
                .iter()
                .filter(|asked| asked.contains("status/config"))
                .count()
        };
        let (registry, (writer, reader)) = (Registry::new(), contact());
        let heartbeat = Heartbeat {
            client: prometheus.client(),
            interval: Duration::from_secs(7),
            flag_rules: None,
            contact: writer,
            probe: Probe::new(&registry),
            up: registry.gauge("up", "Up"),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(heartbeat.run(stop.clone()));
        until(|| reader.up().is_some()).await;
        for beat in 2..5 {
            let before = reader.up().unwrap();
            tokio::time::advance(Duration::from_millis(6_999)).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(beats(), beat - 1);
            tokio::time::advance(Duration::from_millis(1)).await;
            until(|| !Arc::ptr_eq(&reader.up().unwrap(), &before)).await;
            assert_eq!(beats(), beat);
        }
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    fn flags(min: &str, max: &str, delay: &str) -> TsdbFlags {
        TsdbFlags {
            min_block_duration: min.into(),
            max_block_duration: max.into(),
            delay_compact_file: delay.into(),
        }
    }

    #[test]
    fn equal_durations_or_the_right_delay_file_allow_shipping() {
        let rules = FlagRules {
            state_file: "/data/thanos.shipper.json".into(),
            ignore_unequal_block_size: false,
        };
        assert_eq!(rules.check(&flags("2h", "2h", "")), Ok(()));
        assert_eq!(
            rules.check(&flags("2h", "36h", "/data//thanos.shipper.json")),
            Ok(())
        );
        let problem = rules.check(&flags("2h", "36h", "")).unwrap_err().to_string();
        assert!(
            problem.contains("36h") && problem.contains("delay-compact-file"),
            "{problem}"
        );
        assert!(matches!(
            rules.check(&flags("2h", "2h", "/other")),
            Err(FlagProblem::OtherDelayFile { .. })
        ));
    }

    #[test]
    fn unequal_durations_may_be_ignored_but_not_another_delay_file() {
        let rules = FlagRules {
            state_file: "/data/x".into(),
            ignore_unequal_block_size: true,
        };
        assert_eq!(rules.check(&flags("2h", "36h", "")), Ok(()));
        assert!(rules.check(&flags("2h", "36h", "/y")).is_err());
    }
}
