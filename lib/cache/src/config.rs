//! The documents that say which cache to use, as Thanos writes them.

use std::{collections::BTreeMap, fmt, time::Duration};

use sabre_model::{duration, size};
use sabre_runtime::{
    tls::ClientFiles,
    yaml::{self, YamlError, null_is_default},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::IgnoredAny};

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheConfigError {
    /// It is not what it should be.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A key has a value that makes no sense.
    #[error("{what}: key `{key}`: {problem}")]
    Invalid {
        /// The document.
        what: String,
        /// The key.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// A duration as Go writes it, `500ms`; a number without a unit is nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoTime(Duration);

/// A size such as `250MB`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// `type: IN-MEMORY`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MemoryConfig {
    /// Most bytes together.
    pub max_size: Size,
    /// Most bytes of one item.
    pub max_item_size: Size,
}

/// `type: MEMCACHED`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct MemcachedConfig {
    /// Servers as `host:port`, or names to be looked up: `dns+host:port`, `dnssrv+name`, `dnssrvnoa+name`.
    pub addresses: Vec<String>,
    /// Of one operation on one server.
    pub timeout: GoTime,
    /// Connections to a server that are kept when unused.
    pub max_idle_connections: usize,
    /// Writes that run at once.
    pub max_async_concurrency: usize,
    /// Writes that may wait.
    pub max_async_buffer_size: usize,
    /// Reads that run at once; 0 is no limit.
    pub max_get_multi_concurrency: usize,
    /// Larger values are not written; 0 is no limit.
    pub max_item_size: Size,
    /// Keys of one read; 0 is no limit.
    pub max_get_multi_batch_size: usize,
    /// How often names are looked up.
    pub dns_provider_update_interval: GoTime,
    /// The addresses are those of configuration endpoints, which name the servers.
    pub auto_discovery: bool,
    /// When writing stops for a while.
    pub set_async_circuit_breaker_config: BreakerConfig,
}

/// `type: REDIS`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct RedisConfig {
    /// `host:port`; of several, separated by commas, one that answers is used.
    pub addr: String,
    /// Goes before every key.
    #[serde(deserialize_with = "null_is_default")]
    pub prefix: String,
    /// User, if the server has any.
    #[serde(deserialize_with = "null_is_default")]
    pub username: String,
    /// Password, if the server wants one.
    #[serde(deserialize_with = "null_is_default")]
    pub password: Secret,
    /// Number of the database.
    pub db: u32,
    /// Of connecting.
    pub dial_timeout: GoTime,
    /// Of reading; 0 is no limit.
    pub read_timeout: GoTime,
    /// Of writing; 0 is no limit.
    pub write_timeout: GoTime,
    /// Reads that run at once; 0 is no limit.
    pub max_get_multi_concurrency: usize,
    /// Keys of one read.
    pub get_multi_batch_size: usize,
    /// Writes of many keys that run at once; here each key is written by itself, so the key has no effect.
    pub max_set_multi_concurrency: usize,
    /// Keys of one write; no effect, as above.
    pub set_multi_batch_size: usize,
    /// Talk TLS.
    pub tls_enabled: bool,
    /// How.
    #[serde(deserialize_with = "null_is_default")]
    pub tls_config: TlsFiles,
    /// Of a cache in the client, which is not built: it would only save time.
    pub cache_size: Size,
    /// With sentinels: `addr` names them, and they name the server.
    #[serde(deserialize_with = "null_is_default")]
    pub master_name: String,
    /// Writes that may wait.
    pub max_async_buffer_size: usize,
    /// Writes that run at once.
    pub max_async_concurrency: usize,
    /// When writing stops for a while.
    pub set_async_circuit_breaker_config: BreakerConfig,
}

/// Certificates of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TlsFiles {
    /// Authorities; those of the system if empty.
    pub ca_file: String,
    /// Certificate of the client.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
    /// The name the server's certificate must have; the host of the address if empty.
    pub server_name: String,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// `1.2` or `1.3`; older versions are never spoken.
    pub min_version: String,
}

impl TlsFiles {
    /// What the client trusts and shows.
    pub(crate) fn files(&self) -> ClientFiles {
        ClientFiles {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            min_version: self.min_version.clone(),
        }
    }
}

/// `set_async_circuit_breaker_config`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct BreakerConfig {
    /// Without this it does nothing.
    pub enabled: bool,
    /// Operations that are let through to try whether the server is well again.
    pub half_open_max_requests: u32,
    /// How long nothing is tried.
    pub open_duration: GoTime,
    /// Fewer operations than this are no ground to stop.
    pub min_requests: u32,
    /// Failures in a row after which writing stops.
    pub consecutive_failures: u32,
    /// Share of failures at which writing stops.
    pub failure_percent: f64,
}

