//! The keys below `config` of a bucket of type S3, and what they may be.

use std::{collections::BTreeMap, fmt, time::Duration};

use sabre_runtime::yaml::null_is_default;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{Deadlines, RetryPolicy};

/// A setting that makes no sense: its key, and what is wrong with it.
pub(crate) type Problem = (&'static str, String);

/// The smallest and the largest part that S3 takes.
const PART_BYTES: std::ops::RangeInclusive<u64> = (5 << 20)..=(5 << 30);

/// What Thanos' S3 client does when `max_retries` is 0.
const DEFAULT_MAX_RETRIES: u32 = 10;

/// The settings as they are written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct S3Settings {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) bucket: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) endpoint: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) region: String,
    /// Changes nothing: the host is always used as it is configured. Thanos puts another name in its place, which
    /// the private names of interface endpoints do not cover; who wants the dualstack host writes it down.
    #[serde(deserialize_with = "null_is_default")]
    pub(super) disable_dualstack: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) aws_sdk_auth: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) access_key: Secret,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) secret_key: Secret,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) session_token: Secret,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) insecure: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) signature_version2: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) put_user_metadata: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) http_config: HttpSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) trace: TraceSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) list_objects_version: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) bucket_lookup_type: LookupType,
    pub(super) send_content_md5: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) disable_multipart: bool,
    pub(super) part_size: u64,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) sse_config: SseSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) sts_endpoint: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) max_retries: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpSettings {
    #[serde(deserialize_with = "duration")]
    pub(super) idle_conn_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(super) response_header_timeout: Duration,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) insecure_skip_verify: bool,
    #[serde(deserialize_with = "duration")]
    pub(super) tls_handshake_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(super) expect_continue_timeout: Duration,
    pub(super) max_idle_conns: usize,
    pub(super) max_idle_conns_per_host: usize,
    pub(super) max_conns_per_host: usize,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) tls_config: TlsSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) disable_compression: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsSettings {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) ca_file: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) cert_file: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) key_file: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) server_name: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) insecure_skip_verify: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TraceSettings {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) enable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SseSettings {
    #[serde(deserialize_with = "null_is_default")]
    pub(super) r#type: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) kms_key_id: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) kms_encryption_context: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) encryption_key: String,
}

/// How the bucket is named in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum LookupType {
    /// In the host for AWS, in the path for everybody else.
    #[default]
    #[serde(rename = "auto", alias = "")]
    Auto,
    #[serde(rename = "virtual-hosted")]
    VirtualHosted,
    #[serde(rename = "path")]
    Path,
}

/// A value that must not be shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub(super) String);

/// Settings that make sense.
#[derive(Clone, Debug)]
pub(crate) struct CheckedSettings(pub(super) S3Settings);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "<redacted>" })
    }
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            endpoint: String::new(),
            region: String::new(),
            disable_dualstack: false,
            aws_sdk_auth: false,
            access_key: Secret::default(),
            secret_key: Secret::default(),
            session_token: Secret::default(),
            insecure: false,
            signature_version2: false,
            put_user_metadata: BTreeMap::new(),
            http_config: HttpSettings::default(),
            trace: TraceSettings::default(),
            list_objects_version: String::new(),
            bucket_lookup_type: LookupType::default(),
            send_content_md5: true,
            disable_multipart: false,
            part_size: 64 << 20,
            sse_config: SseSettings::default(),
            sts_endpoint: String::new(),
            max_retries: 0,
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            idle_conn_timeout: Duration::from_secs(90),
            response_header_timeout: Duration::from_secs(120),
            insecure_skip_verify: false,
            tls_handshake_timeout: Duration::from_secs(10),
            expect_continue_timeout: Duration::from_secs(1),
            max_idle_conns: 100,
            max_idle_conns_per_host: 100,
            max_conns_per_host: 0,
            tls_config: TlsSettings::default(),
            disable_compression: false,
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let ms = sabre_model::duration::parse_model(&text).map_err(D::Error::custom)?;
    u64::try_from(ms)
        .map(Duration::from_millis)
        .map_err(|_| D::Error::custom("a duration must not be negative"))
}

impl S3Settings {
    /// Refuses what makes no sense, and says what is ignored.
    pub(crate) fn check(self) -> Result<CheckedSettings, Problem> {
        self.check_names()?;
        self.check_keys()?;
        self.check_encryption()?;
        self.check_tls()?;
        if !["", "v1", "v2"].contains(&self.list_objects_version.as_str()) {
            return Err(("list_objects_version", "v1, v2 or nothing is wanted".to_owned()));
        }
        if self.part_size != 0 && !PART_BYTES.contains(&self.part_size) {
            return Err((
                "part_size",
                "from 5 MiB (5242880) to 5 GiB (5368709120) is what S3 allows".to_owned(),
            ));
        }
        self.log_ignored();
        Ok(CheckedSettings(self))
    }

