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
fn flags_that_make_no_sense_are_named() {
    let wrong = |arguments: &[&str]| read(arguments).unwrap_err();
    assert!(wrong(&["--endpoint-strict=dns+a:1"]).contains("--endpoint-strict: dns+a:1"));
    assert!(wrong(&["--endpoint=a"]).contains("port"));
    assert!(wrong(&["--selector-label=a"]).contains("selector-label"));
    assert!(wrong(&["--selector-label=a=\"1\"", "--selector-label=a=\"2\""]).contains("--selector-label"));
    assert!(wrong(&["--grpc-client-tls-cert=x"]).contains("key"));
    assert!(wrong(&["--query.max-concurrent=0"]).contains("query.max-concurrent"));
    assert!(wrong(&["--deduplication.func=best"]).contains("deduplication.func"));
    assert!(wrong(&["--query.enable-x-functions"]).contains("not built yet"));
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
