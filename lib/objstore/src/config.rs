//! The YAML that says which bucket to use: `{type, config, prefix}`.
//!
//! `$(VAR)` is replaced before, where the flag is read. Both levels are strict: an unknown key is an error that names
//! the key and the line.

use std::{fmt, path::PathBuf, sync::Arc};

use sabre_runtime::{
    metrics::Registry,
    yaml::{self, YamlError, null_is_default},
};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    Error, FilesystemBucket, Metered, Prefixed, Retrying, SharedBucket, TimedOut,
    s3::{S3Bucket, S3Settings},
};

/// What the document is called in errors.
const WHAT: &str = "objstore.config";

/// Types of buckets that Thanos knows and Sabre does not.
const OTHER_TYPES: [&str; 8] = ["GCS", "AZURE", "SWIFT", "COS", "ALIYUNOSS", "BOS", "OCI", "OBS"];

/// Why there is no bucket.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The document is not what it should be.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A key has a value that makes no sense.
    #[error("{WHAT}: {}key `{key}`: {problem}", Line(*line))]
    Invalid {
        /// The key.
        key: &'static str,
        /// Its line, from 1; 0 when unknown.
        line: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The prefix is no prefix.
    #[error("{WHAT}: key `prefix`: {0}")]
    Prefix(Error),
}

struct Line(usize);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            Ok(())
        } else {
            write!(f, "line {}: ", self.0)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<C: Default> {
    r#type: String,
    #[serde(
        default,
        deserialize_with = "null_is_default",
        bound(deserialize = "C: Deserialize<'de>")
    )]
    config: C,
    #[serde(default, deserialize_with = "null_is_default")]
    prefix: String,
}

/// A `config` that is looked at later, when the type is known.
#[derive(Default)]
struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FilesystemConfig {
    #[serde(deserialize_with = "null_is_default")]
    directory: String,
}

/// Makes the bucket that `text` describes, with deadlines, retries and the prefix around it. `component` ("sidecar")
/// tells the server who is asking. Nothing is sent yet, and no credentials are loaded.
pub fn from_yaml(text: &str, component: &str) -> Result<SharedBucket, ConfigError> {
    let envelope: Envelope<Anything> = yaml::from_str_strict(WHAT, text)?;
    let bucket: SharedBucket = match envelope.r#type.to_uppercase().as_str() {
        "S3" => {
            let envelope: Envelope<S3Settings> = yaml::from_str_strict(WHAT, text)?;
            s3(envelope.config, text, component)?
        }
        "FILESYSTEM" => {
            let envelope: Envelope<FilesystemConfig> = yaml::from_str_strict(WHAT, text)?;
            filesystem(envelope.config, text)?
        }
        other => return Err(invalid(text, "type", unknown_type(other))),
    };
    Prefixed::wrap(bucket, &envelope.prefix).map_err(ConfigError::Prefix)
}

/// Adds the metrics, outside of everything else: an operation is one however often it was tried.
pub fn with_metrics(bucket: SharedBucket, registry: &Registry) -> SharedBucket {
    Arc::new(Metered::new(bucket, registry))
}

fn s3(settings: S3Settings, text: &str, component: &str) -> Result<SharedBucket, ConfigError> {
    let checked = settings
        .check()
        .map_err(|(key, problem)| invalid(text, key, problem))?;
    let (deadlines, policy) = (checked.deadlines(), checked.retry_policy());
    let bucket = S3Bucket::new(checked, component).map_err(|(key, problem)| invalid(text, key, problem))?;
    Ok(Arc::new(Retrying::new(TimedOut::new(bucket, deadlines), policy)))
}

fn filesystem(config: FilesystemConfig, text: &str) -> Result<SharedBucket, ConfigError> {
    if config.directory.is_empty() {
        return Err(invalid(
            text,
            "directory",
            "the directory of the bucket is required".to_owned(),
        ));
    }
    Ok(Arc::new(FilesystemBucket::new(PathBuf::from(config.directory))))
}

fn unknown_type(name: &str) -> String {
    if OTHER_TYPES.contains(&name) {
        format!("{name} is not supported yet: S3 and FILESYSTEM are, and most clouds speak S3 as well")
    } else {
        format!("{name:?} is no type of bucket: S3 and FILESYSTEM are")
    }
}

fn invalid(text: &str, key: &'static str, problem: String) -> ConfigError {
    // `sse_config.type` is looked for as `type`; whoever writes a document on one line needs no line.
    let name = key.rsplit('.').next().unwrap_or(key);
    let after = key.split('.').next().filter(|_| key.contains('.')).unwrap_or("");
    let mut is_inside = after.is_empty();
    for (index, line) in text.lines().enumerate() {
        let begins = |key: &str| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(':'))
        };
        is_inside |= begins(after);
        if is_inside && begins(name) {
            return ConfigError::Invalid {
                key,
                line: index + 1,
                problem,
            };
        }
    }
    ConfigError::Invalid {
        key,
        line: 0,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        from_yaml(text, "test").unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_directory_and_a_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "type: filesystem\nconfig:\n  directory: {}\nprefix: /a/b/\n",
            dir.path().display()
        );
        let bucket = from_yaml(&text, "test").unwrap();
        bucket.put("k", bytes::Bytes::new()).await.unwrap();
        assert!(dir.path().join("a/b/k").exists());
    }

    #[test]
    fn strict_at_both_levels() {
        let error = refusal("type: FILESYSTEM\nconfig:\n  directory: x\nprefx: y\n");
        assert!(error.contains("line 4") && error.contains("`prefx`"), "{error}");
        let error = refusal("type: S3\nconfig:\n  bucket: x\n  buckt: y\n");
        assert!(error.contains("line 4") && error.contains("`buckt`"), "{error}");
        let error = refusal("type: S3\nhedging_config: {enabled: true}\nconfig: {}\n");
        assert!(error.contains("hedging_config"), "{error}");
        let error = refusal("config: {}\n");
        assert!(error.contains("type"), "{error}");
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let error = refusal("type: gcs\nconfig:\n  bucket: b\n  service_account: x\n");
        assert!(
            error.contains("line 1") && error.contains("GCS is not supported yet"),
            "{error}"
        );
        let error = refusal("type: FTP\n");
        assert!(error.contains("\"FTP\" is no type of bucket"), "{error}");
    }

    #[test]
    fn problems_name_key_and_line() {
        let error = refusal("type: FILESYSTEM\nconfig:\n  directory: ''\n");
        assert_eq!(
            error,
            "objstore.config: line 3: key `directory`: the directory of the bucket is required"
        );
        let error = refusal("type: FILESYSTEM\n");
        assert_eq!(
            error,
            "objstore.config: key `directory`: the directory of the bucket is required"
        );
        let error = refusal("type: FILESYSTEM\nconfig: {directory: x}\nprefix: a/../b\n");
        assert!(error.contains("key `prefix`") && error.contains(".."), "{error}");
        let error =
            refusal("type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  sse_config:\n    type: SSE-KMS\n");
        assert!(error.contains("`sse_config.kms_key_id`"), "{error}");
    }
}
