//! The file as it is written, and what becomes of it.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path, time::Duration};

use http::{HeaderName, HeaderValue};
use rustls::pki_types::UnixTime;
use serde::Deserialize;

use super::{Rate, Users, WebConfig};
use crate::{
    tls::{
        client_auth::ClientAuth,
        names::{self, Chosen, Version},
        pem::{Pem, SettingError, Source},
        server::ServerTls,
    },
    yaml::{self, MAX_DOCUMENT_BYTES, null_is_default},
};

/// Headers that may be set, with the values allowed if those are few.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    #[serde(deserialize_with = "null_is_default")]
    tls_server_config: TlsSection,
    #[serde(deserialize_with = "null_is_default")]
    http_server_config: HttpSection,
    #[serde(deserialize_with = "null_is_default")]
    basic_auth_users: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    rate_limit: RateSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsSection {
    #[serde(deserialize_with = "null_is_default")]
    cert: String,
    #[serde(deserialize_with = "null_is_default")]
    key: String,
    #[serde(deserialize_with = "null_is_default")]
    client_ca: String,
    #[serde(deserialize_with = "null_is_default")]
    cert_file: String,
    #[serde(deserialize_with = "null_is_default")]
    key_file: String,
    #[serde(deserialize_with = "null_is_default")]
    client_ca_file: String,
    #[serde(deserialize_with = "null_is_default")]
    client_auth_type: String,
    #[serde(deserialize_with = "null_is_default")]
    client_allowed_sans: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    cipher_suites: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    curve_preferences: Vec<String>,
    min_version: String,
    max_version: String,
    prefer_server_cipher_suites: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpSection {
    http2: bool,
    #[serde(deserialize_with = "null_is_default")]
    headers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateSection {
    /// A duration of Go, or nanoseconds.
    #[serde(deserialize_with = "null_is_default")]
    interval: String,
    burst: u32,
}

impl Default for TlsSection {
    fn default() -> Self {
        Self {
            cert: String::new(),
            key: String::new(),
            client_ca: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
            client_ca_file: String::new(),
            client_auth_type: String::new(),
            client_allowed_sans: Vec::new(),
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            min_version: "TLS12".to_owned(),
            max_version: "TLS13".to_owned(),
            prefer_server_cipher_suites: true,
        }
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            http2: true,
            headers: BTreeMap::new(),
        }
    }
}

/// Reads the file as it is written.
///
/// # Errors
/// It cannot be read, or a key in it is wrong; values are not shown.
pub(super) fn read(path: &Path) -> Result<Document, String> {
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(|error| format!("cannot be read: {error}"))?;
    parse(&text)
}

/// An empty document is a document.
pub(super) fn parse(text: &str) -> Result<Document, String> {
    let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !text.lines().any(is_content) {
        return Ok(Document::default());
    }
    yaml::from_str_strict("web configuration", text).map_err(|error| error.to_string())
}

impl Document {
    /// The TLS that it asks for, without reading files; `None` for plain HTTP. What to log goes to `warnings`.
    pub(super) fn tls(&self, folder: &Path, warnings: &mut Vec<String>) -> Result<Option<ServerTls>, String> {
        if !self.tls_server_config.is_enabled() {
            return Ok(None);
        }
        let has_http2 = self.http_server_config.http2;
        let tls = self.tls_server_config.settings(folder, has_http2, warnings);
        tls.map(Some).map_err(|error| within_tls(&error))
    }

    /// Reads the files of TLS and checks the rest.
    pub(super) fn ready(self, tls: Option<&ServerTls>, now: UnixTime) -> Result<WebConfig, String> {
        let ready = |settings: &ServerTls| settings.ready(now).map_err(|error| within_tls(&error));
        Ok(WebConfig {
            tls: tls.map(ready).transpose()?,
            headers: headers(&self.http_server_config.headers)?,
            users: Users::new(self.basic_auth_users)?,
            rate: self.rate_limit.rate()?,
        })
    }
}

fn within_tls(error: &SettingError) -> String {
    format!("tls_server_config.{error}")
}

impl TlsSection {
    /// TLS is wanted if a part of it is there, so that a forgotten part is an error and not plain HTTP.
    fn is_enabled(&self) -> bool {
        let parts = [
            &self.cert,
            &self.key,
            &self.client_ca,
            &self.cert_file,
            &self.key_file,
            &self.client_ca_file,
            &self.client_auth_type,
        ];
        !self.client_allowed_sans.is_empty() || parts.iter().any(|part| !part.is_empty())
    }

    fn settings(
        &self,
        folder: &Path,
        has_http2: bool,
        warnings: &mut Vec<String>,
    ) -> Result<ServerTls, SettingError> {
        let cert = source(folder, ("cert_file", &self.cert_file), ("cert", &self.cert));
        let key = source(folder, ("key_file", &self.key_file), ("key", &self.key));
        let missing =
            |setting| SettingError::new(setting, "it is missing, and TLS needs certificate and key");
        let client_auth = self.client_auth()?;
        let (min_version, max_version) = self.versions(warnings)?;
        let settings = ServerTls {
            cert: cert.ok_or_else(|| missing("cert_file"))?,
            key: key.ok_or_else(|| missing("key_file"))?,
            client_auth,
            client_ca: self.client_ca(folder, client_auth)?,
            client_names: self.client_names(client_auth)?,
            version_setting: "max_version",
            min_version,
            max_version,
            suites: chosen("cipher_suites", &self.cipher_suites, names::suites, warnings)?,
            curves: chosen(
                "curve_preferences",
                &self.curve_preferences,
                names::curves,
                warnings,
            )?,
            prefers_own_order: self.prefer_server_cipher_suites,
            protocols: if has_http2 {
                &["h2", "http/1.1"]
            } else {
                &["http/1.1"]
            },
        };
        if settings.curves.as_ref().is_some_and(Vec::is_empty) {
            let problem = "none of these curves is spoken; take X25519, CurveP256 or CurveP384";
            return Err(SettingError::new("curve_preferences", problem));
        }
        Ok(settings)
    }

    fn client_auth(&self) -> Result<ClientAuth, SettingError> {
        ClientAuth::from_name(&self.client_auth_type).ok_or_else(|| {
            let problem = "this is none of NoClientCert, RequestClientCert, RequireAnyClientCert, \
                           VerifyClientCertIfGiven, RequireAndVerifyClientCert";
            SettingError::new("client_auth_type", problem)
        })
    }

    fn client_ca(&self, folder: &Path, client_auth: ClientAuth) -> Result<Option<Source>, SettingError> {
        let found = source(
            folder,
            ("client_ca_file", &self.client_ca_file),
            ("client_ca", &self.client_ca),
        );
        match (found, client_auth) {
            (Some(found), ClientAuth::None) => {
                let problem = "clients are not asked for certificates; set client_auth_type to \
                               RequireAndVerifyClientCert";
                Err(SettingError::new(found.setting, problem))
            }
            (None, auth) if auth.verifies() => {
                let problem = "it is missing, and client_auth_type wants certificates of clients verified";
                Err(SettingError::new("client_ca_file", problem))
            }
            (found, _) => Ok(found),
        }
    }

    /// Go compares names of hosts, addresses, URIs and e-mail; the last are not to be had of the library.
    fn client_names(&self, client_auth: ClientAuth) -> Result<Vec<String>, SettingError> {
        if !self.client_allowed_sans.is_empty() && client_auth != ClientAuth::RequireAndVerify {
            // Anything less lets in a client without a certificate, or with one that it signed itself.
            let problem =
                "names of clients say nothing unless client_auth_type is RequireAndVerifyClientCert";
            return Err(SettingError::new("client_allowed_sans", problem));
        }
        let is_email = |name: &&String| name.contains('@') && !name.contains("://");
        match self.client_allowed_sans.iter().find(is_email) {
            Some(name) => {
                let problem = format!(
                    "{name:?} is an e-mail address, which is not compared; name clients by host, IP address or URI"
                );
                Err(SettingError::new("client_allowed_sans", problem))
            }
            None => Ok(self.client_allowed_sans.clone()),
        }
    }

    fn versions(&self, warnings: &mut Vec<String>) -> Result<(Version, Version), SettingError> {
        let version = |setting, name: &str| {
            let found = Version::from_name(name).filter(|_| name.starts_with("TLS1"));
            found.ok_or_else(|| SettingError::new(setting, "this is none of TLS10, TLS11, TLS12, TLS13"))
        };
        let min = version("min_version", &self.min_version)?;
        let max = version("max_version", &self.max_version)?;
        if max < Version::Tls12 {
            let problem = "versions of TLS older than 1.2 are not spoken; set TLS12 or TLS13";
            return Err(SettingError::new("max_version", problem));
        }
        if min > max {
            return Err(SettingError::new("max_version", "it is lower than min_version"));
        }
        if min < Version::Tls12 {
            warnings.push("tls_server_config.min_version: nothing older than TLS12 is spoken".to_owned());
        }
        Ok((min, max))
    }
}

/// The file if it is named, else the text.
fn source(
    folder: &Path,
    (file_setting, file): (&'static str, &str),
    (text_setting, text): (&'static str, &str),
) -> Option<Source> {
    match (file, text) {
        ("", "") => None,
        ("", text) => Some(Source {
            setting: text_setting,
            pem: Pem::Inline(text.to_owned()),
        }),
        (file, _) => Some(Source::file(file_setting, folder.join(file))),
    }
}

type Choose<T> = fn(&'static str, &[String]) -> Result<Chosen<T>, SettingError>;

/// What a list leaves; `None` without a list.
fn chosen<T>(
    setting: &'static str,
    names: &[String],
    choose: Choose<T>,
    warnings: &mut Vec<String>,
) -> Result<Option<Vec<T>>, SettingError> {
    if names.is_empty() {
        return Ok(None);
    }
    let chosen = choose(setting, names)?;
    if !chosen.left_out.is_empty() {
        let names = chosen.left_out.join(", ");
        warnings.push(format!(
            "tls_server_config.{setting}: not spoken and left out: {names}"
        ));
    }
    Ok(Some(chosen.spoken))
}

fn headers(wanted: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, value) in wanted {
        let at = format!("http_server_config.headers.{name}");
        let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let known = HEADERS.map(|(known, _)| known).join(", ");
            return Err(format!("{at}: this header cannot be set; there are {known}"));
        };
        if value.is_empty() {
            continue;
        }
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            return Err(format!("{at}: one of {} is wanted", allowed.join(", ")));
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("{at}: {error}"))?;
        let value = HeaderValue::from_str(value).map_err(|error| format!("{at}: {error}"))?;
        headers.push((name, value));
    }
    Ok(headers)
}

impl RateSection {
    fn rate(&self) -> Result<Option<Rate>, String> {
        let at = "rate_limit.interval";
        let interval = match self.interval.parse::<u64>() {
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
            Err(_) if self.interval.is_empty() => Duration::ZERO,
            Err(_) => {
                let parsed = sabre_model::duration::parse_go(&self.interval);
                let parsed = parsed.map_err(|error| format!("{at}: {error}"))?;
                if parsed.as_ns() < 0 {
                    return Err(format!("{at}: a duration below zero makes no sense"));
                }
                parsed.to_std()
            }
        };
        if interval.is_zero() {
            return Ok(None);
        }
        if self.burst == 0 {
            return Err(
                "rate_limit.burst: with 0 no request would ever be answered; set 1 or more".to_owned(),
            );
        }
        Ok(Some(Rate {
            interval,
            burst: self.burst,
        }))
    }
}
