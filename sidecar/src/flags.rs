//! The flags of `sabre sidecar`, and what they mean.

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use sabre_block::upload::HashFunc;
use sabre_model::time::TimeOrDuration;
use sabre_runtime::flags::{CommandSpec, FlagGroup, FlagSpec, Flags, Kind, groups};
use url::Url;

use crate::{
    heartbeat::FlagRules,
    prometheus::{HttpClientConfig, http_config::HttpClient},
    reloader::ReloaderConfig,
    shipper::{Policy, ShipperConfig},
    store_api::Limits,
};

const PROMETHEUS: &[FlagSpec] = &[
    FlagSpec::new(
        "prometheus.url",
        Kind::Checked {
            noun: "url",
            check: check_url,
        },
        "http://localhost:9090",
        "Where Prometheus' API is; a path prefix is kept",
    ),
    FlagSpec::new(
        "prometheus.ready_timeout",
        Kind::DURATION,
        "10m",
        "How long shipping waits for Prometheus' external labels before the sidecar gives up",
    ),
    FlagSpec::new(
        "prometheus.get_config_interval",
        Kind::DURATION,
        "30s",
        "How often Prometheus is asked for its configuration, and whether it is there",
    ),
    FlagSpec::new(
        "prometheus.get_config_timeout",
        Kind::DURATION,
        "30s",
        "How long an answer of Prometheus may take",
    ),
    FlagSpec::new(
        "prometheus.http-client",
        Kind::Content,
        "",
        "YAML: authentication, TLS and connections towards Prometheus",
    ),
    FlagSpec::new(
        "sabre.remote-read-concurrency",
        Kind::Int,
        "8",
        "Remote reads that Prometheus is asked at once, others wait with short ranges first, and as many questions for labels beside them; keep it below its storage.remote.read-concurrent-limit, 0 for any number",
    )
    .at_least(0),
];

const SHIPPING: &[FlagSpec] = &[
    FlagSpec::new(
        "tsdb.path",
        Kind::Text,
        "./data",
        "Prometheus' data directory; blocks are shipped from here",
    ),
    FlagSpec::new(
        "shipper.upload-compacted",
        Kind::Bool,
        "false",
        "Ship blocks that Prometheus compacted, too",
    ),
    FlagSpec::new(
        "shipper.ignore-unequal-block-size",
        Kind::Bool,
        "false",
        "Ship although Prometheus compacts its blocks itself",
    )
    .hidden(),
    FlagSpec::new(
        "shipper.allow-out-of-order-uploads",
        Kind::Bool,
        "false",
        "Go on with later blocks when one cannot be shipped",
    )
    .hidden(),
    FlagSpec::new(
        "shipper.skip-corrupted-blocks",
        Kind::Bool,
        "true",
        "Ship the other blocks when one cannot be read; with --no-... nothing is shipped then, as in Thanos",
    )
    .hidden(),
    FlagSpec::new(
        "shipper.meta-file-name",
        Kind::Text,
        "thanos.shipper.json",
        "State file in the data directory; Prometheus' storage.tsdb.delay-compact-file.path may point at it",
    ),
    FlagSpec::new(
        "shipper.upload-concurrency",
        Kind::Int,
        "0",
        "Files of a block that are sent at once; 0 is one",
    )
    .at_least(0),
    FlagSpec::new(
        "hash-func",
        Kind::Choice(&["", "SHA256"]),
        "",
        "Hash of each file to write into meta.json",
    ),
];

const STORE_API: &[FlagSpec] = &[
    FlagSpec::new(
        "min-time",
        Kind::Checked {
            noun: "time",
            check: check_time,
        },
        "0000-01-01T00:00:00Z",
        "Show queriers nothing older than this: RFC 3339, or a duration before now such as -2d",
    ),
    FlagSpec::new(
        "store.limits.request-series",
        Kind::Int,
        "0",
        "Series a Series call may answer, 0 for any number; beyond it the call fails",
    )
    .at_least(0),
    FlagSpec::new(
        "store.limits.request-samples",
        Kind::Int,
        "0",
        "Samples a Series call may answer, counted as 120 a chunk, 0 for any number; beyond it the call fails",
    )
    .at_least(0),
];

