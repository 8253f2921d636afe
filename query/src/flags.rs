//! The flags of `sabre query`; what they mean is in [`QueryConfig`](crate::config::QueryConfig).

use sabre_runtime::flags::{CommandSpec, FlagGroup, FlagSpec, Kind, groups};

const ONE_ENGINE: &str = "there is one engine, which serves both syntaxes but x-functions";
const NO_SPLIT: &str = "queries are evaluated here; queriers below are asked for series";
const NO_RULES_UI: &str = "alerts are not linked to yet";
const ONE_STRATEGY: &str = "answers of stores are always merged as they come";
const NO_TRACKER: &str = "running queries end with the process and are not written down";
const NO_STATISTICS: &str = "its buckets are fixed";

const ENDPOINTS: &[FlagSpec] = &[
    FlagSpec::new(
        "endpoint",
        Kind::Text,
        "",
        "Whom to ask: host:port, dns+host:port, dnssrv+name, dnssrvnoa+name or dnsdualstack+host:port",
    )
    .repeated(),
    FlagSpec::new(
        "endpoint-strict",
        Kind::Text,
        "",
        "host:port of an endpoint that is asked even when it does not say who it is, so that an answer without it is \
         known to be partial",
    )
    .repeated(),
    FlagSpec::new(
        "endpoint-group",
        Kind::Text,
        "",
        "Name of servers that have the same data, of which one is asked each time",
    )
    .repeated(),
    FlagSpec::new(
        "endpoint-group-strict",
        Kind::Text,
        "",
        "As --endpoint-group, and asked even when it does not say who it is",
    )
    .repeated(),
    FlagSpec::new(
        "endpoint.sd-config",
        Kind::Content,
        "",
        "Endpoints as YAML, with TLS of their own; the file is read again",
    ),
    FlagSpec::new(
        "endpoint.sd-config-reload-interval",
        Kind::DURATION,
        "5m",
        "How often the file of --endpoint.sd-config-file is read again",
    ),
    FlagSpec::new("store", Kind::Text, "", "Old name of --endpoint").repeated(),
    FlagSpec::new("store-strict", Kind::Text, "", "Old name of --endpoint-strict").repeated(),
    FlagSpec::new("rule", Kind::Text, "", "Old name of --endpoint")
        .repeated()
        .hidden(),
    FlagSpec::new("target", Kind::Text, "", "Old name of --endpoint")
        .repeated()
        .hidden(),
    FlagSpec::new("metadata", Kind::Text, "", "Old name of --endpoint")
        .repeated()
        .hidden(),
    FlagSpec::new("exemplar", Kind::Text, "", "Old name of --endpoint")
        .repeated()
        .hidden(),
    FlagSpec::new(
        "store.sd-files",
        Kind::Text,
        "",
        "Files with targets as Prometheus' file_sd_configs have them; * in the last part of the path is any text",
    )
    .repeated(),
    FlagSpec::new(
        "store.sd-interval",
        Kind::DURATION,
        "5m",
        "How often the files of --store.sd-files are read again",
    ),
    FlagSpec::new(
        "store.sd-dns-interval",
        Kind::DURATION,
        "30s",
        "How often names of endpoints are looked up",
    ),
    FlagSpec::new(
        "store.sd-dns-resolver",
        Kind::Choice(&["golang", "miekgdns"]),
        "miekgdns",
        "Who looks names up",
    )
    .hidden()
    .ignored("names are looked up by the system, and SRV records by the querier itself"),
    FlagSpec::new(
        "store.unhealthy-timeout",
        Kind::DURATION,
        "5m",
        "An endpoint that does not answer for so long is forgotten",
    ),
    FlagSpec::new(
        "endpoint.info-timeout",
        Kind::DURATION,
        "5s",
        "How long an endpoint may take to say who it is, and how often it is asked",
    )
    .hidden(),
    FlagSpec::new(
        "store.response-timeout",
        Kind::DURATION,
        "0ms",
        "A store that sends nothing for so long is left out of the answer, 0 for never",
    ),
    FlagSpec::new(
        "selector-label",
        Kind::Checked {
            noun: "name=\"value\"",
            check: check_label,
        },
        "",
        "Label of this querier, which others may select it by",
    )
    .repeated(),
    FlagSpec::new(
        "selector.relabel-config",
        Kind::Content,
        "",
        "Relabel rules as YAML; only external labels that they keep are asked for",
    ),
    FlagSpec::new("grpc.proxy-strategy", Kind::Choice(&["eager", "lazy"]), "eager", "How answers are read")
        .hidden()
        .ignored(ONE_STRATEGY),
    FlagSpec::new(
        "query.lazy-retrieval-max-buffered-responses",
        Kind::Int,
        "20",
        "Messages that are read ahead",
    )
    .hidden()
    .ignored(ONE_STRATEGY),
    FlagSpec::new(
        "query.conn-metric.label",
        Kind::Text,
        "external_labels,store_type",
        "Labels of thanos_store_nodes_grpc_connections",
    )
    .comma_lists()
    .ignored("it always has external_labels and store_type"),
    FlagSpec::new("inject-test-addresses", Kind::Text, "", "For tests of Thanos")
        .hidden()
        .ignored("it is for tests of Thanos itself"),
];

