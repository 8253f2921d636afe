//! The document of `--endpoint.sd-config`.

use sabre_runtime::{
    tls::ClientFiles,
    yaml::{self, YamlError, null_is_default},
};
use serde::Deserialize;

use super::Wanted;
use crate::endpoints::{ClientOptions, EndpointKind};

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not what it should be.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// An endpoint that makes no sense.
    #[error("{what}: endpoint {number} ({address}): {problem}")]
    Endpoint {
        /// The document.
        what: String,
        /// Which one, from 1.
        number: usize,
        /// Its address.
        address: String,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    #[serde(deserialize_with = "null_is_default")]
    default_client_config: Client,
    #[serde(deserialize_with = "null_is_default")]
    endpoints: Vec<Entry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    address: String,
    strict: bool,
    group: bool,
    #[serde(deserialize_with = "null_is_default")]
    service_config: String,
    #[serde(deserialize_with = "null_is_default")]
    client_config: Client,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Client {
    #[serde(deserialize_with = "null_is_default")]
    tls_config: Tls,
    #[serde(deserialize_with = "null_is_default")]
    server_name: String,
    #[serde(deserialize_with = "null_is_default")]
    compression: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tls {
    enabled: Option<bool>,
    insecure_skip_verify: Option<bool>,
    cert_file: Option<String>,
    key_file: Option<String>,
    ca_file: Option<String>,
    min_version: Option<String>,
}

/// Reads a document. Endpoints that are looked up by name are spoken to as `global` says, and so is everybody if the
/// document says nothing.
///
/// # Errors
/// The document cannot be read, or an endpoint makes no sense.
pub fn parse(what: &str, text: &str, global: &ClientOptions) -> Result<Vec<Wanted>, DocumentError> {
    let document: Document = yaml::from_str_strict(what, text)?;
    let mut all = Vec::new();
    for (index, entry) in document.endpoints.iter().enumerate() {
        let wanted = wanted(entry, &document.default_client_config, global);
        all.push(wanted.map_err(|problem| DocumentError::Endpoint {
            what: what.to_owned(),
            number: index + 1,
            address: entry.address.clone(),
            problem,
        })?);
    }
    Ok(all)
}

fn wanted(entry: &Entry, default: &Client, global: &ClientOptions) -> Result<Wanted, String> {
    if !entry.service_config.is_empty() {
        if !entry.group {
            return Err("service_config is for groups only".to_owned());
        }
        tracing::info!(
            address = entry.address,
            "service_config is accepted and ignored: the servers of a group take turns"
        );
    }
    let kind = EndpointKind {
        strict: entry.strict,
        group: entry.group,
    };
    let looked_up = !entry.group && sabre_runtime::discovery::is_looked_up(&entry.address);
    let client = match looked_up {
        true => global.clone(),
        false => client(&entry.client_config, default, global)?,
    };
    Wanted::new(&entry.address, kind, client)
}

fn client(own: &Client, default: &Client, global: &ClientOptions) -> Result<ClientOptions, String> {
    for compression in [&own.compression, &default.compression] {
        match compression.as_str() {
            "" | "none" => {}
            "snappy" => tracing::info!("compression is accepted and ignored: requests are sent as they are"),
            _ => return Err("compression is none or snappy".to_owned()),
        }
    }
    let said_nothing = own.tls_config.is_empty() && default.tls_config.is_empty();
    let names = [&own.server_name, &default.server_name, &global.server_name];
    let server_name = names.into_iter().find(|name| !name.is_empty()).cloned();
    let tls = match said_nothing {
        true => global.tls.clone(),
        false => own.tls_config.over(&default.tls_config)?,
    };
    Ok(ClientOptions {
        tls,
        server_name: server_name.unwrap_or_default(),
    })
}

impl Tls {
    fn is_empty(&self) -> bool {
        let texts = [&self.cert_file, &self.key_file, &self.ca_file, &self.min_version];
        self.enabled.is_none()
            && self.insecure_skip_verify.is_none()
            && texts.into_iter().all(Option::is_none)
    }

    /// Laid over the default, unless it says itself whether there is TLS.
    fn over(&self, default: &Tls) -> Result<Option<ClientFiles>, String> {
        let alone = Tls::default();
        let below = if self.enabled.is_some() { &alone } else { default };
        let text = |own: &Option<String>, below: &Option<String>| {
            own.clone().or_else(|| below.clone()).unwrap_or_default()
        };
        let files = ClientFiles {
            ca_file: text(&self.ca_file, &below.ca_file),
            cert_file: text(&self.cert_file, &below.cert_file),
            key_file: text(&self.key_file, &below.key_file),
            insecure_skip_verify: self
                .insecure_skip_verify
                .or(below.insecure_skip_verify)
                .unwrap_or_default(),
            min_version: text(&self.min_version, &below.min_version),
        };
        check(&files)?;
        let says_something = files.insecure_skip_verify
            || [&files.ca_file, &files.cert_file, &files.key_file]
                .into_iter()
                .any(|file| !file.is_empty());
        let enabled = self.enabled.or(below.enabled).unwrap_or(says_something);
        Ok(enabled.then_some(files))
    }
}

/// Checks what can be checked without reading files.
pub(crate) fn check(files: &ClientFiles) -> Result<(), String> {
    if files.cert_file.is_empty() != files.key_file.is_empty() {
        return Err("a certificate needs its key, and a key its certificate".to_owned());
    }
    if !["", "1.0", "1.1", "1.2", "1.3"].contains(&files.min_version.as_str()) {
        return Err("the lowest version of TLS is 1.0, 1.1, 1.2 or 1.3".to_owned());
    }
    Ok(())
}
