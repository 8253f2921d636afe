//! The keys of the file as they are written.

use std::{collections::BTreeMap, path::PathBuf};

use sabre_runtime::yaml::{self, null_is_default};
use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

use super::{ConfigError, Place};
use crate::access::AccessSettings;

/// A scalar, as it is written, with its line.
pub(super) type Text = Option<Spanned<String>>;

/// The file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) old: Old,
    /// The line at which `es2s3` begins, 1 when it is flat.
    pub(super) old_line: u64,
    pub(super) own: Own,
}

/// The keys of the old stack: those of its repository, nested, and those of its README, flat.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Old {
    pub(super) account: Text,
    pub(super) region: Text,
    pub(super) vpc: Option<Vpc>,
    pub(super) s3: Option<Spanned<Bucket>>,
    pub(super) lambda: Option<Spanned<Lambda>>,
    pub(super) vpc_id: Text,
    pub(super) security_group_id: Text,
    #[serde(rename = "bucket-name", alias = "bucket_name")]
    pub(super) bucket_name: Text,
    pub(super) es_repo_name: Text,
    #[serde(rename = "ES_ENDPOINT", alias = "es_endpoint")]
    pub(super) es_endpoint: Text,
    #[serde(rename = "ES_INDEX_PREFIX", alias = "es_index_prefix")]
    pub(super) es_index_prefix: Text,
    pub(super) snapshot_retention: Text,
    pub(super) index_retention: Text,
    pub(super) es_retention: Option<Own>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Vpc {
    pub(super) use_existing: Text,
    pub(super) vpc_id: Text,
    pub(super) security_group_id: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Bucket {
    pub(super) bucket_name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Lambda {
    pub(super) es_repo_name: Text,
    pub(super) es_endpoint: Text,
    pub(super) es_index_prefix: Text,
    pub(super) snapshot_retention: Text,
    pub(super) index_retention: Text,
}

/// The section `es_retention`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Own {
    pub(super) pattern: Text,
    pub(super) time_zone: Text,
    pub(super) shards: Text,
    pub(super) replicas: Text,
    pub(super) create_ahead: Option<bool>,
    pub(super) max_deletes: Text,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) prefixes: Vec<Prefix>,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) repository: RepositorySettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) schedule: ScheduleSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) timeouts: Timeouts,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) warn: WarnSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) metrics: MetricsSettings,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) access: AccessSettings,
}

/// One more prefix, or what is special about the first one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prefix {
    pub(super) prefix: Spanned<String>,
    #[serde(default)]
    pub(super) pattern: Text,
    #[serde(default)]
    pub(super) time_zone: Text,
    #[serde(default)]
    pub(super) index_retention: Text,
    #[serde(default)]
    pub(super) snapshot_retention: Text,
    #[serde(default)]
    pub(super) shards: Text,
    #[serde(default)]
    pub(super) replicas: Text,
    #[serde(default)]
    pub(super) create_ahead: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RepositorySettings {
    #[serde(rename = "type")]
    pub(super) kind: Text,
    #[serde(deserialize_with = "null_is_default")]
    pub(super) settings: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ScheduleSettings {
    pub(super) cron: Text,
    pub(super) time_zone: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) request_seconds: Text,
    pub(super) attempts: Text,
    pub(super) snapshot_seconds: Text,
    pub(super) poll_seconds: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WarnSettings {
    pub(super) disk_percent: Text,
    pub(super) shards_percent: Text,
}

/// Where the metrics of a single run go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// A file in the directory of node exporter's textfile collector.
    pub textfile: Option<PathBuf>,
    /// Address of a push gateway.
    pub push_gateway: Option<String>,
    /// The job at the push gateway; `sabre-es-retention` when not given.
    pub job: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nested {
    es2s3: Spanned<Old>,
    #[serde(default)]
    es_retention: Option<Own>,
}

impl Document {
    /// Reads the file in either shape; `$(VAR)` is replaced from the environment first.
    pub(super) fn read(
        file: &str,
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let said = |text: String| {
            let (place, problem) = text.split_once(": line ").map_or_else(
                || (file.to_owned(), text.clone()),
                |(place, rest)| {
                    let (line, problem) = rest.split_once(": ").unwrap_or((rest, ""));
                    (format!("{place}: line {line}"), problem.to_owned())
                },
            );
            ConfigError {
                place: Place::Said(place),
                problem,
            }
        };
        let text = yaml::expand_env(file, text, lookup).map_err(|error| said(error.to_string()))?;
        let keys: BTreeMap<String, IgnoredAny> =
            yaml::from_str_strict(file, &text).map_err(|error| said(error.to_string()))?;
        let (mut old, old_line, outer) = if keys.contains_key("es2s3") {
            let nested: Nested =
                yaml::from_str_strict(file, &text).map_err(|error| said(error.to_string()))?;
            let line = nested.es2s3.referenced.line();
            (nested.es2s3.value, line, nested.es_retention)
        } else {
            let flat: Old = yaml::from_str_strict(file, &text).map_err(|error| said(error.to_string()))?;
            (flat, 1, None)
        };
        let own = match (outer, old.es_retention.take()) {
            (Some(_), Some(_)) => {
                return Err(ConfigError {
                    place: Place::File {
                        file: file.to_owned(),
                        line: old_line,
                    },
                    problem: "es_retention is given inside of es2s3 and beside it, one of them is wanted"
                        .to_owned(),
                });
            }
            (outer, inner) => outer.or(inner).unwrap_or_default(),
        };
        Ok(Self { old, old_line, own })
    }
}