const CLIENT: &[FlagSpec] = &[
    FlagSpec::new(
        "grpc-client-tls-secure",
        Kind::Bool,
        "false",
        "Speak TLS to all endpoints",
    ),
    FlagSpec::new(
        "grpc-client-tls-skip-verify",
        Kind::Bool,
        "false",
        "Accept any certificate of endpoints",
    ),
    FlagSpec::new(
        "grpc-client-tls-cert",
        Kind::Text,
        "",
        "Certificate file that endpoints are shown",
    ),
    FlagSpec::new("grpc-client-tls-key", Kind::Text, "", "Its key file"),
    FlagSpec::new(
        "grpc-client-tls-ca",
        Kind::Text,
        "",
        "CA file that certificates of endpoints must come from, those of the system if empty",
    ),
    FlagSpec::new(
        "grpc-client-tls-min-version",
        Kind::Choice(&["1.0", "1.1", "1.2", "1.3"]),
        "1.3",
        "Lowest version of TLS; none older than 1.2 is ever spoken",
    ),
    FlagSpec::new(
        "grpc-client-server-name",
        Kind::Text,
        "",
        "Name that certificates of endpoints must have, that of the address if empty",
    ),
    FlagSpec::new(
        "grpc-compression",
        Kind::Choice(&["none", "snappy"]),
        "none",
        "Compression of calls to endpoints",
    )
    .ignored("calls are not compressed"),
    FlagSpec::new(
        "sabre.grpc-zstd",
        Kind::Bool,
        "false",
        "Ask endpoints for answers under zstd, which those send that speak it, Sabre's among them: less traffic for more CPU at \
         both ends",
    ),
];

