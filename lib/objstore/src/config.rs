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

/// What is different for whoever asks.
#[derive(Clone, Copy, Debug, Default)]
struct Manner {
    /// Somebody waits at a terminal: is told of each retry, and not kept waiting for what will not pass.
    is_awaited: bool,
    /// A directory that is missing is made.
    makes_directory: bool,
}

/// How often a tool asks again for what will hardly pass within seconds.
const TOOL_LASTING_RETRIES: u32 = 2;

/// Makes the bucket that `text` describes, with deadlines, retries and the prefix around it. `component` ("sidecar")
/// tells the server who is asking. Nothing is sent yet, and no credentials are loaded.
pub fn from_yaml(text: &str, component: &str) -> Result<SharedBucket, ConfigError> {
    opened(text, component, Manner::default())
}

/// As [`from_yaml`] for who is the first to write to a bucket: a directory that does not exist is made.
pub fn from_yaml_for_writer(text: &str, component: &str) -> Result<SharedBucket, ConfigError> {
    let manner = Manner {
        makes_directory: true,
        ..Manner::default()
    };
    opened(text, component, manner)
}

/// As [`from_yaml`] for who is waited for at a terminal: each retry is logged as a warning, and what will hardly pass
/// within seconds is not tried for long.
pub fn from_yaml_for_tool(text: &str, component: &str) -> Result<SharedBucket, ConfigError> {
    let manner = Manner {
        is_awaited: true,
        ..Manner::default()
    };
    opened(text, component, manner)
}

fn opened(text: &str, component: &str, manner: Manner) -> Result<SharedBucket, ConfigError> {
    let envelope: Envelope<Anything> = yaml::from_str_strict(WHAT, text)?;
    let bucket: SharedBucket = match envelope.r#type.to_uppercase().as_str() {
        "S3" => {
            let envelope: Envelope<S3Settings> = yaml::from_str_strict(WHAT, text)?;
            s3(envelope.config, text, component, manner)?
        }
        "FILESYSTEM" => {
            let envelope: Envelope<FilesystemConfig> = yaml::from_str_strict(WHAT, text)?;
            filesystem(envelope.config, text, manner)?
        }
        other => return Err(invalid(text, "type", unknown_type(other))),
    };
    Prefixed::wrap(bucket, &envelope.prefix).map_err(ConfigError::Prefix)
}

/// Adds the metrics, outside of everything else: an operation is one however often it was tried.
pub fn with_metrics(bucket: SharedBucket, registry: &Registry) -> SharedBucket {
    Arc::new(Metered::new(bucket, registry))
}

fn s3(
    settings: S3Settings,
    text: &str,
    component: &str,
    manner: Manner,
) -> Result<SharedBucket, ConfigError> {
    let checked = settings
        .check()
        .map_err(|(key, problem)| invalid(text, key, problem))?;
    let (deadlines, mut policy) = (checked.deadlines(), checked.retry_policy());
    let bucket = S3Bucket::new(checked, component).map_err(|(key, problem)| invalid(text, key, problem))?;
    let bucket = TimedOut::new(bucket, deadlines);
    if !manner.is_awaited {
        return Ok(Arc::new(Retrying::new(bucket, policy)));
    }
    policy.max_lasting_retries = TOOL_LASTING_RETRIES;
    Ok(Arc::new(Retrying::new(bucket, policy).warning_of_each()))
}

fn filesystem(config: FilesystemConfig, text: &str, manner: Manner) -> Result<SharedBucket, ConfigError> {
    if config.directory.is_empty() {
        return Err(invalid(
            text,
            "directory",
            "the directory of the bucket is required".to_owned(),
        ));
    }
    let directory = PathBuf::from(config.directory);
    if manner.makes_directory {
        std::fs::create_dir_all(&directory).map_err(|error| {
            let problem = format!("{} cannot be made: {error}", directory.display());
            invalid(text, "directory", problem)
        })?;
    }
    Ok(Arc::new(FilesystemBucket::new(directory)))
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
    fn only_who_writes_makes_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let text = format!("type: FILESYSTEM\nconfig:\n  directory: {}\n", path.display());
        from_yaml(&text, "test").unwrap();
        from_yaml_for_tool(&text, "test").unwrap();
        assert!(!path.exists());
        from_yaml_for_writer(&text, "test").unwrap();
        assert!(path.is_dir());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let text = format!("type: FILESYSTEM\nconfig:\n  directory: {}\n", file.display());
        let error = from_yaml_for_writer(&text, "test").unwrap_err().to_string();
        let begins = format!(
            "objstore.config: line 3: key `directory`: {} cannot be made: ",
            file.display()
        );
        assert!(error.starts_with(&begins), "{error}");
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