impl GoTime {
    /// So many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            max_size: Size(250 << 20),
            max_item_size: Size(125 << 20),
        }
    }
}

impl Default for MemcachedConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            timeout: GoTime::from_ms(500),
            max_idle_connections: 100,
            max_async_concurrency: 20,
            max_async_buffer_size: 10_000,
            max_get_multi_concurrency: 100,
            max_item_size: Size(1 << 20),
            max_get_multi_batch_size: 0,
            dns_provider_update_interval: GoTime::from_ms(10_000),
            auto_discovery: false,
            set_async_circuit_breaker_config: BreakerConfig::default(),
        }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            addr: String::new(),
            prefix: String::new(),
            username: String::new(),
            password: Secret::default(),
            db: 0,
            dial_timeout: GoTime::from_ms(5_000),
            read_timeout: GoTime::from_ms(3_000),
            write_timeout: GoTime::from_ms(3_000),
            max_get_multi_concurrency: 100,
            get_multi_batch_size: 100,
            max_set_multi_concurrency: 100,
            set_multi_batch_size: 100,
            tls_enabled: false,
            tls_config: TlsFiles::default(),
            cache_size: Size(0),
            master_name: String::new(),
            max_async_buffer_size: 10_000,
            max_async_concurrency: 20,
            set_async_circuit_breaker_config: BreakerConfig::default(),
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            half_open_max_requests: 10,
            open_duration: GoTime::from_ms(5_000),
            min_requests: 50,
            consecutive_failures: 5,
            failure_percent: 0.05,
        }
    }
}

impl MemoryConfig {
    /// Says what makes no sense; `what` is the document.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self, what: &str) -> Result<(), CacheConfigError> {
        if self.max_item_size > self.max_size {
            let (item, all) = (self.max_item_size.0, self.max_size.0);
            let problem = format!("{item} bytes are more than the {all} bytes of max_size");
            return Err(invalid(what, "config.max_item_size", problem));
        }
        Ok(())
    }
}

impl MemcachedConfig {
    /// Says what makes no sense; `what` is the document.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self, what: &str) -> Result<(), CacheConfigError> {
        if self.addresses.is_empty() {
            return Err(invalid(
                what,
                "config.addresses",
                "name at least one server".to_owned(),
            ));
        }
        if self.dns_provider_update_interval.get().is_zero() {
            let problem = "must be more than zero".to_owned();
            return Err(invalid(what, "config.dns_provider_update_interval", problem));
        }
        if self.max_async_concurrency == 0 {
            let problem = "must be more than zero".to_owned();
            return Err(invalid(what, "config.max_async_concurrency", problem));
        }
        self.set_async_circuit_breaker_config.check(what)
    }
}

impl RedisConfig {
    /// Says what makes no sense; `what` is the document.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self, what: &str) -> Result<(), CacheConfigError> {
        if self.addr.trim().is_empty() {
            return Err(invalid(
                what,
                "config.addr",
                "name the server as host:port".to_owned(),
            ));
        }
        let tls = &self.tls_config;
        if self.tls_enabled && tls.cert_file.is_empty() != tls.key_file.is_empty() {
            let problem = "cert_file and key_file go together".to_owned();
            return Err(invalid(what, "config.tls_config", problem));
        }
        if self.tls_enabled && !["", "1.0", "1.1", "1.2", "1.3"].contains(&tls.min_version.as_str()) {
            let problem = "must be 1.0, 1.1, 1.2 or 1.3".to_owned();
            return Err(invalid(what, "config.tls_config.min_version", problem));
        }
        self.set_async_circuit_breaker_config.check(what)
    }
}

impl BreakerConfig {
    fn check(&self, what: &str) -> Result<(), CacheConfigError> {
        if !self.enabled {
            return Ok(());
        }
        if self.consecutive_failures == 0 {
            let key = "config.set_async_circuit_breaker_config.consecutive_failures";
            return Err(invalid(what, key, "must be more than zero".to_owned()));
        }
        if !(self.failure_percent > 0.0 && self.failure_percent <= 1.0) {
            let key = "config.set_async_circuit_breaker_config.failure_percent";
            return Err(invalid(what, key, "must be above 0 and at most 1".to_owned()));
        }
        Ok(())
    }
}

/// Reads the `config` of a document. Thanos ignores keys there that it does not know; here they are ignored with a
/// log line.
///
/// # Errors
/// What is wrong, and where.
pub fn backend<C: DeserializeOwned + Default>(
    what: &str,
    text: &str,
    known: &[&str],
) -> Result<C, CacheConfigError> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "C: DeserializeOwned + Default"))]
    struct Document<C> {
        #[serde(default, deserialize_with = "null_is_default")]
        config: C,
    }
    #[derive(Deserialize)]
    struct Keys {
        #[serde(default, deserialize_with = "null_is_default")]
        config: BTreeMap<String, IgnoredAny>,
    }
    let Document { config } = yaml::from_str_strict::<Document<C>>(what, text)?;
    let keys: Keys = yaml::from_str_strict(what, text)?;
    for key in keys.config.keys().filter(|key| !known.contains(&key.as_str())) {
        tracing::warn!("{what}: key config.{key} is not known and ignored");
    }
    Ok(config)
}