const RELOADER: &[FlagSpec] = &[
    FlagSpec::new(
        "reloader.config-file",
        Kind::Text,
        "",
        "Prometheus' configuration file: when it changes, Prometheus is told to reload",
    ),
    FlagSpec::new(
        "reloader.config-envsubst-file",
        Kind::Text,
        "",
        "Where that file is written with $(VAR) replaced from the environment, unpacked if it is gzip'ed; Prometheus reads this one then",
    ),
    FlagSpec::new(
        "reloader.rule-dir",
        Kind::Text,
        "",
        "Directory of rules: when anything in it changes, Prometheus is told to reload",
    )
    .repeated(),
    FlagSpec::new(
        "reloader.watch-interval",
        Kind::DURATION,
        "3m",
        "How often everything is compared, whatever the file system tells; 0 writes the file once and watches nothing",
    ),
    FlagSpec::new(
        "reloader.retry-interval",
        Kind::DURATION,
        "5s",
        "Pause after a reload that failed",
    ),
    FlagSpec::new(
        "reloader.method",
        Kind::Choice(&["http", "signal"]),
        "http",
        "How Prometheus is told: by POST /-/reload (which it must allow with --web.enable-lifecycle), or by SIGHUP",
    ),
    FlagSpec::new(
        "reloader.process-name",
        Kind::Text,
        "prometheus",
        "Name of the process that is sent SIGHUP; the containers must share their process namespace",
    ),
];

/// Flags that Thanos dropped, and that still stand in manifests.
const OLD: &[FlagSpec] = &[
    FlagSpec::new(
        "receive.connection-pool-size",
        Kind::Int,
        "0",
        "Connections to Prometheus",
    )
    .hidden()
    .ignored("Thanos dropped it; connections are opened as they are needed"),
    FlagSpec::new(
        "receive.connection-pool-size-per-host",
        Kind::Int,
        "100",
        "Connections to a Prometheus",
    )
    .hidden()
    .ignored("Thanos dropped it; connections are opened as they are needed"),
];

/// The command, for the table of the binary.
pub fn command() -> CommandSpec {
    CommandSpec::new("sidecar", "Ship Prometheus' blocks to a bucket, and answer queriers from Prometheus")
        .group(FlagGroup::new("Prometheus", PROMETHEUS))
        .group(FlagGroup::new("Shipping", SHIPPING))
        .group(groups::objstore())
        .group(FlagGroup::new("StoreAPI", STORE_API))
        .group(FlagGroup::new("Reloader", RELOADER))
        .group(FlagGroup::new("Old flags", OLD))
        .group(groups::request_logging())
        .group(groups::http())
        .group(groups::grpc_server())
        .example(
            "Ship to a bucket, beside a Prometheus on this machine",
            "sabre sidecar --tsdb.path=/prometheus --prometheus.url=http://localhost:9090 --objstore.config-file=bucket.yaml",
        )
        .example("Only answer queriers, ship nothing", "sabre sidecar --prometheus.url=http://localhost:9090")
}

/// What the flags ask for, checked; nothing was opened but files they name.
#[derive(Debug)]
pub struct SidecarConfig {
    /// Where Prometheus is.
    pub prometheus_url: Url,
    /// How it is reached.
    pub http: HttpClient,
    /// How long shipping waits for external labels.
    pub ready_timeout: Duration,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Patience with one answer.
    pub heartbeat_timeout: Duration,
    /// Remote reads at once; 0 for any number.
    pub read_concurrency: usize,
    /// Nothing older is shown.
    pub min_time: TimeOrDuration,
    /// How much one call may answer.
    pub limits: Limits,
    /// What is watched for Prometheus.
    pub reloader: ReloaderConfig,
    /// `Some` where Prometheus is told by a signal: the name of its process.
    pub signal_process: Option<String>,
    /// `None` without a bucket: nothing is shipped.
    pub shipping: Option<ShippingConfig>,
}

/// Shipping, when there is a bucket.
#[derive(Debug)]
pub struct ShippingConfig {
    /// The bucket as YAML.
    pub objstore: String,
    /// What is shipped, and how.
    pub shipper: ShipperConfig,
    /// What Prometheus must be set to.
    pub flag_rules: FlagRules,
}

