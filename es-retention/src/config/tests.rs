use super::*;

/// The shape that the old stack's repository holds.
const NESTED: &str = "es2s3:
  account: '123456789012'
  region: cn-north-1
  vpc:
    use_existing: true
    vpc_id: vpc-0123
    security_group_id: sg-0123
  s3:
    bucket_name: es-archive
  lambda:
    es_repo_name: es-repo
    es_endpoint: https://vpc-logs.cn-north-1.es.amazonaws.com.cn/
    es_index_prefix: logging-
    snapshot_retention: '9'
    index_retention: '7'
";

/// The shape of its README.
const FLAT: &str = "account: 123456789012
region: cn-north-1
vpc_id: vpc-0123
security_group_id: sg-0123
bucket-name: es-archive
es_repo_name: es-repo
ES_ENDPOINT: vpc-logs.cn-north-1.es.amazonaws.com.cn
ES_INDEX_PREFIX: logging-
snapshot_retention: 9
index_retention: 7
";

fn read(text: &str) -> Result<Config, String> {
    read_with(text, &[])
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let lookup = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::read("app-config.yml", text, &lookup, &Overrides::default()).map_err(|error| error.to_string())
}

fn assert_old_values(config: &Config) {
    assert_eq!(config.endpoint, "https://vpc-logs.cn-north-1.es.amazonaws.com.cn");
    assert_eq!(
        (config.region.as_str(), config.repository_name.as_str()),
        ("cn-north-1", "es-repo")
    );
    assert_eq!(config.repository.kind, "s3");
    assert_eq!(config.repository.settings["bucket"], "es-archive");
    assert_eq!(config.policies.len(), 1);
    let policy = &config.policies[0];
    assert_eq!(policy.names.prefix, "logging-");
    assert_eq!((policy.index_retention, policy.snapshot_retention), (7, 9));
    assert_eq!(
        (policy.shards, policy.replicas, policy.create_ahead),
        (5, 1, true)
    );
    assert_eq!(policy.names.pattern.to_string(), "%Y.%m.%d");
    assert_eq!(config.max_deletes, 10);
}

#[test]
fn the_old_file_is_read_in_both_shapes_and_what_is_unused_is_said() {
    let nested = read(NESTED).unwrap();
    assert_old_values(&nested);
    assert_eq!(
        nested.unused,
        [
            "account",
            "vpc.use_existing",
            "vpc.vpc_id",
            "vpc.security_group_id"
        ]
    );
    let flat = read(FLAT).unwrap();
    assert_old_values(&flat);
    assert_eq!(flat.unused, ["account", "vpc_id", "security_group_id"]);
    let indented: String = FLAT.lines().map(|line| format!("  {line}\n")).collect();
    assert_old_values(&read(&format!("es2s3:\n{indented}")).unwrap());
}

#[test]
fn the_variables_of_the_functions_override_the_file() {
    let environment = [
        ("HOST", "https://other.example.com/"),
        ("REGION", "eu-west-1"),
        ("ES_REPO_NAME", "other"),
        ("S3_BUCKET_NAME", "bucket-2"),
        ("ES_INDEX_PREFIX", "audit-"),
        ("INDEX_RETENTION", "1"),
        ("SNAPSHOT_RETENTION", "30"),
        ("IAM_ROLE_ARN", "arn:aws:iam::1:role/a"),
    ];
    let config = read_with(NESTED, &environment).unwrap();
    assert_eq!(
        (config.endpoint.as_str(), config.region.as_str()),
        ("https://other.example.com", "eu-west-1")
    );
    assert_eq!(config.repository_name, "other");
    assert_eq!(config.repository.settings["bucket"], "bucket-2");
    assert_eq!(config.repository.settings["role_arn"], "arn:aws:iam::1:role/a");
    let policy = &config.policies[0];
    assert_eq!(policy.names.prefix, "audit-");
    assert_eq!((policy.index_retention, policy.snapshot_retention), (1, 30));
    assert_eq!(config.overridden.len(), 7);
    let overrides = Overrides {
        role_arn: Some("arn:aws:iam::1:role/flag".to_owned()),
        max_deletes: Some(3),
    };
    let config = Config::read("f", NESTED, &|_| None, &overrides).unwrap();
    assert_eq!(config.repository.settings["role_arn"], "arn:aws:iam::1:role/flag");
    assert_eq!(config.max_deletes, 3);
}