/// The keys of [`MemoryConfig`].
pub const MEMORY_KEYS: &[&str] = &["max_size", "max_item_size"];

/// The keys of [`MemcachedConfig`].
pub const MEMCACHED_KEYS: &[&str] = &[
    "addresses",
    "timeout",
    "max_idle_connections",
    "max_async_concurrency",
    "max_async_buffer_size",
    "max_get_multi_concurrency",
    "max_item_size",
    "max_get_multi_batch_size",
    "dns_provider_update_interval",
    "auto_discovery",
    "set_async_circuit_breaker_config",
];

/// The keys of [`RedisConfig`].
pub const REDIS_KEYS: &[&str] = &[
    "addr",
    "prefix",
    "username",
    "password",
    "db",
    "dial_timeout",
    "read_timeout",
    "write_timeout",
    "max_get_multi_concurrency",
    "get_multi_batch_size",
    "max_set_multi_concurrency",
    "set_multi_batch_size",
    "tls_enabled",
    "tls_config",
    "cache_size",
    "master_name",
    "max_async_buffer_size",
    "max_async_concurrency",
    "set_async_circuit_breaker_config",
];

/// An error of a document.
pub fn invalid(what: &str, key: &'static str, problem: String) -> CacheConfigError {
    CacheConfigError::Invalid {
        what: what.to_owned(),
        key,
        problem,
    }
}

impl<'de> Deserialize<'de> for GoTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(nanoseconds) = text.parse::<u64>() {
            return Ok(Self(Duration::from_nanos(nanoseconds)));
        }
        let parsed = duration::parse_go(&text).map_err(serde::de::Error::custom)?;
        let ms =
            u64::try_from(parsed.as_ms()).map_err(|_| serde::de::Error::custom("must not be negative"))?;
        Ok(Self::from_ms(ms))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        size::parse_bytes(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_in_thanos() {
        let text = "type: MEMCACHED\nconfig:\n  addresses: [dns+memcached:11211]\n  timeout: 2s\n  max_item_size: 5MiB\n";
        let config: MemcachedConfig = backend("x", text, MEMCACHED_KEYS).unwrap();
        let expected = MemcachedConfig {
            addresses: vec!["dns+memcached:11211".to_owned()],
            timeout: GoTime::from_ms(2000),
            max_item_size: Size(5 << 20),
            ..MemcachedConfig::default()
        };
        assert_eq!(config, expected);
        config.check("x").unwrap();
    }

    #[test]
    fn redis_with_everything_and_unknown_keys() {
        let text = "config:\n  addr: redis:6379\n  password: 12345\n  db: 2\n  tls_enabled: true\n  tls_config: {ca_file: a}\n  \
                    cache_size: 10MB\n  unknown: 1\n  read_timeout: 0\n  prefix:\n";
        let config: RedisConfig = backend("x", text, REDIS_KEYS).unwrap();
        assert_eq!(config.password.reveal(), "12345");
        assert_eq!((config.db, config.read_timeout), (2, GoTime::default()));
        assert!(!format!("{config:?}").contains("12345"));
        config.check("x").unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let check = |text: &str| {
            let config: MemcachedConfig =
                backend("--x", text, MEMCACHED_KEYS).map_err(|error| error.to_string())?;
            config.check("--x").map_err(|error| error.to_string())
        };
        assert!(check("config: {}").unwrap_err().contains("config.addresses"));
        assert!(
            check("config: {addresses: [a], max_async_concurrency: 0}")
                .unwrap_err()
                .contains("max_async_concurrency")
        );
        let error = check("config:\n  addresses: [a]\n  timeout: 5x\n").unwrap_err();
        assert!(error.contains("line 3"), "{error}");
        let breaker =
            "config: {addresses: [a], set_async_circuit_breaker_config: {enabled: true, failure_percent: 2}}";
        assert!(check(breaker).unwrap_err().contains("failure_percent"));
        let memory: MemoryConfig =
            backend("x", "config: {max_size: 1KB, max_item_size: 2KB}", MEMORY_KEYS).unwrap();
        assert!(
            memory
                .check("x")
                .unwrap_err()
                .to_string()
                .contains("max_item_size")
        );
        let redis: RedisConfig = backend(
            "x",
            "config: {addr: a, tls_enabled: true, tls_config: {cert_file: a}}",
            REDIS_KEYS,
        )
        .unwrap();
        assert!(redis.check("x").unwrap_err().to_string().contains("tls_config"));
    }
}
