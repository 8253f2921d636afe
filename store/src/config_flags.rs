//! From flags to settings.

use sabre_block::{fetcher::DiscoveryStrategy, filter::TimePartition};
use sabre_model::{relabel::RelabelConfig, time::TimeOrDuration};
use sabre_runtime::{
    flags::{ContentError, FlagError, Flags},
    yaml::{self, YamlError},
};
use serde::Deserialize;

use crate::{config::StoreConfig, flags::NO_INDEX_CACHE, limits::LimitSettings};

/// A flag of the store that cannot be used.
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
    /// It asks for something that is not there.
    #[error("--{flag}: {what}")]
    Unusable {
        /// The flag.
        flag: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl StoreConfig {
    /// Checks the flags; nothing is opened but files they name.
    ///
    /// # Errors
    /// The flag that cannot be used, and why.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        only_in_memory(flags, "index-cache.config")?;
        only_in_memory(flags, "store.caching-bucket.config")?;
        let selector = match flags.content("selector.relabel-config")? {
            Some(text) => yaml::from_str_strict::<Vec<RelabelConfig>>("--selector.relabel-config", &text)?,
            None => Vec::new(),
        };
        Ok(Self {
            data_dir: flags.text("data-dir")?.into(),
            cache_index_header: flags.bool("cache-index-header")?,
            sync_interval: flags.duration("sync-block-duration")?,
            block_sync_concurrency: flags.count("block-sync-concurrency")?,
            meta_fetch_concurrency: flags.count("block-meta-fetch-concurrency")?,
            discovery: DiscoveryStrategy::parse(flags.text("block-discovery-strategy")?).unwrap_or_default(),
            time_partition: Some(TimePartition {
                min_time: time(flags, "min-time")?,
                max_time: time(flags, "max-time")?,
            }),
            selector,
            consistency_delay_ms: flags.duration_ms("consistency-delay")?,
            ignore_deletion_marks_delay_ms: flags.duration_ms("ignore-deletion-marks-delay")?,
            limits: limits(flags)?,
            series_concurrency: flags.count("store.grpc.series-max-concurrency")?,
            posting_offsets_sampling: flags.count("store.index-header-posting-offsets-in-mem-sampling")?,
            estimated_chunk_bytes: estimate(flags, "debug.estimated-max-chunk-size")?,
            estimated_series_bytes: estimate(flags, "debug.estimated-max-series-size")?.into(),
            ..Self::new("")
        })
    }
}

/// The old names count where the new ones are not given.
fn limits(flags: &Flags) -> Result<LimitSettings, FlagError> {
    let either = |new: &str, old: &str| match flags.count::<u64>(new)? {
        0 => flags.count::<u64>(old),
        limit => Ok(limit),
    };
    Ok(LimitSettings {
        series: either("store.limits.request-series", "store.grpc.touched-series-limit")?,
        samples: either("store.limits.request-samples", "store.grpc.series-sample-limit")?,
        downloaded_bytes: flags.bytes("store.grpc.downloaded-bytes-limit")?.unwrap_or(0),
    })
}

/// More than 16 MiB for one series or chunk would defeat the purpose.
fn estimate(flags: &Flags, flag: &'static str) -> Result<u32, ConfigError> {
    let bytes = flags.bytes(flag)?.unwrap_or(0);
    match u32::try_from(bytes) {
        Ok(bytes) if (1..=16 << 20).contains(&bytes) => Ok(bytes),
        _ => Err(ConfigError::Unusable {
            flag,
            what: format!("{bytes} bytes, between 1 and 16 MiB are allowed"),
        }),
    }
}

fn time(flags: &Flags, flag: &'static str) -> Result<TimeOrDuration, ConfigError> {
    let parsed = TimeOrDuration::parse(flags.text(flag)?);
    parsed.map_err(|error| ConfigError::Unusable {
        flag,
        what: error.to_string(),
    })
}

