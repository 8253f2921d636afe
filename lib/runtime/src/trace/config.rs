//! `--tracing.config` in Thanos' shape. Exported is by OTLP alone; of other types the keys do not matter.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, time::Duration};

use sabre_model::duration;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::yaml::{self, YamlError, null_is_default};

const WHAT: &str = "--tracing.config";

/// What a document asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum TraceConfig {
    /// Export by OTLP.
    Otlp(Box<OtlpConfig>),
    /// A type that is known and not built; nobody looks at its keys.
    NotBuilt(&'static str),
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
pub enum TraceConfigError {
    /// It is no YAML, or has unknown keys.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A value makes no sense; it is not shown.
    #[error("--tracing.config: {key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wanted.
        problem: &'static str,
    },
}

/// Export by OTLP.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// `grpc` or `http`; read it by [`OtlpConfig::client`].
    #[serde(deserialize_with = "null_is_default")]
    pub client_type: String,
    /// Name of the service in traces.
    #[serde(deserialize_with = "null_is_default")]
    pub service_name: String,
    /// More attributes of the process.
    #[serde(deserialize_with = "null_is_default")]
    pub resource_attributes: BTreeMap<String, String>,
    /// Accepted, and of no effect: each export has a connection of its own.
    #[serde(deserialize_with = "go_duration")]
    pub reconnection_period: Option<Duration>,
    /// `gzip`, anything else is none.
    #[serde(deserialize_with = "null_is_default")]
    pub compression: String,
    /// Without TLS.
    pub insecure: bool,
    /// `host:port`.
    #[serde(deserialize_with = "null_is_default")]
    pub endpoint: String,
    /// Path of the collector, for HTTP.
    #[serde(deserialize_with = "null_is_default")]
    pub url_path: String,
    /// Of one export.
    #[serde(deserialize_with = "go_duration")]
    pub timeout: Option<Duration>,
    /// Whether and how exports are tried again.
    #[serde(deserialize_with = "null_is_default")]
    pub retry_config: RetryConfig,
    /// Sent with each export.
    #[serde(deserialize_with = "null_is_default")]
    pub headers: Headers,
    /// How the collector is verified.
    #[serde(deserialize_with = "null_is_default")]
    pub tls_config: TlsConfig,
    /// Which traces are sampled; read it by [`OtlpConfig::sampler`].
    #[serde(deserialize_with = "null_is_default")]
    pub sampler_type: String,
    /// The share, for the samplers by share.
    #[serde(deserialize_with = "null_is_default")]
    pub sampler_param: String,
}

/// How the collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientType {
    /// gRPC, port 4317 unless the endpoint has one.
    Grpc,
    /// Protobuf over HTTP/1.1, port 4318 unless the endpoint has one.
    Http,
}

/// Values are secrets and never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

/// Whether and how exports are tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Whether at all.
    pub retry_enabled: bool,
    /// The first pause.
    #[serde(deserialize_with = "go_duration")]
    pub retry_initial_interval: Option<Duration>,
    /// The longest pause.
    #[serde(deserialize_with = "go_duration")]
    pub retry_max_interval: Option<Duration>,
    /// After this an export is given up.
    #[serde(deserialize_with = "go_duration")]
    pub retry_max_elapsed_time: Option<Duration>,
}

/// How the collector is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Whom to trust.
    #[serde(deserialize_with = "null_is_default")]
    pub ca_file: String,
    /// Our certificate.
    #[serde(deserialize_with = "null_is_default")]
    pub cert_file: String,
    /// Its key.
    #[serde(deserialize_with = "null_is_default")]
    pub key_file: String,
    /// The name that the certificate must have.
    #[serde(deserialize_with = "null_is_default")]
    pub server_name: String,
    /// Trust anybody.
    pub insecure_skip_verify: bool,
}