const QUERIES: &[FlagSpec] = &[
    FlagSpec::new(
        "query.replica-label",
        Kind::Text,
        "",
        "Labels that tell replicas apart, which are made one without them",
    )
    .comma_lists(),
    FlagSpec::new(
        "query.partition-label",
        Kind::Text,
        "",
        "Labels that partition data",
    )
    .comma_lists()
    .ignored(NO_SPLIT),
    FlagSpec::new(
        "query.distributed-with-overlapping-interval",
        Kind::Bool,
        "false",
        "Data of queriers overlap",
    )
    .hidden()
    .ignored(NO_SPLIT),
    FlagSpec::new(
        "deduplication.func",
        Kind::Choice(&["penalty", "chain"]),
        "penalty",
        "How replicas are made one: by the penalty algorithm, or each sample once (chain), for replicas with the same times",
    ),
    FlagSpec::new(
        "query.auto-downsampling",
        Kind::Bool,
        "false",
        "Answer range queries from downsampled data as coarse as a fifth of the step, unless max_source_resolution is \
         given",
    ),
    FlagSpec::new(
        "query.instant.default.max_source_resolution",
        Kind::DURATION,
        "0s",
        "Coarsest data for instant queries",
    )
    .hidden(),
    FlagSpec::new(
        "query.partial-response",
        Kind::Bool,
        "true",
        "Answer without endpoints that fail, with a warning, unless partial_response is given",
    ),
    FlagSpec::new("rule.partial-response", Kind::Bool, "true", "The same for rules").hidden(),
    FlagSpec::new(
        "target.partial-response",
        Kind::Bool,
        "true",
        "The same for targets",
    )
    .hidden(),
    FlagSpec::new(
        "metric-metadata.partial-response",
        Kind::Bool,
        "true",
        "The same for metadata",
    )
    .hidden(),
    FlagSpec::new(
        "exemplar.partial-response",
        Kind::Bool,
        "true",
        "The same for exemplars",
    )
    .hidden(),
    FlagSpec::new(
        "status.partial-response",
        Kind::Bool,
        "true",
        "The same for statistics",
    )
    .hidden(),
    FlagSpec::new("query.timeout", Kind::DURATION, "2m", "How long a query may take"),
    FlagSpec::new(
        "query.max-concurrent",
        Kind::Int,
        "20",
        "Queries that run at once, others wait",
    )
    .at_least(1),
    FlagSpec::new(
        "query.max-concurrent-select",
        Kind::Int,
        "4",
        "Selectors of a query that are read at once",
    )
    .at_least(1),
    FlagSpec::new(
        "query.lookback-delta",
        Kind::DURATION,
        "5m",
        "How long a sample stands for its series",
    ),
    FlagSpec::new(
        "query.dynamic-lookback-delta",
        Kind::Bool,
        "true",
        "Longer for data that are downsampled further",
    )
    .hidden(),
    FlagSpec::new(
        "query.default-evaluation-interval",
        Kind::DURATION,
        "1m",
        "Step of subqueries that name none",
    ),
    FlagSpec::new(
        "query.default-step",
        Kind::DURATION,
        "1s",
        "Least step of range queries that name none",
    ),
    FlagSpec::new(
        "query.metadata.default-time-range",
        Kind::DURATION,
        "0s",
        "How far back series and labels are looked for when no times are given, 0 for all",
    ),
    FlagSpec::new(
        "query.promql-engine",
        Kind::Choice(&["prometheus", "thanos"]),
        "prometheus",
        "Engine of queries",
    )
    .ignored(ONE_ENGINE),
    FlagSpec::new(
        "query.mode",
        Kind::Choice(&["local", "distributed"]),
        "local",
        "Where queries are evaluated",
    )
    .ignored(NO_SPLIT),
    FlagSpec::new("query.disable-fallback", Kind::Bool, "false", "No second engine")
        .hidden()
        .ignored(ONE_ENGINE),
    FlagSpec::new(
        "query.enable-x-functions",
        Kind::Bool,
        "false",
        "xrate, xincrease and xdelta",
    )
    .refused("rate, increase and delta are there"),
    FlagSpec::new(
        "enable-feature",
        Kind::Text,
        "",
        "promql-experimental-functions, and Prometheus' promql-extended-range-selectors and promql-duration-expr; others are accepted and ignored",
    )
    .comma_lists(),
    FlagSpec::new(
        "query.active-query-path",
        Kind::Text,
        "",
        "Folder for running queries",
    )
    .ignored(NO_TRACKER),
    FlagSpec::new(
        "query.telemetry.request-duration-seconds-quantiles",
        Kind::Text,
        "",
        "Buckets of thanos_store_api_query_duration_seconds",
    )
    .comma_lists()
    .ignored(NO_STATISTICS),
    FlagSpec::new(
        "query.telemetry.request-samples-quantiles",
        Kind::Text,
        "",
        "Its buckets of samples",
    )
    .comma_lists()
    .ignored(NO_STATISTICS),
    FlagSpec::new(
        "query.telemetry.request-series-seconds-quantiles",
        Kind::Text,
        "",
        "Its buckets of series",
    )
    .comma_lists()
    .ignored(NO_STATISTICS),
    FlagSpec::new(
        "store.limits.request-series",
        Kind::Int,
        "0",
        "Most series of an answer of the querier's own StoreAPI, 0 for no limit",
    )
    .at_least(0),
    FlagSpec::new(
        "store.limits.request-samples",
        Kind::Int,
        "0",
        "Most samples of an answer of the querier's own StoreAPI, 0 for no limit",
    )
    .at_least(0),
    FlagSpec::new(
        "sabre.query-memory",
        Kind::Size,
        "",
        "Bytes that one query may hold, half of --sabre.memory-budget when it is not given",
    ),
    FlagSpec::new(
        "sabre.slow-query",
        Kind::DURATION,
        "30s",
        "Queries that take longer are logged with who asked, 0 for none",
    ),
    FlagSpec::new(
        "sabre.true-histogram-means",
        Kind::Bool,
        "false",
        "Give the true means of downsampled native histograms; Thanos, and so the default, has all buckets but a chunk's \
         first wrong",
    ),
];

