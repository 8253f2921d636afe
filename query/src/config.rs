//! From flags to what the parts of a querier are told.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use sabre_model::{
    Labels, LabelsError,
    relabel::{RelabelConfig, RelabelError, validate_for_blocks},
};
use sabre_promql::{ParseOptions, source::HistogramMeans};
use sabre_runtime::{
    budget::Budget,
    discovery::Resolver,
    flags::{ContentError, FlagError, Flags, groups::MEMORY_BUDGET},
    tls::ClientFiles,
    yaml::{self, YamlError},
};

use crate::{
    dedup::DedupFunc,
    discovery::{SourceOptions, Wanted, check_tls},
    endpoints::{ClientOptions, EndpointKind, RefreshOptions},
    evaluate::EngineConfig,
    fanout::FanoutOptions,
    flags::parse_label,
    grpc::ServiceOptions,
    http::{ApiOptions, CertificateField, PartialResponse, TenancyOptions},
};

/// The flag that limits one query.
const QUERY_MEMORY: &str = "sabre.query-memory";

/// Of the budget of the process one query has this part unless the flag says otherwise.
const QUERY_SHARE: u64 = 2;

/// Flags that name endpoints, with what they make of them. Thanos' own names come first, then those it gave up.
const ENDPOINT_FLAGS: [(&str, EndpointKind); 10] = [
    ("endpoint", PLAIN),
    ("endpoint-strict", STRICT),
    ("endpoint-group", GROUP),
    ("endpoint-group-strict", STRICT_GROUP),
    ("store", PLAIN),
    ("store-strict", STRICT),
    ("rule", PLAIN),
    ("target", PLAIN),
    ("metadata", PLAIN),
    ("exemplar", PLAIN),
];

/// How many of them still have Thanos' names.
const CURRENT_FLAGS: usize = 4;

const PLAIN: EndpointKind = EndpointKind {
    strict: false,
    group: false,
};
const STRICT: EndpointKind = EndpointKind {
    strict: true,
    group: false,
};
const GROUP: EndpointKind = EndpointKind {
    strict: false,
    group: true,
};
const STRICT_GROUP: EndpointKind = EndpointKind {
    strict: true,
    group: true,
};

/// Everything the flags say.
#[derive(Clone, Debug)]
pub struct QueryConfig {
    /// Where endpoints are named.
    pub sources: SourceOptions,
    /// When they are asked who they are.
    pub refresh: RefreshOptions,
    /// How they are asked for series.
    pub fanout: FanoutOptions,
    /// How queries are evaluated.
    pub engine: EngineConfig,
    /// How the HTTP API behaves.
    pub api: ApiOptions,
    /// How the gRPC services behave.
    pub services: ServiceOptions,
}

