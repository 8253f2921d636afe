//! `--prometheus.http-client`: how to reach Prometheus' HTTP API.

use std::{fs, path::PathBuf, time::Duration};

use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy};
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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TlsConfig {
    ca_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: String,
    insecure_skip_verify: bool,
}

/// Plain integers in nanoseconds, as Thanos reads them.
#[derive(Clone, Debug, Deserialize)]
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
        let transport = &self.transport_config;
        let mut builder = Client::builder()
            .user_agent(concat!("sabre-sidecar/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .connect_timeout(nanoseconds(transport.dialer_timeout).unwrap_or(Duration::from_secs(5)))
            .pool_max_idle_per_host(
                usize::try_from(transport.max_idle_conns_per_host)
                    .unwrap_or(2)
                    .max(1),
            )
            .pool_idle_timeout(nanoseconds(transport.idle_conn_timeout));
        if let Some(Secret(url)) = self.proxy_url.as_ref().filter(|url| !url.0.is_empty()) {
            builder = builder.proxy(Proxy::all(url.as_str()).map_err(|error| err("proxy_url", error))?);
        }
        let client = self
            .tls_config
            .apply(builder)?
            .build()
            .map_err(|error| err("tls_config", error))?;
        Ok(HttpClient {
            client,
            auth: self.auth()?,
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

impl TlsConfig {
    fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, HttpConfigError> {
        if !self.server_name.is_empty() {
            return Err(err(
                "tls_config.server_name",
                "not supported; put a host name the certificate has into --prometheus.url",
            ));
        }
        if self.insecure_skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(path) = given(self.ca_file.as_ref()) {
            let pem = read("tls_config.ca_file", path)?;
            for certificate in
                Certificate::from_pem_bundle(&pem).map_err(|error| err("tls_config.ca_file", error))?
            {
                builder = builder.tls_certs_merge([certificate]);
            }
        }
        match (given(self.cert_file.as_ref()), given(self.key_file.as_ref())) {
            (None, None) => Ok(builder),
            (Some(cert), Some(key)) => {
                let mut pem = read("tls_config.cert_file", cert)?;
                pem.push(b'\n');
                pem.extend(read("tls_config.key_file", key)?);
                let identity =
                    Identity::from_pem(&pem).map_err(|error| err("tls_config.cert_file", error))?;
                Ok(builder.identity(identity))
            }
            (Some(_), None) => Err(err("tls_config.key_file", "must be given with cert_file")),
            (None, Some(_)) => Err(err("tls_config.cert_file", "must be given with key_file")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> HttpClientConfig {
        sabre_runtime::yaml::from_str_strict("--prometheus.http-client", text).unwrap()
    }

    #[test]
    fn what_prometheus_operator_passes_is_accepted() {
        parse(r#"{"tls_config": {"insecure_skip_verify":true}}"#)
            .build()
            .unwrap();
        parse("tls_config:\n  insecure_skip_verify: true\n")
            .build()
            .unwrap();
        parse("transport_config: {max_idle_conns: 3, dialer_timeout: 1000000000}")
            .build()
            .unwrap();
    }

    #[test]
    fn bad_documents_name_the_key() {
        let text = |yaml: &str| parse(yaml).build().unwrap_err().to_string();
        assert!(text("tls_config: {cert_file: a.pem}").contains("tls_config.key_file"));
        assert!(text("bearer_token: x\nbasic_auth: {username: u}").contains("basic_auth"));
        assert!(text("bearer_token_file: does-not-exist").contains("does-not-exist"));
        let unknown = sabre_runtime::yaml::from_str_strict::<HttpClientConfig>("flag", "tls: {}");
        assert!(unknown.is_err_and(|error| error.to_string().contains("tls")));
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = parse("basic_auth: {username: u, password: canary}");
        assert!(!format!("{config:?}{:?}", config.build().unwrap()).contains("canary"));
    }
}
