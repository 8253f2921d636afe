//! Certificates.

use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Identity};

use super::{AccessError, TlsSettings, endpoint::Endpoint};

/// Reads all files that the settings name.
pub(super) fn apply(
    builder: ClientBuilder,
    endpoint: &Endpoint,
    settings: &TlsSettings,
) -> Result<ClientBuilder, AccessError> {
    let mut builder = builder.tls_danger_accept_invalid_certs(settings.insecure_skip_verify);
    if let Some(path) = &settings.ca_file {
        let pem = read("access.tls.ca_file", path)?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| {
            AccessError::new("access.tls.ca_file", format!("{}: {error}", path.display()))
        })?;
        if authorities.is_empty() {
            return Err(AccessError::new(
                "access.tls.ca_file",
                format!("{} has no certificate", path.display()),
            ));
        }
        builder = builder.tls_certs_only(authorities);
    } else if !endpoint.is_tls() {
        // A system without authorities is good enough for a connection that needs none.
        builder = builder.tls_certs_only([]);
    }
    match (&settings.cert_file, &settings.key_file) {
        (None, None) => Ok(builder),
        (Some(certificate), Some(key)) => {
            let mut pem = read("access.tls.cert_file", certificate)?;
            pem.push(b'\n');
            pem.extend(read("access.tls.key_file", key)?);
            // The error may quote what it does not understand, which may be the key.
            let identity = Identity::from_pem(&pem).map_err(|_| {
                AccessError::new(
                    "access.tls.cert_file",
                    format!(
                        "no certificate and key in PEM in {} and {}",
                        certificate.display(),
                        key.display()
                    ),
                )
            })?;
            Ok(builder.identity(identity))
        }
        (Some(_), None) => Err(AccessError::new(
            "access.tls.key_file",
            "is missing beside cert_file",
        )),
        (None, Some(_)) => Err(AccessError::new(
            "access.tls.cert_file",
            "is missing beside key_file",
        )),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, AccessError> {
    std::fs::read(path)
        .map_err(|error| AccessError::new(key, format!("cannot read {}: {error}", path.display())))
}