/// A flag that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Its value makes no sense.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// Its document cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Its document is none.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// Rules that cannot pick external labels.
    #[error("--selector.relabel-config: {0}")]
    Selector(#[from] RelabelError),
    /// An endpoint makes no sense.
    #[error("--{flag}: {problem}")]
    Endpoint {
        /// The flag.
        flag: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Labels that are none together.
    #[error("--selector-label: {0}")]
    Labels(#[from] LabelsError),
}

impl QueryConfig {
    /// Reads the flags. Logs which of them have newer names.
    ///
    /// # Errors
    /// A value that makes no sense.
    pub fn from_flags(flags: &Flags, budget: &Budget) -> Result<Self, ConfigError> {
        let client = client(flags)?;
        let own_labels = own_labels(flags)?;
        let engine = engine(flags, budget)?;
        Ok(Self {
            sources: sources(flags, client)?,
            refresh: RefreshOptions {
                info_timeout: flags
                    .duration("endpoint.info-timeout")?
                    .max(Duration::from_millis(100)),
                unhealthy_timeout: flags.duration("store.unhealthy-timeout")?,
            },
            fanout: FanoutOptions {
                response_timeout: nonzero(flags.duration("store.response-timeout")?),
                own_labels: own_labels.clone(),
                selector: selector(flags)?,
                asks_for_zstd: flags.bool("sabre.grpc-zstd")?,
            },
            services: ServiceOptions {
                max_series: flags.count("store.limits.request-series")?,
                max_samples: flags.count("store.limits.request-samples")?,
                replica_labels: engine.replica_labels.clone(),
            },
            api: api(flags, &engine, own_labels)?,
            engine,
        })
    }
}

fn sources(flags: &Flags, client: ClientOptions) -> Result<SourceOptions, ConfigError> {
    let mut fixed = Vec::new();
    for (index, (flag, kind)) in ENDPOINT_FLAGS.into_iter().enumerate() {
        let addresses = flags.list(flag)?;
        if index >= CURRENT_FLAGS && !addresses.is_empty() {
            tracing::warn!("--{flag} is an old name, --endpoint takes all kinds of endpoints");
        }
        for address in addresses {
            let wanted = Wanted::new(&address, kind, client.clone());
            fixed.push(wanted.map_err(|problem| ConfigError::Endpoint { flag, problem })?);
        }
    }
    let file = flags.content_file("endpoint.sd-config")?;
    Ok(SourceOptions {
        fixed,
        target_files: flags.list("store.sd-files")?,
        target_files_interval: flags.duration("store.sd-interval")?,
        document: flags.content("endpoint.sd-config")?,
        document_file: file,
        document_interval: flags.duration("endpoint.sd-config-reload-interval")?,
        names_interval: flags.duration("store.sd-dns-interval")?,
        resolver: Resolver::default(),
        client,
    })
}

fn client(flags: &Flags) -> Result<ClientOptions, ConfigError> {
    let files = ClientFiles {
        ca_file: flags.text("grpc-client-tls-ca")?.to_owned(),
        cert_file: flags.text("grpc-client-tls-cert")?.to_owned(),
        key_file: flags.text("grpc-client-tls-key")?.to_owned(),
        insecure_skip_verify: flags.bool("grpc-client-tls-skip-verify")?,
        min_version: flags.text("grpc-client-tls-min-version")?.to_owned(),
    };
    check_tls(&files).map_err(|problem| ConfigError::Endpoint {
        flag: "grpc-client-tls-cert",
        problem,
    })?;
    Ok(ClientOptions {
        tls: flags.bool("grpc-client-tls-secure")?.then_some(files),
        server_name: flags.text("grpc-client-server-name")?.to_owned(),
    })
}

fn own_labels(flags: &Flags) -> Result<Labels, ConfigError> {
    let mut labels = Vec::new();
    for text in flags.list("selector-label")? {
        let label = parse_label(&text).map_err(|problem| ConfigError::Endpoint {
            flag: "selector-label",
            problem,
        })?;
        labels.push(label);
    }
    Ok(Labels::from_pairs(labels)?)
}

fn selector(flags: &Flags) -> Result<Vec<RelabelConfig>, ConfigError> {
    const NAME: &str = "selector.relabel-config";
    let Some(document) = flags.content(NAME)? else {
        return Ok(Vec::new());
    };
    let rules: Option<Vec<RelabelConfig>> = yaml::from_str_strict(&format!("--{NAME}"), &document)?;
    let rules = rules.unwrap_or_default();
    validate_for_blocks(&rules)?;
    Ok(rules)
}

fn engine(flags: &Flags, budget: &Budget) -> Result<EngineConfig, ConfigError> {
    let features = flags.list("enable-feature")?;
    let mut parse = ParseOptions::default();
    for feature in &features {
        match feature.as_str() {
            "promql-experimental-functions" => parse.experimental_functions = true,
            "promql-extended-range-selectors" => parse.extended_range_selectors = true,
            "promql-duration-expr" => parse.duration_expressions = true,
            _ => tracing::info!(
                feature,
                "feature is accepted and ignored: it is always on, or has no meaning here"
            ),
        }
    }
    let query_bytes = flags.bytes(QUERY_MEMORY)?;
    Ok(EngineConfig {
        max_concurrent: flags.count("query.max-concurrent")?,
        max_concurrent_select: flags.count("query.max-concurrent-select")?,
        timeout: flags.duration("query.timeout")?,
        lookback_delta_ms: flags.duration_ms("query.lookback-delta")?,
        dynamic_lookback: flags.bool("query.dynamic-lookback-delta")?,
        subquery_step_ms: flags.duration_ms("query.default-evaluation-interval")?,
        auto_downsampling: flags.bool("query.auto-downsampling")?,
        instant_resolution_ms: flags.duration_ms("query.instant.default.max_source_resolution")?,
        replica_labels: flags.list("query.replica-label")?,
        partial_response: flags.bool("query.partial-response")?,
        dedup_func: match flags.text("deduplication.func")? {
            "chain" => DedupFunc::Chain,
            _ => DedupFunc::Penalty,
        },
        parse,
        histogram_means: match flags.bool("sabre.true-histogram-means")? {
            true => HistogramMeans::True,
            false => HistogramMeans::AsThanos,
        },
        enforced_tenant_label: enforced_label(flags)?,
        budget: budget.clone(),
        query_bytes: query_bytes.unwrap_or(budget.limit_bytes() / QUERY_SHARE),
        query_bytes_flag: match query_bytes {
            Some(_) => format!("--{QUERY_MEMORY}"),
            None => format!("--{QUERY_MEMORY} (half of --{MEMORY_BUDGET})"),
        },
        ..EngineConfig::default()
    })
}

fn enforced_label(flags: &Flags) -> Result<Option<String>, ConfigError> {
    let label = flags.text("query.tenant-label-name")?.to_owned();
    Ok(flags.bool("query.enforce-tenancy")?.then_some(label))
}

fn api(flags: &Flags, engine: &EngineConfig, selector_labels: Labels) -> Result<ApiOptions, ConfigError> {
    let defaults = ApiOptions::default();
    let shown = flags.shown().into_iter().map(|flag| (flag.name, flag.value));
    Ok(ApiOptions {
        route_prefix: route_prefix(flags)?,
        disable_cors: flags.bool("web.disable-cors")?,
        default_step: flags.duration("query.default-step")?,
        metadata_range: flags.duration("query.metadata.default-time-range")?,
        timeout: engine.timeout,
        replica_labels: engine.replica_labels.clone(),
        partial_response: PartialResponse {
            rules: flags.bool("rule.partial-response")?,
            targets: flags.bool("target.partial-response")?,
            metadata: flags.bool("metric-metadata.partial-response")?,
            exemplars: flags.bool("exemplar.partial-response")?,
            status: flags.bool("status.partial-response")?,
        },
        tenancy: TenancyOptions {
            header: flags.text("query.tenant-header")?.to_owned(),
            default_tenant: flags.text("query.default-tenant-id")?.to_owned(),
            certificate_field: CertificateField::of_name(flags.text("query.tenant-certificate-field")?),
            enforced_label: enforced_label(flags)?,
        },
        selector_labels,
        slow_query: nonzero(flags.duration("sabre.slow-query")?),
        budget: engine.budget.clone(),
        flags: shown.collect::<BTreeMap<String, String>>(),
        ..defaults
    })
}

/// With a leading and without a trailing slash, or empty. A prefix that is a whole URL counts by its path.
fn route_prefix(flags: &Flags) -> Result<String, ConfigError> {
    let given = match flags.text("web.route-prefix")? {
        "" => flags.text("web.external-prefix")?,
        prefix => prefix,
    };
    let path = match given.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => given,
    };
    let path = path.trim_matches('/');
    Ok(if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    })
}

fn nonzero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}
