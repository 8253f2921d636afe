use sabre_runtime::flags::parse_groups;

use super::*;

fn config(arguments: &[&str]) -> Result<SidecarConfig, String> {
    let mut all = vec!["--objstore.config=type: FILESYSTEM"];
    all.extend(arguments);
    let flags = parse_groups(&command().groups, &all).map_err(|error| error.text)?;
    SidecarConfig::from_flags(&flags).map_err(|error| format!("{error:#}"))
}

/// A flag, and what is read of it in the settings and not in the defaults.
const REACHED: [(&str, &str); 21] = [
    ("--prometheus.url=http://zzz:9090", "zzz"),
    ("--prometheus.ready_timeout=7m", "ready_timeout: 420s"),
    ("--prometheus.get_config_interval=7s", "heartbeat_interval: 7s"),
    ("--prometheus.get_config_timeout=7s", "heartbeat_timeout: 7s"),
    ("--tsdb.path=/zzz", "tsdb_dir: \"/zzz\""),
    ("--reloader.config-file=/zzz", "config_file: Some(\"/zzz\")"),
    ("--reloader.rule-dir=/zzz", "rule_dirs: [\"/zzz\"]"),
    ("--reloader.watch-interval=7s", "watch_interval: 7s"),
    ("--reloader.retry-interval=7s", "retry_interval: 7s"),
    ("--reloader.method=signal", "signal_process: Some(\"prometheus\")"),
    ("--shipper.upload-compacted", "upload_compacted: true"),
    (
        "--shipper.ignore-unequal-block-size",
        "ignore_unequal_block_size: true",
    ),
    ("--shipper.allow-out-of-order-uploads", "allow_out_of_order: true"),
    ("--no-shipper.skip-corrupted-blocks", "skip_corrupted: false"),
    ("--hash-func=SHA256", "hash: Sha256"),
    ("--shipper.meta-file-name=zzz", "state_file: \"zzz\""),
    ("--shipper.upload-concurrency=7", "upload_concurrency: 7"),
    ("--store.limits.request-series=7", "series: 7"),
    ("--store.limits.request-samples=7", "samples: 7"),
    ("--min-time=2026-01-01T00:00:00Z", "min_time: Time(1767225600000)"),
    ("--sabre.remote-read-concurrency=7", "read_concurrency: 7"),
];

#[test]
fn each_flag_reaches_its_setting() {
    sabre_testkit::settings::each_flag_is_seen(REACHED, |flags| format!("{:?}", config(flags).unwrap()));
}

#[test]
fn the_rendered_file_needs_one_to_render() {
    let rendered = "--reloader.config-envsubst-file=/b";
    let given = format!("{:?}", config(&["--reloader.config-file=/a", rendered]).unwrap());
    assert!(given.contains("rendered_file: Some(\"/b\")"), "{given}");
    assert!(
        config(&[rendered])
            .unwrap_err()
            .contains("--reloader.config-file")
    );
    assert!(config(&["--reloader.config-file=/b", rendered]).is_err());
}

#[test]
fn without_a_bucket_nothing_is_shipped() {
    let flags = parse_groups(&command().groups, &[]).unwrap();
    assert!(SidecarConfig::from_flags(&flags).unwrap().shipping.is_none());
    assert!(config(&[]).unwrap().shipping.is_some());
}