/// A cache in memory has no effect here, which is said; one outside was set up for a reason, which is not ignored.
fn only_in_memory(flags: &Flags, flag: &'static str) -> Result<(), ConfigError> {
    #[derive(Deserialize)]
    struct Cache {
        #[serde(rename = "type")]
        kind: String,
        #[serde(flatten)]
        _rest: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
    }
    let Some(text) = flags.content(flag)? else {
        return Ok(());
    };
    let Cache { kind, .. } = yaml::from_str_strict(&format!("--{flag}"), &text)?;
    if kind.eq_ignore_ascii_case("IN-MEMORY") {
        tracing::info!("flag --{flag} is accepted and ignored: {NO_INDEX_CACHE}");
        return Ok(());
    }
    let what =
        format!("a cache of type {kind} is not built yet, leave the flag out: the store works without one");
    Err(ConfigError::Unusable { flag, what })
}

#[cfg(test)]
mod tests {
    use sabre_runtime::flags::parse_groups;

    use super::*;
    use crate::flags::command;

    fn config(arguments: &[&str]) -> Result<StoreConfig, String> {
        let mut all = vec!["--objstore.config=type: FILESYSTEM"];
        all.extend(arguments);
        let flags = parse_groups(&command().groups, &all).map_err(|error| error.text)?;
        StoreConfig::from_flags(&flags).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_thanos() {
        let (config, defaults) = (config(&[]).unwrap(), StoreConfig::new("./data"));
        assert_eq!(config.data_dir, defaults.data_dir);
        assert_eq!(config.sync_interval, defaults.sync_interval);
        assert_eq!(
            config.ignore_deletion_marks_delay_ms,
            defaults.ignore_deletion_marks_delay_ms
        );
        assert_eq!(config.series_concurrency, 20);
        assert_eq!(config.discovery, DiscoveryStrategy::Recursive);
        assert_eq!(config.limits, LimitSettings::default());
        assert_eq!(
            (config.estimated_chunk_bytes, config.estimated_series_bytes),
            (16_000, 64 << 10)
        );
    }

    #[test]
    fn a_discovery_strategy_that_is_given_counts() {
        let config = config(&["--block-discovery-strategy=concurrent"]).unwrap();
        assert_eq!(config.discovery, DiscoveryStrategy::Concurrent);
    }

    #[test]
    fn old_names_of_limits_count_unless_the_new_ones_are_given() {
        let old = [
            "--store.grpc.touched-series-limit=5",
            "--store.grpc.series-sample-limit=7",
        ];
        let limits = config(&old).unwrap().limits;
        assert_eq!((limits.series, limits.samples), (5, 7));
        let both = config(&[old[0], "--store.limits.request-series=3"])
            .unwrap()
            .limits;
        assert_eq!(both.series, 3);
        let bytes = config(&["--store.grpc.downloaded-bytes-limit=1MB"])
            .unwrap()
            .limits;
        assert_eq!(bytes.downloaded_bytes, 1 << 20);
    }

    #[test]
    fn caches_in_memory_are_ignored_and_others_refused_with_advice() {
        assert!(config(&["--index-cache.config=type: IN-MEMORY\nconfig: {max_size: 1GB}"]).is_ok());
        let error = config(&["--index-cache.config=type: MEMCACHED\nconfig: {addresses: [a]}"]).unwrap_err();
        assert!(
            error.contains("--index-cache.config") && error.contains("leave the flag out"),
            "{error}"
        );
        assert!(config(&["--store.caching-bucket.config=type: REDIS"]).is_err());
    }

    #[test]
    fn what_is_not_built_is_refused_and_what_makes_no_sense_named() {
        assert!(
            config(&["--objstore-parquet.config=type: S3"])
                .unwrap_err()
                .contains("not built yet")
        );
        assert!(
            config(&["--min-time=yesterday"])
                .unwrap_err()
                .contains("min-time")
        );
        assert!(config(&["--block-sync-concurrency=0"]).is_err());
        assert!(
            config(&["--debug.estimated-max-chunk-size=1GB"])
                .unwrap_err()
                .contains("16 MiB")
        );
        assert!(config(&["--selector.relabel-config=- action: nonsense"]).is_err());
    }
}
