//! From flags to settings.

use std::time::Duration;

use sabre_block::{fetcher::DiscoveryStrategy, filter::TimePartition};
use sabre_model::relabel::{self, RelabelConfig, RelabelError};
use sabre_runtime::budget::{Budget, BudgetTooSmall};
use sabre_runtime::flags::{ContentError, FlagError, Flags, groups};
use sabre_runtime::yaml::{self, YamlError};
use sabre_tsdb::merge::OverlapRule;

use crate::compactor::CompactorConfig;
use crate::execute::LEAST_BUDGET_BYTES;
use crate::plan::{HOUR_MS, Policy, RANGES_MS, RetentionPolicy};

/// A flag of the compactor that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Its value makes no sense.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// Its document cannot be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Its document cannot be understood.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// Its rules cannot select blocks.
    #[error("--selector.relabel-config: {0}")]
    Relabel(#[from] RelabelError),
    /// It asks for something that cannot be.
    #[error("--{flag}: {what}")]
    Unusable {
        /// The flag.
        flag: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// How the process runs.
#[derive(Debug, Clone)]
pub(crate) struct CompactSettings {
    pub(crate) config: CompactorConfig,
    pub(crate) wait_interval: Duration,
    pub(crate) is_dry_run: bool,
    pub(crate) cleanup_interval: Option<Duration>,
    pub(crate) progress_interval: Option<Duration>,
    pub(crate) has_pages: bool,
    pub(crate) route_prefix: String,
}

impl CompactSettings {
    /// Checks the flags; nothing is opened but files they name.
    pub(crate) fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        let interval = |flag: &str| {
            flags
                .duration(flag)
                .map(|every| Some(every).filter(|every| !every.is_zero()))
        };
        let prefix = flags.text("web.route-prefix")?.trim_matches('/').to_owned();
        Ok(Self {
            config: config(flags)?,
            wait_interval: flags.duration("wait-interval")?,
            is_dry_run: flags.bool("dry-run")?,
            cleanup_interval: interval("compact.cleanup-interval")?,
            progress_interval: interval("compact.progress-interval")?,
            has_pages: !flags.bool("web.disable")?,
            route_prefix: if prefix.is_empty() {
                prefix
            } else {
                format!("/{prefix}")
            },
        })
    }
}

fn config(flags: &Flags) -> Result<CompactorConfig, ConfigError> {
    let replica_labels = flags.list("deduplication.replica-label")?;
    let is_penalty = flags.text("deduplication.func")? == "penalty";
    if is_penalty && replica_labels.is_empty() {
        return Err(ConfigError::Unusable {
            flag: "deduplication.func",
            what: "penalty merges replicas: name their label by --deduplication.replica-label".to_owned(),
        });
    }
    let selector = match flags.content("selector.relabel-config")? {
        Some(text) => yaml::from_str_strict::<Vec<RelabelConfig>>("--selector.relabel-config", &text)?,
        None => Vec::new(),
    };
    relabel::validate_for_blocks(&selector)?;
    let is_part = !selector.is_empty() || flags.is_given("min-time") || flags.is_given("max-time");
    Ok(CompactorConfig {
        waits: flags.bool("wait")?,
        policy: Policy {
            leaves_blocks_out: is_part,
            ..policy(flags, is_penalty, !replica_labels.is_empty())?
        },
        replica_labels,
        rule: if is_penalty {
            OverlapRule::Penalty
        } else {
            OverlapRule::OneToOne
        },
        consistency_delay_ms: flags.duration_ms("consistency-delay")?,
        time_partition: Some(TimePartition {
            min_time: flags.time("min-time")?,
            max_time: flags.time("max-time")?,
        }),
        selector,
        discovery: DiscoveryStrategy::parse(flags.text("block-discovery-strategy")?).unwrap_or_default(),
        meta_fetch_concurrency: flags.count("block-meta-fetch-concurrency")?,
        compact_concurrency: flags.count("compact.concurrency")?,
        downsample_concurrency: flags.count("downsample.concurrency")?,
        accepts_malformed_index: flags.bool("debug.accept-malformed-index")?,
        marks_out_of_order: flags.bool("compact.skip-block-with-out-of-order-chunks")?,
        halts_on_error: flags.is_given("debug.halt-on-error") && flags.bool("debug.halt-on-error")?,
        hashes: flags.text("hash-func")? == "SHA256",
        ..CompactorConfig::new(flags.text("data-dir")?)
    })
}

fn policy(flags: &Flags, is_penalty: bool, has_replicas: bool) -> Result<Policy, ConfigError> {
    let level: usize = flags.count("debug.max-compaction-level")?;
    let Some(ranges) = RANGES_MS.get(..=level) else {
        return Err(ConfigError::Unusable {
            flag: "debug.max-compaction-level",
            what: format!("{level} is beyond the longest range, which is 4"),
        });
    };
    let downsamples = !flags.bool("downsampling.disable")?;
    let retention = RetentionPolicy {
        raw_ms: flags.duration_ms("retention.resolution-raw")?,
        five_minutes_ms: flags.duration_ms("retention.resolution-5m")?,
        one_hour_ms: flags.duration_ms("retention.resolution-1h")?,
    };
    if downsamples {
        long_enough("retention.resolution-raw", retention.raw_ms, 40)?;
        long_enough("retention.resolution-5m", retention.five_minutes_ms, 240)?;
    }
    Ok(Policy {
        ranges_ms: ranges.to_vec(),
        vertical: has_replicas || flags.bool("compact.enable-vertical-compaction")?,
        merges_aggregates: is_penalty,
        max_index_bytes: flags
            .bytes("compact.block-max-index-size")?
            .unwrap_or(Policy::default().max_index_bytes),
        downsamples,
        retention,
        delete_delay_ms: flags.duration_ms("delete-delay")?,
        leaves_blocks_out: false,
    })
}

/// Whether a compactor can use the flags; nothing is opened but files they name.
///
/// # Errors
/// The flag that cannot be used, and why.
pub fn check_flags(flags: &Flags) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    CompactSettings::from_flags(flags)?;
    Ok(enough_memory(&groups::budget(flags)?)?)
}