#[test]
fn what_is_wrong_is_refused_with_line_and_reason() {
    for (from, to, wanted) in [
        (
            "    es_repo_name: es-repo\n",
            "    es_repo_nam: es-repo\n",
            "app-config.yml: line 11, column 5: unknown key `es_repo_nam`, known are es_repo_name",
        ),
        (
            "  region: cn-north-1\n",
            "  regio: cn-north-1\n",
            "app-config.yml: line 3, column 3: unknown key `regio`",
        ),
        (
            "    es_repo_name: es-repo\n",
            "",
            "app-config.yml: line 11: key `es_repo_name` is missing here, and the environment has no ES_REPO_NAME",
        ),
        (
            "    index_retention: '7'\n",
            "",
            "key `index_retention` is missing",
        ),
        (
            "    snapshot_retention: '9'\n",
            "",
            "key `snapshot_retention` is missing",
        ),
        (
            "    es_endpoint: https://vpc-logs.cn-north-1.es.amazonaws.com.cn/\n",
            "",
            "key `es_endpoint` is missing",
        ),
        (
            "    bucket_name: es-archive\n",
            "",
            "line 2: key `s3.bucket_name` is missing",
        ),
        ("  region: cn-north-1\n", "", "line 2: key `region` is missing"),
        (
            "index_retention: '7'",
            "index_retention: '-7'",
            "app-config.yml: line 15: index_retention: -7 is negative",
        ),
        (
            "index_retention: '7'",
            "index_retention: seven",
            "line 15: index_retention: a whole number is wanted",
        ),
        (
            "snapshot_retention: '9'",
            "snapshot_retention: -1",
            "line 14: snapshot_retention: -1 is negative",
        ),
        (
            "snapshot_retention: '9'",
            "snapshot_retention: '8'",
            "line 14: snapshot_retention 8 is below index_retention 7 + 2: the snapshot would expire before its index is deleted",
        ),
        (
            "es_index_prefix: logging-",
            "es_index_prefix: ''",
            "line 13: es_index_prefix must not be empty",
        ),
        (
            "es_index_prefix: logging-",
            "es_index_prefix: 'log*'",
            "line 13: prefix: \"log*\": names of indices cannot have '*'",
        ),
        (
            "es_index_prefix: logging-",
            "es_index_prefix: Logging-",
            "names of indices cannot have 'L'",
        ),
        (
            "es_index_prefix: logging-",
            "es_index_prefix: restored-logging-",
            "was restored and is never deleted",
        ),
        (
            "es_repo_name: es-repo",
            "es_repo_name: cs-automated",
            "names that begin with cs-",
        ),
        (
            "https://vpc-logs.cn-north-1.es.amazonaws.com.cn/",
            "ftp://a/",
            "line 12: es_endpoint: an address",
        ),
        (
            "https://vpc-logs.cn-north-1.es.amazonaws.com.cn/",
            "localhost:9200",
            "line 12: es_endpoint: begins with neither https:// nor http://: put the one before it",
        ),
        (
            "https://vpc-logs.cn-north-1.es.amazonaws.com.cn/",
            "search.example.com",
            "line 12: es_endpoint: begins with neither https:// nor http://: put the one before it",
        ),
        (
            "    index_retention: '7'\n",
            "    index_retention: '7'\n  index_retention: 7\n",
            "line 16: index_retention is given twice",
        ),
    ] {
        let text = NESTED.replace(from, to);
        assert_ne!(text, NESTED, "{from}");
        let error = read(&text).map(|_| ()).unwrap_err();
        assert!(error.contains(wanted), "{error}\nwanted: {wanted}");
    }
    let error = read_with(NESTED, &[("INDEX_RETENTION", "-1")])
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error,
        "environment variable INDEX_RETENTION: index_retention: -1 is negative"
    );
    for text in ["", "[]", "es2s3:\n", "es2s3: x"] {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_own_section_has_defaults_and_adds_prefixes() {
    let own = "es_retention:
  shards: 3
  max_deletes: 50
  prefixes:
    - prefix: logging-
      time_zone: Asia/Shanghai
    - {prefix: audit-, pattern: '%Y.%m', index_retention: 31, snapshot_retention: 365, shards: 1, replicas: 0, create_ahead: false}
  repository: {settings: {base_path: logs, region: null, server_side_encryption: true}}
  schedule: {cron: '30 4 * * *', time_zone: Europe/Berlin}
  timeouts: {request_seconds: 5, attempts: 2, snapshot_seconds: 60, poll_seconds: 1}
  warn: {disk_percent: 70}
  metrics: {textfile: /metrics/es.prom}
  access: {basic: {username: a, password: $(PASSWORD)}}
";
    let config = read_with(&format!("{NESTED}{own}"), &[("PASSWORD", "hunter2")]).unwrap();
    let [first, second] = &config.policies[..] else {
        panic!("{:?}", config.policies);
    };
    assert_eq!(
        (first.shards, first.names.zone.iana_name()),
        (3, Some("Asia/Shanghai"))
    );
    assert_eq!((first.index_retention, first.snapshot_retention), (7, 9));
    assert_eq!(second.names.pattern.to_string(), "%Y.%m");
    assert_eq!((second.index_retention, second.snapshot_retention), (31, 365));
    assert_eq!(
        (second.shards, second.replicas, second.create_ahead),
        (1, 0, false)
    );
    assert_eq!(config.max_deletes, 50);
    let settings = serde_json::to_string(&config.repository.settings).unwrap();
    assert_eq!(
        settings,
        r#"{"bucket":"es-archive","base_path":"logs","server_side_encryption":true}"#
    );
    assert_eq!(config.patience.attempts, 2);
    assert_eq!(config.warn.disk_percent, 70);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_own_section_is_checked_too() {
    for (own, wanted) in [
        ("pattern: '%Y'", "line 17: pattern: a day"),
        (
            "time_zone: Mars/Olympus",
            "line 17: time_zone: \"Mars/Olympus\" is not known",
        ),
        ("shards: 0", "line 17: shards: 0 is not from 1 to 1024"),
        ("max_delete: 1", "line 17, column 3: unknown key `max_delete`"),
        (
            "prefixes: [{prefix: a-}, {prefix: a-}]",
            "line 17: prefix: \"a-\" is given twice",
        ),
        (
            "prefixes: [{prefix: logging-}, {prefix: logging-}]",
            "line 17: prefix: \"logging-\" is given twice",
        ),
        ("prefixes: [{pattern: '%Y.%m'}]", "key `prefix` is missing"),
        (
            "prefixes: [{prefix: a-, index_retention: 8}]",
            "line 17: snapshot_retention 9 is below index_retention 8 + 2",
        ),
        ("schedule: {cron: 'every day'}", "line 17: schedule.cron:"),
        ("schedule: {cron: '0 0 5 * * *'}", "line 17: schedule.cron:"),
        (
            "repository: {type: s3, settings: {a: [1]}}",
            "line 17: repository.settings.a: a single value",
        ),
        (
            "timeouts: {attempts: 0}",
            "timeouts.attempts: 0 is not from 1 to 100",
        ),
        ("access: {anonymos: true}", "unknown key `anonymos`"),
    ] {
        let error = read(&format!("{NESTED}es_retention:\n  {own}\n"))
            .map(|_| ())
            .unwrap_err();
        assert!(error.contains(wanted), "{own}: {error}");
    }
}

#[test]
fn a_folder_as_repository_needs_neither_bucket_nor_region() {
    let text = NESTED
        .replace("  region: cn-north-1\n", "")
        .replace("  s3:\n    bucket_name: es-archive\n", "");
    let own = "es_retention:\n  repository: {type: fs, settings: {location: /snapshots}}\n";
    let config = read(&format!("{text}{own}")).unwrap();
    assert_eq!(config.repository.kind, "fs");
    assert_eq!(config.repository.settings["location"], "/snapshots");
    assert_eq!(config.repository.settings.len(), 1);
}

#[test]
fn what_the_readme_shows_is_read() {
    let readme = include_str!("../../../README.md");
    let (_, section) = readme.split_once("\n## Log indices: es-retention\n").unwrap();
    let section = section
        .split_once("\n## ")
        .map_or(section, |(section, _)| section);
    let mut shown = section.split("```yaml\n").skip(1).map(|rest| {
        let (block, _) = rest.split_once("```").unwrap();
        block
    });
    let (old, own) = (shown.next().unwrap(), shown.next().unwrap());
    let config = read(old).unwrap();
    assert_eq!(config.endpoint, "https://vpc-logs-abc.eu-west-1.es.amazonaws.com");
    let config = read_with(&format!("{old}{own}"), &[("ES_PASSWORD", "x")]).unwrap();
    let prefixes: Vec<&str> = config
        .policies
        .iter()
        .map(|policy| policy.names.prefix.as_str())
        .collect();
    assert_eq!(prefixes, ["logging-", "audit-", "web-"]);
    assert_eq!(shown.next(), None);
}
