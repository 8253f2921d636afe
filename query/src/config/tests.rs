use std::time::Duration;

use sabre_runtime::flags::{App, groups};

use super::*;

fn read(arguments: &[&str]) -> Result<QueryConfig, String> {
    let app = App::new("sabre", "0", "")
        .global(groups::global())
        .command(crate::flags::command());
    let all = ["sabre", "query"].into_iter().chain(arguments.iter().copied());
    let parsed = app.parse(all).map_err(|error| error.text)?;
    let budget = Budget::new(1 << 30, "--sabre.memory-budget");
    QueryConfig::from_flags(&parsed.flags, &budget).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_thanos() {
    let config = read(&[]).unwrap();
    assert_eq!(config.sources.fixed, []);
    assert_eq!(config.sources.names_interval, Duration::from_secs(30));
    assert_eq!(config.refresh.info_timeout, Duration::from_secs(5));
    assert_eq!(config.refresh.unhealthy_timeout, Duration::from_secs(300));
    assert_eq!(config.fanout.response_timeout, None);
    assert_eq!(
        (config.engine.max_concurrent, config.engine.max_concurrent_select),
        (20, 4)
    );
    assert_eq!(config.engine.timeout, Duration::from_secs(120));
    assert_eq!(config.engine.lookback_delta_ms, 300_000);
    assert!(config.engine.partial_response && config.api.partial_response.rules);
    assert_eq!(config.engine.enforced_tenant_label, None);
    assert_eq!(config.engine.query_bytes, 1 << 29, "half of the budget");
    assert_eq!(config.api.route_prefix, "");
    assert_eq!(config.api.tenancy.header, "THANOS-TENANT");
}

#[test]
fn means_of_histograms_are_those_of_thanos_unless_asked_otherwise() {
    let means = |arguments: &[&str]| read(arguments).unwrap().engine.histogram_means;
    assert_eq!(means(&[]), HistogramMeans::AsThanos);
    assert_eq!(means(&["--sabre.true-histogram-means"]), HistogramMeans::True);
}

#[test]
fn old_flags_of_endpoints_are_taken_with_a_warning() {
    let warned = |arguments: &[&str]| {
        crate::testing::logged(|| {
            read(arguments).unwrap();
        })
    };
    let old = "is an old name, --endpoint takes all kinds of endpoints";
    for flag in ["store", "store-strict", "rule", "metadata", "exemplar", "target"] {
        let lines = warned(&[&format!("--{flag}=a:1"), "--endpoint=b:1"]);
        let told: Vec<_> = lines.iter().filter(|line| line.contains(old)).collect();
        assert_eq!(told.len(), 1, "{lines:?}");
        assert!(told[0].contains(&format!("--{flag} {old}")), "{told:?}");
    }
    let lines = warned(&[
        "--endpoint=a:1",
        "--endpoint-strict=b:1",
        "--endpoint-group=dns+c:1",
    ]);
    assert!(!lines.iter().any(|line| line.contains(old)), "{lines:?}");
}

#[test]
fn endpoints_of_all_flags_are_taken() {
    let config = read(&[
        "--store=dnssrv+_grpc._tcp.thanos-store.monitoring.svc.cluster.local",
        "--endpoint=a:1",
        "--endpoint-strict=b:1",
        "--endpoint-group=dns+c:1",
        "--endpoint-group-strict=d:1",
        "--rule=e:1",
        "--grpc-client-tls-secure",
        "--grpc-client-server-name=x",
    ])
    .unwrap();
    let text = |wanted: &Wanted| {
        let strict = if wanted.kind.strict { "!" } else { "" };
        let group = if wanted.kind.group { "*" } else { "" };
        format!("{}{strict}{group}", wanted.address)
    };
    let all: Vec<_> = config.sources.fixed.iter().map(text).collect();
    assert_eq!(
        all,
        [
            "a:1",
            "b:1!",
            "dns+c:1*",
            "d:1!*",
            "dnssrv+_grpc._tcp.thanos-store.monitoring.svc.cluster.local",
            "e:1"
        ]
    );
    let client = &config.sources.fixed[0].client;
    assert_eq!(client.server_name, "x");
    assert_eq!(client.tls.as_ref().unwrap().min_version, "1.3");
}

#[test]
fn old_names_of_endpoints_mean_what_the_new_ones_do() {
    for (old, new) in [
        ("--store-strict=a:1", "--endpoint-strict=a:1"),
        ("--target=a:1", "--endpoint=a:1"),
        ("--metadata=a:1", "--endpoint=a:1"),
        ("--exemplar=a:1", "--endpoint=a:1"),
    ] {
        let (old, new) = (read(&[old]).unwrap(), read(&[new]).unwrap());
        assert_eq!(old.sources.fixed, new.sources.fixed);
    }
}

#[test]
fn flags_that_make_no_sense_are_named() {
    let wrong = |arguments: &[&str]| read(arguments).unwrap_err();
    assert!(wrong(&["--endpoint-strict=dns+a:1"]).contains("--endpoint-strict: dns+a:1"));
    assert!(wrong(&["--endpoint=a"]).contains("port"));
    assert!(wrong(&["--selector-label=a"]).contains("selector-label"));
    assert!(wrong(&["--selector-label=a=\"1\"", "--selector-label=a=\"2\""]).contains("--selector-label"));
    assert!(wrong(&["--grpc-client-tls-cert=x"]).contains("key"));
    assert!(wrong(&["--query.max-concurrent=0"]).contains("query.max-concurrent"));
    assert!(wrong(&["--deduplication.func=best"]).contains("deduplication.func"));
    assert!(wrong(&["--query.tenant-certificate-field=email"]).contains("query.tenant-certificate-field"));
    assert!(wrong(&["--query.enable-x-functions"]).contains("not built yet"));
}

#[test]
fn what_is_experimental_in_queries_is_enabled_by_the_names_that_prometheus_has_for_it() {
    let config = read(&["--enable-feature=promql-extended-range-selectors,promql-duration-expr"]).unwrap();
    let parse = config.engine.parse;
    assert!(parse.extended_range_selectors && parse.duration_expressions);
    assert!(!parse.experimental_functions);
}

#[test]
fn prefixes_and_labels_and_tenants_are_read() {
    let config = read(&[
        "--web.external-prefix=https://example.com/a/b/",
        "--selector-label=cluster=\"eu1\"",
        "--query.replica-label=r,s",
        "--query.replica-label=t",
        "--query.enforce-tenancy",
        "--enable-feature=promql-experimental-functions,query-pushdown",
        "--sabre.query-memory=1MB",
        "--store.response-timeout=3s",
    ])
    .unwrap();
    assert_eq!(config.api.route_prefix, "/a/b");
    assert_eq!(config.fanout.own_labels.to_string(), r#"{cluster="eu1"}"#);
    assert_eq!(config.fanout.response_timeout, Some(Duration::from_secs(3)));
    assert_eq!(config.engine.replica_labels, ["r", "s", "t"]);
    assert_eq!(config.engine.enforced_tenant_label.as_deref(), Some("tenant_id"));
    assert!(config.engine.parse.experimental_functions);
    assert!(!config.engine.parse.extended_range_selectors);
    assert_eq!(
        (config.engine.query_bytes, config.engine.query_bytes_flag.as_str()),
        (1 << 20, "--sabre.query-memory")
    );
    assert_eq!(
        read(&["--web.route-prefix=x", "--web.external-prefix=/y"])
            .unwrap()
            .api
            .route_prefix,
        "/x"
    );
}

/// A flag, and what is read of it in the settings and not in the defaults.
const REACHED: [(&str, &str); 43] = [
    ("--endpoint.sd-config={endpoints: [{address: 'zzz:1'}]}", "zzz:1"),
    ("--endpoint.sd-config-reload-interval=7s", "document_interval: 7s"),
    ("--store.sd-files=/zzz", "target_files: [\"/zzz\"]"),
    ("--store.sd-interval=7s", "target_files_interval: 7s"),
    ("--store.sd-dns-interval=7s", "names_interval: 7s"),
    ("--store.unhealthy-timeout=7s", "unhealthy_timeout: 7s"),
    ("--endpoint.info-timeout=7s", "info_timeout: 7s"),
    ("--store.response-timeout=7s", "response_timeout: Some(7s)"),
    ("--selector-label=zone=\"z1\"", "z1"),
    ("--selector.relabel-config=[{action: drop, regex: zzz}]", "zzz"),
    ("--query.replica-label=r", "replica_labels: [\"r\"]"),
    ("--deduplication.func=chain", "dedup_func: Chain"),
    ("--query.auto-downsampling", "auto_downsampling: true"),
    (
        "--query.instant.default.max_source_resolution=5m",
        "instant_resolution_ms: 300000",
    ),
    ("--no-query.partial-response", "partial_response: false"),
    ("--no-rule.partial-response", "rules: false"),
    ("--no-target.partial-response", "targets: false"),
    ("--no-metric-metadata.partial-response", "metadata: false"),
    ("--no-exemplar.partial-response", "exemplars: false"),
    ("--no-status.partial-response", "status: false"),
    ("--query.timeout=7s", "timeout: 7s"),
    ("--query.max-concurrent=7", "max_concurrent: 7"),
    ("--query.max-concurrent-select=7", "max_concurrent_select: 7"),
    ("--query.lookback-delta=7s", "lookback_delta_ms: 7000"),
    ("--no-query.dynamic-lookback-delta", "dynamic_lookback: false"),
    ("--query.default-evaluation-interval=7s", "subquery_step_ms: 7000"),
    ("--query.default-step=7s", "default_step: 7s"),
    ("--query.metadata.default-time-range=7s", "metadata_range: 7s"),
    (
        "--enable-feature=promql-experimental-functions",
        "experimental_functions: true",
    ),
    ("--query.tenant-header=X-Zzz", "header: \"X-Zzz\""),
    ("--query.default-tenant-id=zzz", "default_tenant: \"zzz\""),
    (
        "--query.tenant-certificate-field=organizationalUnit",
        "certificate_field: Some(OrganizationalUnit)",
    ),
    ("--query.enforce-tenancy", "enforced_label: Some(\"tenant_id\")"),
    ("--store.limits.request-series=7", "max_series: 7"),
    ("--store.limits.request-samples=7", "max_samples: 7"),
    ("--sabre.query-memory=7", "query_bytes: 7,"),
    ("--sabre.slow-query=7s", "slow_query: Some(7s)"),
    ("--sabre.true-histogram-means", "histogram_means: True"),
    ("--web.route-prefix=/zzz", "route_prefix: \"/zzz\""),
    ("--web.external-prefix=/zzz", "route_prefix: \"/zzz\""),
    ("--web.disable-cors", "disable_cors: true"),
    ("--grpc-client-tls-secure", "client: ClientOptions { tls: Some("),
    ("--grpc-client-server-name=zzz", "server_name: \"zzz\""),
];

#[test]
fn each_flag_reaches_its_setting() {
    sabre_testkit::settings::each_flag_is_seen(REACHED, |flags| format!("{:?}", read(flags).unwrap()));
}

#[test]
fn flags_of_tls_to_endpoints_reach_their_setting() {
    let given = read(&[
        "--grpc-client-tls-secure",
        "--grpc-client-tls-skip-verify",
        "--grpc-client-tls-ca=/ca",
        "--grpc-client-tls-cert=/cert",
        "--grpc-client-tls-key=/key",
        "--grpc-client-tls-min-version=1.2",
        "--query.enforce-tenancy",
        "--query.tenant-label-name=zzz",
    ]);
    let text = format!("{:?}", given.unwrap());
    for part in [
        "insecure_skip_verify: true",
        "ca_file: \"/ca\"",
        "cert_file: \"/cert\"",
        "key_file: \"/key\"",
        "min_version: \"1.2\"",
        "enforced_label: Some(\"zzz\")",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn answers_are_asked_for_under_zstd_where_the_flag_says_so() {
    assert!(!read(&[]).unwrap().fanout.asks_for_zstd);
    assert!(read(&["--sabre.grpc-zstd"]).unwrap().fanout.asks_for_zstd);
}