    fn check_names(&self) -> Result<(), Problem> {
        let required = |key, value: &str, what: &str| {
            if value.is_empty() {
                Err((key, format!("{what} is required")))
            } else {
                Ok(())
            }
        };
        required("bucket", &self.bucket, "the name of the bucket")?;
        required(
            "endpoint",
            &self.endpoint,
            "host[:port], for AWS s3.<region>.amazonaws.com,",
        )?;
        if let Some((scheme, host)) = self.endpoint.split_once("://") {
            let hint = if scheme == "http" {
                " and `insecure: true` beside it"
            } else {
                ""
            };
            let host = host.trim_end_matches('/');
            return Err(("endpoint", format!("write it without a scheme: {host:?}{hint}")));
        }
        if self.endpoint.contains(['/', '?', '#', '@', ' ']) {
            return Err(("endpoint", "host[:port] is wanted, without a path".to_owned()));
        }
        if self.bucket.contains(['/', '?', '#', ' ']) {
            return Err((
                "bucket",
                "a name is wanted; what comes after it goes into `prefix`".to_owned(),
            ));
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), Problem> {
        let problem = |key, what: &str| Err((key, what.to_owned()));
        let has = |secret: &Secret| !secret.0.is_empty();
        if self.signature_version2 {
            return problem(
                "signature_version2",
                "signatures of version 2 are not supported: servers made since 2014 take version 4, so leave it out",
            );
        }
        if self.aws_sdk_auth && has(&self.access_key) {
            return problem("aws_sdk_auth", "it excludes `access_key`: leave out one of them");
        }
        match (has(&self.access_key), has(&self.secret_key)) {
            (true, false) => problem("secret_key", "it is required beside `access_key`"),
            (false, true) => problem("access_key", "it is required beside `secret_key`"),
            (false, false) if has(&self.session_token) => problem(
                "session_token",
                "it is of no use without `access_key` and `secret_key`",
            ),
            _ => Ok(()),
        }
    }

    fn check_encryption(&self) -> Result<(), Problem> {
        let sse = &self.sse_config;
        match sse.r#type.as_str() {
            "" | "SSE-S3" => Ok(()),
            "SSE-KMS" if sse.kms_key_id.is_empty() => {
                Err(("sse_config.kms_key_id", "it is required for SSE-KMS".to_owned()))
            }
            "SSE-C" if sse.encryption_key.is_empty() => Err((
                "sse_config.encryption_key",
                "the path of a file with a key of 32 bytes is required".to_owned(),
            )),
            "SSE-KMS" | "SSE-C" => Ok(()),
            _ => Err((
                "sse_config.type",
                "SSE-S3, SSE-KMS, SSE-C or nothing is wanted".to_owned(),
            )),
        }
    }

