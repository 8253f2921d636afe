//! From flags to settings.

use sabre_block::{fetcher::DiscoveryStrategy, filter::TimePartition};
use sabre_model::{relabel::RelabelConfig, time::TimeOrDuration};
use sabre_runtime::{
    budget::{Budget, BudgetTooSmall},
    flags::{ContentError, FlagError, Flags, groups},
    yaml::{self, YamlError},
};

use crate::{
    blocks_api::BlocksApiOptions,
    config::{HeaderPolicy, StoreConfig},
    index_cache::{IndexCacheConfig, IndexCacheError},
    limits::LimitSettings,
    postings_cost::CostRule,
    series::REQUEST_MIN_BYTES,
    series_stream::STREAM_MIN_BYTES,
};

/// What one request of one block needs besides the index-header of that block.
const LEAST_REQUEST_BYTES: u64 = REQUEST_MIN_BYTES + STREAM_MIN_BYTES;

/// What is left for index-headers then, at least: that of a small block.
const LEAST_HEADER_BYTES: u64 = 1 << 20;

/// The least budget that a store can work with, in bytes. Pages of index-headers take an eighth of it and labels that
/// are kept a sixteenth, which leaves thirteen; an index cache gets nothing of so small a budget.
pub(crate) const LEAST_BUDGET_BYTES: u64 = 16 << 20;

const _: () = assert!(LEAST_BUDGET_BYTES / 16 * 13 >= LEAST_REQUEST_BYTES + LEAST_HEADER_BYTES);

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
    /// Its document describes no cache.
    #[error(transparent)]
    Cache(#[from] IndexCacheError),
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
        let selector = match flags.content("selector.relabel-config")? {
            Some(text) => yaml::from_str_strict::<Vec<RelabelConfig>>("--selector.relabel-config", &text)?,
            None => Vec::new(),
        };
        Ok(Self {
            data_dir: flags.text("data-dir")?.into(),
            cache_index_header: flags.bool("cache-index-header")?,
            headers: headers(flags)?,
            cost_rule: cost_rule(flags)?,
            index_cache_bytes: flags.bytes("index-cache-size")?.unwrap_or(0),
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
            estimated_series_bytes: estimated_series_bytes(flags)?,
            ..Self::new("")
        })
    }
}

/// Whether a store can use the flags; nothing is opened but files they name.
///
/// # Errors
/// The flag that cannot be used, and why.
pub fn check_flags(flags: &Flags) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    StoreConfig::from_flags(flags)?;
    BlocksApiOptions::from_flags(flags)?;
    index_cache(flags)?;
    Ok(enough_memory(&groups::budget(flags)?)?)
}