/// Which traces are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether the caller's decision goes before ours.
    pub is_parent_based: bool,
    /// Share of the traces that begin here, from 0 to 1.
    pub share: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    r#type: String,
    #[serde(default, deserialize_with = "null_is_default")]
    #[expect(dead_code, reason = "it is a map, and what is in it depends on the type")]
    config: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OtlpEnvelope {
    #[serde(rename = "type")]
    _type: String,
    #[serde(default, deserialize_with = "null_is_default")]
    config: OtlpConfig,
}

impl TraceConfig {
    /// Reads the document.
    ///
    /// # Errors
    /// When the type is unknown, or of OTLP a key, or a value makes no sense.
    pub fn parse(text: &str) -> Result<Self, TraceConfigError> {
        let envelope: Envelope = yaml::from_str_strict(WHAT, text)?;
        match envelope.r#type.to_ascii_uppercase().as_str() {
            "OTLP" => {
                let otlp: OtlpEnvelope = yaml::from_str_strict(WHAT, text)?;
                otlp.config.check()?;
                Ok(Self::Otlp(Box::new(otlp.config)))
            }
            "JAEGER" => Ok(Self::NotBuilt("JAEGER")),
            "GOOGLE_CLOUD" | "STACKDRIVER" => Ok(Self::NotBuilt("GOOGLE_CLOUD")),
            "ELASTIC_APM" => Ok(Self::NotBuilt("ELASTIC_APM")),
            "LIGHTSTEP" => Ok(Self::NotBuilt("LIGHTSTEP")),
            _ => Err(TraceConfigError::Value {
                key: "type",
                problem: "one of OTLP, JAEGER, GOOGLE_CLOUD, STACKDRIVER, ELASTIC_APM, LIGHTSTEP is wanted",
            }),
        }
    }
}

impl OtlpConfig {
    fn check(&self) -> Result<(), TraceConfigError> {
        self.client()?;
        self.sampler().map(drop)
    }

    /// How the collector is spoken to.
    ///
    /// # Errors
    /// When the document says neither.
    pub fn client(&self) -> Result<ClientType, TraceConfigError> {
        match self.client_type.to_ascii_lowercase().as_str() {
            "grpc" => Ok(ClientType::Grpc),
            "http" => Ok(ClientType::Http),
            _ => Err(TraceConfigError::Value {
                key: "client_type",
                problem: "grpc or http is wanted",
            }),
        }
    }

    /// Which traces are sampled; all, as the parent says, when the document says nothing.
    ///
    /// # Errors
    /// When type or share make no sense.
    pub fn sampler(&self) -> Result<Sampler, TraceConfigError> {
        let kind = self.sampler_type.to_ascii_lowercase();
        let (is_parent_based, kind) = match kind.strip_prefix("parentbased") {
            Some(kind) => (true, kind),
            None => (kind.is_empty(), kind.as_str()),
        };
        let share = match kind {
            "alwayssample" => 1.0,
            "" if self.sampler_type.is_empty() => 1.0,
            "neversample" => 0.0,
            "traceidratiobased" => self.share()?,
            _ => {
                let problem = "alwayssample, neversample or traceidratiobased is wanted, or one of them after parentbased";
                return Err(TraceConfigError::Value {
                    key: "sampler_type",
                    problem,
                });
            }
        };
        Ok(Sampler {
            is_parent_based,
            share,
        })
    }

    fn share(&self) -> Result<f64, TraceConfigError> {
        let share = self
            .sampler_param
            .parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share));
        let problem = "a number from 0 to 1 is wanted";
        share.ok_or(TraceConfigError::Value {
            key: "sampler_param",
            problem,
        })
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let parsed = duration::parse_go(&text).ok().map(duration::GoDuration::as_ms);
    let duration_ms = parsed.and_then(|duration_ms| u64::try_from(duration_ms).ok());
    duration_ms
        .map(|duration_ms| Some(Duration::from_millis(duration_ms)))
        .ok_or_else(|| D::Error::custom("a duration such as 10s is wanted"))
}
