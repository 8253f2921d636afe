//! TLS to a cache server.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::TlsFiles;

/// Reads the files; an error names the file.
pub(crate) fn client_config(files: &TlsFiles) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match files.min_version.as_str() {
        "1.3" => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| format!("no TLS: {error}"))?;
    let builder = if files.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(sabre_objstore::accept_any_certificate())
    } else {
        builder.with_root_certificates(roots(&files.ca_file)?)
    };
    if files.cert_file.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let cannot_read =
        |path: &str, error: rustls::pki_types::pem::Error| format!("cannot read {path}: {error}");
    let chain = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| cannot_read(&files.cert_file, error))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key_file).map_err(|error| cannot_read(&files.key_file, error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("cert_file does not fit key_file: {error}"))
}

fn roots(ca_file: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if ca_file.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    }
    let fail = |error: &dyn std::fmt::Display| format!("cannot read {ca_file}: {error}");
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| fail(&error))? {
        let certificate = certificate.map_err(|error| fail(&error))?;
        roots.add(certificate).map_err(|error| fail(&error))?;
    }
    if roots.is_empty() {
        return Err(fail(&"there is no certificate in it"));
    }
    Ok(roots)
}