    fn check_tls(&self) -> Result<(), Problem> {
        let tls = &self.http_config.tls_config;
        match (tls.cert_file.is_empty(), tls.key_file.is_empty()) {
            (true, false) => Err((
                "tls_config.cert_file",
                "it is required beside `key_file`".to_owned(),
            )),
            (false, true) => Err((
                "tls_config.key_file",
                "it is required beside `cert_file`".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Settings that change nothing here are said so once, so that nobody tunes them in vain.
    fn log_ignored(&self) {
        let (http, usual) = (&self.http_config, HttpSettings::default());
        let ignored = [
            (
                "http_config.expect_continue_timeout",
                http.expect_continue_timeout != usual.expect_continue_timeout,
            ),
            (
                "http_config.max_idle_conns",
                http.max_idle_conns != usual.max_idle_conns,
            ),
            (
                "http_config.max_conns_per_host",
                http.max_conns_per_host != usual.max_conns_per_host,
            ),
            ("http_config.disable_compression", http.disable_compression),
        ];
        for (key, _) in ignored.iter().filter(|(_, is_set)| *is_set) {
            tracing::info!(key, "this setting of the bucket has no effect and is ignored");
        }
        let sse = &self.sse_config;
        if sse.r#type.is_empty() && !(sse.kms_key_id.is_empty() && sse.encryption_key.is_empty()) {
            tracing::warn!(
                "sse_config has a key and no type: objects are not encrypted by it, set sse_config.type"
            );
        }
        if self.bucket.contains('.') && self.bucket_lookup_type == LookupType::VirtualHosted && !self.insecure
        {
            tracing::warn!(
                "a bucket with a dot in its name is looked up by path, as its certificate would not match"
            );
        }
    }
}

impl CheckedSettings {
    /// Objects of this size and larger are uploaded in parts of this size.
    pub(super) fn part_bytes(&self) -> u64 {
        if self.0.part_size == 0 {
            S3Settings::default().part_size
        } else {
            self.0.part_size
        }
    }

    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        let max_retries = match self.0.max_retries {
            0 => DEFAULT_MAX_RETRIES,
            given => given,
        };
        RetryPolicy {
            max_retries,
            ..RetryPolicy::default()
        }
    }

    /// A little longer than the HTTP client waits for the head of an answer, so that its error is the one seen.
    pub(crate) fn deadlines(&self) -> Deadlines {
        let usual = Deadlines::default();
        let fixed = match self.0.http_config.response_header_timeout {
            Duration::ZERO => usual.fixed,
            timeout => timeout.saturating_add(timeout / 4),
        };
        Deadlines { fixed, ..usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> S3Settings {
        sabre_runtime::yaml::from_str_strict("test", text).unwrap()
    }

    fn refused(text: &str) -> Problem {
        settings(&format!("bucket: b\nendpoint: e\n{text}"))
            .check()
            .unwrap_err()
    }

    #[test]
    fn all_keys_of_thanos_are_read() {
        let all = settings(
            "bucket: b
endpoint: s3.eu-west-1.amazonaws.com
region: eu-west-1
disable_dualstack: true
aws_sdk_auth: false
access_key: AK
insecure: false
signature_version2: false
secret_key: SK
session_token: ST
put_user_metadata: {X-Amz-Storage-Class: STANDARD_IA}
http_config:
  idle_conn_timeout: 1m30s
  response_header_timeout: 2m
  insecure_skip_verify: false
  tls_handshake_timeout: 10s
  expect_continue_timeout: 1s
  max_idle_conns: 100
  max_idle_conns_per_host: 100
  max_conns_per_host: 0
  tls_config: {ca_file: '', cert_file: '', key_file: '', server_name: '', insecure_skip_verify: false}
  disable_compression: false
trace: {enable: false}
list_objects_version: ''
bucket_lookup_type: auto
send_content_md5: true
disable_multipart: false
part_size: 67108864
sse_config: {type: SSE-KMS, kms_key_id: k, kms_encryption_context: {a: b}, encryption_key: ''}
sts_endpoint: https://sts.eu-west-1.amazonaws.com
max_retries: 0
",
        );
        let shown = format!("{all:?}");
        assert!(
            !shown.contains("AK") && !shown.contains("SK") && !shown.contains("ST\""),
            "{shown}"
        );
        let checked = all.check().unwrap();
        assert_eq!(checked.retry_policy().max_retries, 10);
        assert_eq!(checked.deadlines().fixed, Duration::from_secs(150));
    }

    #[test]
    fn keys_without_a_value_are_as_if_left_out() {
        let text =
            "bucket: b\nendpoint: e\nregion:\naccess_key:\nhttp_config:\nsse_config:\nbucket_lookup_type:\n";
        settings(text).check().unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_key() {
        for (text, key) in [
            ("access_key: a", "secret_key"),
            ("secret_key: a", "access_key"),
            ("session_token: a", "session_token"),
            ("access_key: a\nsecret_key: b\naws_sdk_auth: true", "aws_sdk_auth"),
            ("signature_version2: true", "signature_version2"),
            ("list_objects_version: v3", "list_objects_version"),
            ("part_size: 1000", "part_size"),
            ("sse_config: {type: SSE-X}", "sse_config.type"),
            ("sse_config: {type: SSE-KMS}", "sse_config.kms_key_id"),
            ("sse_config: {type: SSE-C}", "sse_config.encryption_key"),
            ("http_config: {tls_config: {key_file: k}}", "tls_config.cert_file"),
            ("http_config: {tls_config: {cert_file: k}}", "tls_config.key_file"),
        ] {
            assert_eq!(refused(text).0, key, "{text}");
        }
        assert_eq!(settings("endpoint: e").check().unwrap_err().0, "bucket");
        assert_eq!(settings("bucket: b").check().unwrap_err().0, "endpoint");
        assert_eq!(
            settings("bucket: b/c\nendpoint: e").check().unwrap_err().0,
            "bucket"
        );
    }

    #[test]
    fn an_endpoint_with_a_scheme_is_refused_with_a_hint() {
        let refused = |endpoint: &str| {
            let text = format!("bucket: b\nendpoint: {endpoint}");
            settings(&text).check().unwrap_err().1
        };
        assert_eq!(
            refused("https://minio:9000/"),
            "write it without a scheme: \"minio:9000\""
        );
        assert!(refused("http://minio:9000").contains("insecure: true"));
        assert!(refused("minio:9000/bucket").contains("without a path"));
    }

    #[test]
    fn lookup_types_are_those_of_thanos() {
        let parse = |text: &str| sabre_runtime::yaml::from_str_strict::<S3Settings>("test", text);
        assert!(parse("bucket_lookup_type: virtual-hosted").is_ok());
        assert!(parse("bucket_lookup_type: path").is_ok());
        let error = parse("bucket_lookup_type: dns").unwrap_err().to_string();
        assert!(error.contains("virtual-hosted"), "{error}");
    }
}
