//! The TLS of the S3 client, as `http_config.tls_config` wants it.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
pub use sabre_runtime::tls::accept_any_certificate;

use super::settings::{Problem, S3Settings, TlsSettings};

/// Reads all files that the settings name.
pub(super) fn client_config(settings: &S3Settings) -> Result<ClientConfig, Problem> {
    let http = &settings.http_config;
    let tls = &http.tls_config;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| ("tls_config", format!("no TLS: {e}")))?;
    let builder = if http.insecure_skip_verify || tls.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(accept_any_certificate())
    } else {
        builder.with_root_certificates(roots(settings)?)
    };
    match client_certificate(tls)? {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| ("tls_config.cert_file", format!("it does not fit `key_file`: {e}"))),
    }
}

/// The authorities of `ca_file`, which as in Go replace those of the system.
fn roots(settings: &S3Settings) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    if settings.insecure {
        return Ok(roots);
    }
    let path = &settings.http_config.tls_config.ca_file;
    if !path.is_empty() {
        let problem = |e: &dyn std::fmt::Display| ("tls_config.ca_file", format!("cannot read {path}: {e}"));
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| problem(&e))? {
            roots
                .add(certificate.map_err(|e| problem(&e))?)
                .map_err(|e| problem(&e))?;
        }
        if roots.is_empty() {
            return Err(problem(&"there is no certificate in it"));
        }
        return Ok(roots);
    }
    let system = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        tracing::warn!(
            errors = ?system.errors,
            ignored,
            "the system has no certificate authorities: install ca-certificates or set tls_config.ca_file"
        );
    }
    Ok(roots)
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(tls: &TlsSettings) -> Result<Option<ClientCertificate>, Problem> {
    if tls.cert_file.is_empty() {
        return Ok(None);
    }
    let problem =
        |key, path: &str, e: rustls::pki_types::pem::Error| (key, format!("cannot read {path}: {e}"));
    let chain = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| problem("tls_config.cert_file", &tls.cert_file, e))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|e| problem("tls_config.key_file", &tls.key_file, e))?;
    Ok(Some((chain, key)))
}
