//! The TLS of the S3 client, as `http_config.tls_config` wants it.

use rustls::ClientConfig;
use sabre_runtime::tls::{self, ClientFiles};

use super::settings::{Problem, S3Settings};

/// Reads all files that the settings name. Without TLS, authorities are not looked for.
pub(super) fn client_config(settings: &S3Settings) -> Result<ClientConfig, Problem> {
    let http = &settings.http_config;
    let files = &http.tls_config;
    let verifies_nobody = settings.insecure || http.insecure_skip_verify || files.insecure_skip_verify;
    let files = ClientFiles {
        ca_file: files.ca_file.clone(),
        cert_file: files.cert_file.clone(),
        key_file: files.key_file.clone(),
        insecure_skip_verify: verifies_nobody,
        ..ClientFiles::default()
    };
    tls::client_config(&files).map_err(|error| {
        let key = match error.key {
            "cert_file" => "tls_config.cert_file",
            "key_file" => "tls_config.key_file",
            _ => "tls_config.ca_file",
        };
        (key, error.to_string())
    })
}