/// A budget in which no block can be written is refused at the start, and not after hours.
pub(crate) fn enough_memory(budget: &Budget) -> Result<(), BudgetTooSmall> {
    budget.enough_to("write a block", LEAST_BUDGET_BYTES)
}

/// Data must be kept until it can be downsampled.
fn long_enough(flag: &'static str, kept_ms: i64, least_hours: i64) -> Result<(), ConfigError> {
    if kept_ms == 0 || kept_ms >= least_hours * HOUR_MS {
        return Ok(());
    }
    Err(ConfigError::Unusable {
        flag,
        what: format!(
            "data is downsampled when it is {least_hours} hours old, so it must be kept as long; \
             ask for more, or give --downsampling.disable"
        ),
    })
}

#[cfg(test)]
mod tests {
    use sabre_runtime::flags::parse_groups;

    use super::*;
    use crate::flags::command;

    fn settings(arguments: &[&str]) -> Result<CompactSettings, String> {
        let mut all = vec!["--objstore.config=type: FILESYSTEM"];
        all.extend(arguments);
        let flags = parse_groups(&command().groups, &all).map_err(|error| error.text)?;
        CompactSettings::from_flags(&flags).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_thanos_but_for_the_halt() {
        let settings = settings(&[]).unwrap();
        let config = &settings.config;
        assert_eq!(config.policy, Policy::default());
        assert_eq!(config.consistency_delay_ms, 30 * 60_000);
        assert_eq!(
            (config.compact_concurrency, config.downsample_concurrency),
            (1, 1)
        );
        assert!(!config.halts_on_error && !config.marks_out_of_order && !config.hashes);
        assert_eq!(config.rule, OverlapRule::OneToOne);
        assert!(!settings.config.waits && !settings.is_dry_run && settings.has_pages);
        assert_eq!(settings.cleanup_interval, Some(Duration::from_secs(300)));
    }

    #[test]
    fn halting_is_asked_for_by_giving_the_flag() {
        assert!(
            settings(&["--debug.halt-on-error"])
                .unwrap()
                .config
                .halts_on_error
        );
        assert!(
            !settings(&["--no-debug.halt-on-error"])
                .unwrap()
                .config
                .halts_on_error
        );
    }

    #[test]
    fn replica_labels_allow_vertical_compaction() {
        let config = settings(&[
            "--deduplication.replica-label=a,b",
            "--deduplication.func=penalty",
        ])
        .unwrap()
        .config;
        assert_eq!(config.replica_labels, ["a", "b"]);
        assert!(config.policy.vertical && config.policy.merges_aggregates);
        assert_eq!(config.rule, OverlapRule::Penalty);
        assert!(
            settings(&["--deduplication.func=penalty"])
                .unwrap_err()
                .contains("replica-label")
        );
        assert!(
            settings(&["--compact.enable-vertical-compaction"])
                .unwrap()
                .config
                .policy
                .vertical
        );
    }

    #[test]
    fn data_must_live_until_it_is_downsampled() {
        let error = settings(&["--retention.resolution-raw=39h"]).unwrap_err();
        assert!(error.contains("40 hours"), "{error}");
        assert!(settings(&["--retention.resolution-raw=40h"]).is_ok());
        assert!(
            settings(&["--retention.resolution-5m=9d"])
                .unwrap_err()
                .contains("240 hours")
        );
        assert!(settings(&["--retention.resolution-raw=1h", "--downsampling.disable"]).is_ok());
    }

    #[test]
    fn levels_intervals_and_prefixes() {
        let settings = settings(&[
            "--debug.max-compaction-level=2",
            "--compact.cleanup-interval=0s",
            "--web.route-prefix=/sabre/",
            "--compact.block-max-index-size=1GB",
            "--hash-func=SHA256",
        ])
        .unwrap();
        assert_eq!(settings.config.policy.ranges_ms, RANGES_MS[..3]);
        assert_eq!(settings.cleanup_interval, None);
        assert_eq!(settings.route_prefix, "/sabre");
        assert_eq!(settings.config.policy.max_index_bytes, 1 << 30);
        assert!(settings.config.hashes);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert!(
            settings(&["--debug.max-compaction-level=5"])
                .unwrap_err()
                .contains("max-compaction-level")
        );
        let rules = "--selector.relabel-config=- {action: labeldrop, regex: a}";
        assert!(
            settings(&[rules])
                .unwrap_err()
                .contains("selector.relabel-config")
        );
    }

    /// A flag, and what is read of it in the settings and not in the defaults.
    const REACHED: [(&str, &str); 29] = [
        ("--data-dir=/d", "data_dir: \"/d\""),
        ("--wait", "waits: true"),
        ("--wait-interval=7m", "wait_interval: 420s"),
        ("--dry-run", "is_dry_run: true"),
        ("--consistency-delay=7m", "consistency_delay_ms: 420000"),
        ("--retention.resolution-raw=50d", "raw_ms: 4320000000"),
        ("--retention.resolution-5m=50d", "five_minutes_ms: 4320000000"),
        ("--retention.resolution-1h=50d", "one_hour_ms: 4320000000"),
        ("--delete-delay=7m", "delete_delay_ms: 420000"),
        ("--downsampling.disable", "downsamples: false"),
        ("--downsample.concurrency=7", "downsample_concurrency: 7"),
        ("--compact.concurrency=7", "compact_concurrency: 7"),
        ("--block-meta-fetch-concurrency=7", "meta_fetch_concurrency: 7"),
        ("--block-discovery-strategy=concurrent", "discovery: Concurrent"),
        ("--compact.cleanup-interval=7m", "cleanup_interval: Some(420s)"),
        ("--compact.progress-interval=7m", "progress_interval: Some(420s)"),
        ("--deduplication.replica-label=r", "replica_labels: [\"r\"]"),
        ("--compact.enable-vertical-compaction", "vertical: true"),
        ("--compact.block-max-index-size=7", "max_index_bytes: 7,"),
        (
            "--compact.skip-block-with-out-of-order-chunks",
            "marks_out_of_order: true",
        ),
        ("--debug.halt-on-error", "halts_on_error: true"),
        ("--debug.accept-malformed-index", "accepts_malformed_index: true"),
        ("--hash-func=SHA256", "hashes: true"),
        ("--min-time=2026-01-01T00:00:00Z", "min_time: Time(1767225600000)"),
        ("--max-time=2026-01-01T00:00:00Z", "max_time: Time(1767225600000)"),
        ("--selector.relabel-config=[{action: drop, regex: zzz}]", "zzz"),
        (
            "--selector.relabel-config=[{action: drop, regex: zzz}]",
            "leaves_blocks_out: true",
        ),
        ("--max-time=-2h", "leaves_blocks_out: true"),
        ("--web.disable", "has_pages: false"),
    ];

    #[test]
    fn each_flag_reaches_its_setting() {
        sabre_testkit::settings::each_flag_is_seen(REACHED, |flags| {
            format!("{:?}", settings(flags).unwrap())
        });
    }
}
