//! `--prometheus.http-client`: how to reach Prometheus' HTTP API.

#[cfg(test)]
mod tests;

use std::{fs, path::PathBuf, time::Duration};

use reqwest::{Client, ClientBuilder, Proxy};
use sabre_runtime::tls::{self, ClientFiles};
use serde::Deserialize;

/// The document, features §9.5. Every key Thanos knows is known here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpClientConfig {
    basic_auth: Option<BasicAuth>,
    bearer_token: Secret,
    bearer_token_file: Option<PathBuf>,
    /// May hold a name and a password.
    proxy_url: Option<Secret>,
    tls_config: TlsConfig,
    transport_config: TransportConfig,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BasicAuth {
    username: String,
    password: Secret,
    password_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
struct TlsConfig {
    ca_file: String,
    cert_file: String,
    key_file: String,
    server_name: String,
    insecure_skip_verify: bool,
}

/// Plain integers in nanoseconds, as Thanos reads them; zero is no limit.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
struct TransportConfig {
    max_idle_conns: i64,
    max_idle_conns_per_host: i64,
    idle_conn_timeout: i64,
    response_header_timeout: i64,
    expect_continue_timeout: i64,
    max_conns_per_host: i64,
    disable_compression: bool,
    tls_handshake_timeout: i64,
    dialer_timeout: i64,
}

/// Text that is never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
struct Secret(String);

/// Why the document cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--prometheus.http-client: {key}: {what}")]
pub struct HttpConfigError {
    key: &'static str,
    what: String,
}

/// A client, and what each request carries.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client,
    auth: Auth,
    /// From the first byte that is sent to the head of the answer; none is no limit.
    pub(super) head_timeout: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
enum Auth {
    #[default]
    None,
    Basic {
        username: String,
        password: SecretSource,
    },
    Bearer(SecretSource),
}

/// Secrets in files are read at each request: they are rotated while the sidecar runs.
#[derive(Clone, Debug)]
enum SecretSource {
    Text(Secret),
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        TransportConfig {
            max_idle_conns: 100,
            max_idle_conns_per_host: 2,
            idle_conn_timeout: 90_000_000_000,
            response_header_timeout: 0,
            expect_continue_timeout: 10_000_000_000,
            max_conns_per_host: 0,
            disable_compression: false,
            tls_handshake_timeout: 10_000_000_000,
            dialer_timeout: 5_000_000_000,
        }
    }
}

impl HttpClientConfig {
    /// Reads the files it names and builds the client.
    ///
    /// # Errors
    /// A file that cannot be read, a certificate or an address that cannot be used, or keys that exclude each other;
    /// the error names the key.
    pub fn build(&self) -> Result<HttpClient, HttpConfigError> {
        let mut builder = self.transport_config.apply(
            Client::builder()
                .user_agent(concat!("sabre-sidecar/", env!("CARGO_PKG_VERSION")))
                .no_proxy(),
        );
        if let Some(Secret(url)) = self.proxy_url.as_ref().filter(|url| !url.0.is_empty()) {
            builder = builder.proxy(Proxy::all(url.as_str()).map_err(|error| err("proxy_url", error))?);
        }
        let client = self
            .tls_config
            .apply(builder)?
            .build()
            .map_err(|error| err("tls_config", error))?;
        self.transport_config.log_ignored();
        Ok(HttpClient {
            client,
            auth: self.auth()?,
            head_timeout: nanoseconds(self.transport_config.response_header_timeout),
        })
    }

    fn auth(&self) -> Result<Auth, HttpConfigError> {
        let bearer = SecretSource::choose(
            "bearer_token",
            &self.bearer_token,
            self.bearer_token_file.as_ref(),
        )?;
        let Some(basic) = &self.basic_auth else {
            return Ok(bearer.map_or(Auth::None, Auth::Bearer));
        };
        if bearer.is_some() {
            return Err(err("basic_auth", "cannot be given together with a bearer token"));
        }
        let password = SecretSource::choose(
            "basic_auth.password",
            &basic.password,
            basic.password_file.as_ref(),
        )?
        .unwrap_or(SecretSource::Text(Secret::default()));
        Ok(Auth::Basic {
            username: basic.username.clone(),
            password,
        })
    }
}