/// A budget in which no request can be answered is refused at the start, and not request by request.
pub(crate) fn enough_memory(budget: &Budget) -> Result<(), BudgetTooSmall> {
    budget.enough_to("answer a request", LEAST_BUDGET_BYTES)
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

/// Where Thanos' default is not asked for, ours is better: it reads 64 kB behind each series whose block says nothing.
fn estimated_series_bytes(flags: &Flags) -> Result<Option<u64>, ConfigError> {
    const FLAG: &str = "debug.estimated-max-series-size";
    let bytes = estimate(flags, FLAG)?;
    Ok(flags.is_given(FLAG).then(|| bytes.into()))
}

fn time(flags: &Flags, flag: &'static str) -> Result<TimeOrDuration, ConfigError> {
    let parsed = TimeOrDuration::parse(flags.text(flag)?);
    parsed.map_err(|error| ConfigError::Unusable {
        flag,
        what: error.to_string(),
    })
}

/// When index-headers are made, opened and closed.
fn headers(flags: &Flags) -> Result<HeaderPolicy, FlagError> {
    let open_lazily = flags.bool("store.enable-index-header-lazy-reader")?;
    let idle = flags.duration("store.index-header-lazy-reader-idle-timeout")?;
    Ok(HeaderPolicy {
        download_lazily: flags.text("store.index-header-lazy-download-strategy")? == "lazy",
        open_lazily,
        idle: (open_lazily && !idle.is_zero()).then_some(idle),
    })
}

/// When postings lists are left out.
fn cost_rule(flags: &Flags) -> Result<Option<CostRule>, FlagError> {
    let rule = CostRule {
        most_values_per_series: flags.float("store.posting-group-max-key-series-ratio")?.max(0.0),
        ..CostRule::default()
    };
    Ok(flags.bool("store.enable-lazy-expanded-postings")?.then_some(rule))
}

/// The index cache that the flags ask for.
pub(crate) fn index_cache(flags: &Flags) -> Result<IndexCacheConfig, ConfigError> {
    let Some(text) = flags.content("index-cache.config")? else {
        return Ok(IndexCacheConfig::in_memory(
            flags.bytes("index-cache-size")?.unwrap_or(0),
        ));
    };
    let zstd = flags.bool("sabre.index-cache-zstd")?;
    Ok(IndexCacheConfig::from_yaml("--index-cache.config", &text, zstd)?)
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
            (16_000, None)
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
    fn index_headers_are_lazy_as_far_as_the_flags_say() {
        let headers = |arguments: &[&str]| config(arguments).unwrap().headers;
        assert_eq!(headers(&[]), HeaderPolicy::default());
        let lazy = headers(&["--store.enable-index-header-lazy-reader"]);
        assert!(lazy.is_lazy() && !lazy.download_lazily);
        assert_eq!(lazy.idle, Some(std::time::Duration::from_secs(300)));
        let never = [
            "--store.enable-index-header-lazy-reader",
            "--store.index-header-lazy-reader-idle-timeout=0s",
        ];
        assert_eq!(headers(&never).idle, None);
        let later = headers(&["--store.index-header-lazy-download-strategy=lazy"]);
        assert!(later.is_lazy() && later.download_lazily && later.idle.is_none());
    }

    #[test]
    fn postings_are_left_out_when_the_flag_says_so() {
        assert_eq!(config(&[]).unwrap().cost_rule, None);
        let enabled = "--store.enable-lazy-expanded-postings";
        assert_eq!(config(&[enabled]).unwrap().cost_rule, Some(CostRule::default()));
        let rule = config(&[enabled, "--store.posting-group-max-key-series-ratio=0"])
            .unwrap()
            .cost_rule;
        assert_eq!(rule.unwrap().most_values_per_series, 0.0);
    }

    fn cache(arguments: &[&str]) -> Result<IndexCacheConfig, String> {
        let mut all = vec!["--objstore.config=type: FILESYSTEM"];
        all.extend(arguments);
        let flags = parse_groups(&command().groups, &all).map_err(|error| error.text)?;
        index_cache(&flags).map_err(|error| error.to_string())
    }

    #[test]
    fn a_document_goes_before_the_size_of_the_index_cache() {
        assert_eq!(cache(&[]).unwrap(), IndexCacheConfig::in_memory(250 << 20));
        assert_eq!(
            cache(&["--index-cache-size=1GB"]).unwrap(),
            IndexCacheConfig::in_memory(1 << 30)
        );
        let document = "--index-cache.config=type: MEMCACHED\nconfig: {addresses: [\"a:1\"]}";
        assert_ne!(
            cache(&["--index-cache-size=1GB", document]).unwrap(),
            IndexCacheConfig::in_memory(1 << 30)
        );
        let error = cache(&["--index-cache.config=type: MEMCACHED"]).unwrap_err();
        assert!(
            error.contains("--index-cache.config") && error.contains("addresses"),
            "{error}"
        );
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

    /// A flag, and what is read of it in the settings and not in the defaults.
    const REACHED: [(&str, &str); 18] = [
        ("--data-dir=/d", "data_dir: \"/d\""),
        ("--no-cache-index-header", "cache_index_header: false"),
        ("--index-cache-size=7MB", "index_cache_bytes: 7340032"),
        ("--sync-block-duration=7m", "sync_interval: 420s"),
        ("--block-discovery-strategy=concurrent", "discovery: Concurrent"),
        ("--block-sync-concurrency=7", "block_sync_concurrency: 7"),
        ("--block-meta-fetch-concurrency=7", "meta_fetch_concurrency: 7"),
        ("--consistency-delay=7m", "consistency_delay_ms: 420000"),
        (
            "--ignore-deletion-marks-delay=7m",
            "ignore_deletion_marks_delay_ms: 420000",
        ),
        ("--store.grpc.series-max-concurrency=7", "series_concurrency: 7"),
        ("--store.limits.request-series=7", "series: 7"),
        ("--store.limits.request-samples=7", "samples: 7"),
        ("--store.grpc.downloaded-bytes-limit=7", "downloaded_bytes: 7"),
        ("--min-time=2026-01-01T00:00:00Z", "min_time: Time(1767225600000)"),
        ("--max-time=2026-01-01T00:00:00Z", "max_time: Time(1767225600000)"),
        ("--selector.relabel-config=[{action: drop, regex: zzz}]", "zzz"),
        (
            "--store.index-header-posting-offsets-in-mem-sampling=7",
            "posting_offsets_sampling: 7",
        ),
        (
            "--debug.estimated-max-series-size=7",
            "estimated_series_bytes: Some(7)",
        ),
    ];

    #[test]
    fn each_flag_reaches_its_setting() {
        sabre_testkit::settings::each_flag_is_seen(REACHED, |flags| format!("{:?}", config(flags).unwrap()));
    }
}