const TENANCY: &[FlagSpec] = &[
    FlagSpec::new(
        "query.tenant-header",
        Kind::Text,
        "THANOS-TENANT",
        "HTTP header that names the tenant",
    ),
    FlagSpec::new(
        "query.default-tenant-id",
        Kind::Text,
        "default-tenant",
        "Tenant of requests that name none",
    ),
    FlagSpec::new(
        "query.tenant-certificate-field",
        Kind::Choice(&["organization", "organizationalUnit", "commonName"]),
        "",
        "Field of the client's certificate that names the tenant, in place of any header; see client_auth_type in --http.config",
    ),
    FlagSpec::new(
        "query.enforce-tenancy",
        Kind::Bool,
        "false",
        "Let tenants see only series with their label",
    ),
    FlagSpec::new(
        "query.tenant-label-name",
        Kind::Text,
        "tenant_id",
        "Label that holds the tenant of a series",
    ),
];

const PAGES: &[FlagSpec] = &[
    FlagSpec::new(
        "alert.query-url",
        Kind::Text,
        "",
        "External URL of the querier, for links",
    )
    .ignored(NO_RULES_UI),
    FlagSpec::new(
        "web.route-prefix",
        Kind::Text,
        "",
        "Prefix of all addresses of API and pages, --web.external-prefix when it is not given",
    ),
    FlagSpec::new("web.external-prefix", Kind::Text, "", "Prefix of links in pages"),
    FlagSpec::new(
        "web.prefix-header",
        Kind::Text,
        "",
        "Header with the prefix of links",
    )
    .ignored("links in pages are relative"),
    FlagSpec::new("web.disable-cors", Kind::Bool, "false", "Send no CORS headers"),
];

/// The command, for the table of the binary.
pub fn command() -> CommandSpec {
    CommandSpec::new("query", "Answer PromQL over many stores as one Prometheus")
        .group(FlagGroup::new("Endpoints", ENDPOINTS))
        .group(FlagGroup::new("gRPC client", CLIENT))
        .group(FlagGroup::new("Queries", QUERIES))
        .group(FlagGroup::new("Tenancy", TENANCY))
        .group(FlagGroup::new("Web pages", PAGES))
        .group(groups::request_logging())
        .group(groups::http())
        .group(groups::grpc_server())
        .example(
            "Ask two sidecars and a store, whose replicas differ in one label",
            "sabre query --endpoint=sidecar-0:10901 --endpoint=sidecar-1:10901 --endpoint=store:10901 \
             --query.replica-label=prometheus_replica",
        )
        .example(
            "Ask all that a headless service has",
            "sabre query --endpoint=dnssrv+_grpc._tcp.thanos-store.monitoring.svc.cluster.local",
        )
}

fn check_label(text: &str) -> Result<(), String> {
    parse_label(text).map(|_| ())
}

/// Reads `name="value"`.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("{text} is no label, as in cluster=\"eu1\"");
    let (name, quoted) = text.split_once('=').ok_or_else(wrong)?;
    if !sabre_model::labels::is_legacy_name(name) {
        return Err(wrong());
    }
    match sabre_model::quote::unquote_prefix(quoted) {
        Ok((value, used)) if used == quoted.len() => Ok((name.to_owned(), value)),
        _ => Err(wrong()),
    }
}