impl TransportConfig {
    fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = builder
            .pool_max_idle_per_host(self.idle_connections())
            .pool_idle_timeout(nanoseconds(self.idle_conn_timeout))
            .gzip(!self.disable_compression);
        // One time bounds both here.
        match (
            nanoseconds(self.dialer_timeout),
            nanoseconds(self.tls_handshake_timeout),
        ) {
            (Some(dial), Some(handshake)) => builder.connect_timeout(dial.saturating_add(handshake)),
            _ => builder,
        }
    }

    /// Of the two limits the lower one, as there is one host only.
    fn idle_connections(&self) -> usize {
        let per_host = match self.max_idle_conns_per_host {
            // What Go takes 0 for.
            0 => 2,
            given => usize::try_from(given).unwrap_or(0),
        };
        match usize::try_from(self.max_idle_conns) {
            Ok(all) if all > 0 => per_host.min(all),
            _ => per_host,
        }
    }

    /// Settings that change nothing here are said so once, so that nobody tunes them in vain.
    fn log_ignored(&self) {
        for (key, reason) in self.ignored() {
            tracing::info!(
                key,
                reason,
                "this setting of --prometheus.http-client has no effect and is ignored"
            );
        }
    }

    fn ignored(&self) -> Vec<(&'static str, &'static str)> {
        let usual = TransportConfig::default();
        let mut ignored = Vec::new();
        if self.max_conns_per_host != usual.max_conns_per_host {
            let reason =
                "how many remote reads there are at once is for --sabre.remote-read-concurrency to say";
            ignored.push(("transport_config.max_conns_per_host", reason));
        }
        if self.expect_continue_timeout != usual.expect_continue_timeout {
            let reason = "no request waits for leave to send its body";
            ignored.push(("transport_config.expect_continue_timeout", reason));
        }
        ignored
    }
}

impl TlsConfig {
    fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, HttpConfigError> {
        match (self.cert_file.is_empty(), self.key_file.is_empty()) {
            (false, true) => return Err(err("tls_config.key_file", "must be given with cert_file")),
            (true, false) => return Err(err("tls_config.cert_file", "must be given with key_file")),
            _ => {}
        }
        if *self == TlsConfig::default() {
            return Ok(builder);
        }
        let files = ClientFiles {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            ..ClientFiles::default()
        };
        let config = tls::client_config_for(&files, &self.server_name).map_err(|error| {
            let key = match error.key {
                "ca_file" => "tls_config.ca_file",
                "cert_file" => "tls_config.cert_file",
                "key_file" => "tls_config.key_file",
                _ => "tls_config.server_name",
            };
            err(key, error)
        })?;
        Ok(builder.tls_backend_preconfigured(config))
    }
}

impl SecretSource {
    fn choose(
        key: &'static str,
        text: &Secret,
        file: Option<&PathBuf>,
    ) -> Result<Option<SecretSource>, HttpConfigError> {
        match (text.0.is_empty(), given(file)) {
            (false, Some(_)) => Err(err(key, "given both as text and as a file")),
            (false, None) => Ok(Some(SecretSource::Text(text.clone()))),
            (true, Some(path)) => {
                read(key, path)?;
                Ok(Some(SecretSource::File(path.clone())))
            }
            (true, None) => Ok(None),
        }
    }

    fn read(&self) -> String {
        match self {
            SecretSource::Text(text) => text.0.clone(),
            SecretSource::File(path) => match fs::read_to_string(path) {
                Ok(text) => text.trim().to_string(),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "secret for Prometheus could not be read, sending none");
                    String::new()
                }
            },
        }
    }
}

impl HttpClient {
    /// A request to `url`, with what authenticates it.
    pub fn request(&self, method: reqwest::Method, url: url::Url) -> reqwest::RequestBuilder {
        let request = self.client.request(method, url);
        match &self.auth {
            Auth::None => request,
            Auth::Basic { username, password } => request.basic_auth(username, Some(password.read())),
            Auth::Bearer(token) => request.bearer_auth(token.read()),
        }
    }
}

fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn read(key: &'static str, path: &PathBuf) -> Result<Vec<u8>, HttpConfigError> {
    fs::read(path).map_err(|error| err(key, format!("{}: {error}", path.display())))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "for map_err: errors and texts alike"
)]
fn err(key: &'static str, what: impl ToString) -> HttpConfigError {
    HttpConfigError {
        key,
        what: what.to_string(),
    }
}

/// `None` for zero: no limit.
fn nanoseconds(value: i64) -> Option<Duration> {
    u64::try_from(value)
        .ok()
        .filter(|ns| *ns > 0)
        .map(Duration::from_nanos)
}