impl SidecarConfig {
    /// Checks the flags.
    ///
    /// # Errors
    /// The flag that cannot be used, and why.
    pub fn from_flags(flags: &Flags) -> anyhow::Result<SidecarConfig> {
        let http = match flags.content("prometheus.http-client")? {
            Some(text) => {
                sabre_runtime::yaml::from_str_strict::<HttpClientConfig>("--prometheus.http-client", &text)?
            }
            None => HttpClientConfig::default(),
        };
        Ok(SidecarConfig {
            prometheus_url: Url::parse(flags.text("prometheus.url")?).context("--prometheus.url")?,
            http: http.build()?,
            ready_timeout: flags.duration("prometheus.ready_timeout")?,
            heartbeat_interval: flags.duration("prometheus.get_config_interval")?,
            heartbeat_timeout: flags.duration("prometheus.get_config_timeout")?,
            read_concurrency: flags.count("sabre.remote-read-concurrency")?,
            min_time: TimeOrDuration::parse(flags.text("min-time")?).context("--min-time")?,
            limits: Limits {
                series: flags.count("store.limits.request-series")?,
                samples: flags.count("store.limits.request-samples")?,
            },
            reloader: reloader_from_flags(flags)?,
            signal_process: match flags.text("reloader.method")? {
                "signal" => Some(flags.text("reloader.process-name")?.to_string()),
                _ => None,
            },
            shipping: ShippingConfig::from_flags(flags)?,
        })
    }
}

fn reloader_from_flags(flags: &Flags) -> anyhow::Result<ReloaderConfig> {
    let path = |name: &str| -> anyhow::Result<Option<PathBuf>> {
        let text = flags.text(name)?;
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    };
    let config = ReloaderConfig {
        config_file: path("reloader.config-file")?,
        rendered_file: path("reloader.config-envsubst-file")?,
        rule_dirs: flags
            .list("reloader.rule-dir")?
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        watch_interval: flags.duration("reloader.watch-interval")?,
        retry_interval: flags.duration("reloader.retry-interval")?,
    };
    if config.config_file.is_none() && config.rendered_file.is_some() {
        anyhow::bail!(
            "--reloader.config-envsubst-file: --reloader.config-file must say what is written there"
        );
    }
    if config.config_file.is_some() && config.config_file == config.rendered_file {
        anyhow::bail!("--reloader.config-envsubst-file: must be another file than --reloader.config-file");
    }
    Ok(config)
}

impl ShippingConfig {
    fn from_flags(flags: &Flags) -> anyhow::Result<Option<ShippingConfig>> {
        let Some(objstore) = flags.content("objstore.config")? else {
            return Ok(None);
        };
        let tsdb_dir = PathBuf::from(flags.text("tsdb.path")?);
        let state_file = flags.text("shipper.meta-file-name")?.to_string();
        if state_file.is_empty() || state_file.contains('/') {
            anyhow::bail!(
                "--shipper.meta-file-name={state_file}: a file name in the data directory is wanted"
            );
        }
        let shipper = ShipperConfig {
            state_file: state_file.clone(),
            source: "sidecar".to_string(),
            policy: Policy {
                upload_compacted: flags.bool("shipper.upload-compacted")?,
                allow_out_of_order: flags.bool("shipper.allow-out-of-order-uploads")?,
            },
            skip_corrupted: flags.bool("shipper.skip-corrupted-blocks")?,
            upload_concurrency: flags.count("shipper.upload-concurrency")?,
            hash: if flags.text("hash-func")? == "SHA256" {
                HashFunc::Sha256
            } else {
                HashFunc::None
            },
            now_ms: sabre_runtime::clock::now_ms,
            tsdb_dir: tsdb_dir.clone(),
        };
        let flag_rules = FlagRules {
            state_file: tsdb_dir.join(&state_file).display().to_string(),
            ignore_unequal_block_size: flags.bool("shipper.ignore-unequal-block-size")?,
        };
        Ok(Some(ShippingConfig {
            objstore,
            shipper,
            flag_rules,
        }))
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(()),
        _ => Err("an address such as http://localhost:9090 is wanted".to_string()),
    }
}

fn check_time(text: &str) -> Result<(), String> {
    TimeOrDuration::parse(text)
        .map(|_| ())
        .map_err(|error| error.to_string())
}
