//! TLS: that of our own clients here, that of our own servers in the modules below.

pub(crate) mod client_auth;
mod itself;
mod named;
pub(crate) mod names;
pub(crate) mod pem;
pub(crate) mod server;
mod signatures;
mod subject;
#[cfg(test)]
pub(crate) mod test_files;

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use signatures::Signatures;
pub use subject::Subject;

/// What a client trusts and shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientFiles {
    /// Authorities; those of the system if empty.
    pub ca_file: String,
    /// Certificate of the client.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// The lowest version; with `1.3` none other is spoken, older ones than 1.2 never are.
    pub min_version: String,
}

/// A file of a client that is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ClientFilesError {
    /// The key or the end of the flag that names the file: `ca_file`, `cert_file`, `key_file`, or `server_name`.
    pub key: &'static str,
    what: String,
}

/// Accepts any certificate, because the settings say so.
#[derive(Debug)]
struct AcceptAll(Signatures);

fn accept_any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(AcceptAll(Signatures(Arc::new(aws_lc_rs::default_provider()))))
}

/// Reads the files.
///
/// # Errors
/// A file that cannot be read, by name, or a certificate that is not that of the key.
pub fn client_config(files: &ClientFiles) -> Result<ClientConfig, ClientFilesError> {
    client_config_for(files, "")
}

/// Reads the files. Certificates must be those of the server `name`, whatever name or address it is called by; with an empty
/// one, of what it is called by. What a client says it calls, for servers with several certificates, stays the latter.
///
/// # Errors
/// A file that cannot be read, by name, or a certificate that is not that of the key.
pub fn client_config_for(files: &ClientFiles, name: &str) -> Result<ClientConfig, ClientFilesError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match files.min_version.as_str() {
        "1.3" => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| unusable("ca_file", format!("no TLS: {error}")))?;
    let verifier = match files.insecure_skip_verify {
        true => accept_any_certificate(),
        false => named::verifier(trusted(&files.ca_file, &provider)?, name)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    if files.cert_file.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = CertificateDer::pem_file_iter(&files.cert_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("cert_file", &files.cert_file, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| unreadable("key_file", &files.key_file, &error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable("cert_file", format!("cert_file does not fit key_file: {error}")))
}

fn unusable(key: &'static str, what: String) -> ClientFilesError {
    ClientFilesError { key, what }
}

fn unreadable(key: &'static str, path: &str, error: &dyn std::fmt::Display) -> ClientFilesError {
    unusable(key, format!("cannot read {path}: {error}"))
}

/// The authorities of the file, which as in Go replace those of the system.
fn trusted(
    ca_file: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ClientFilesError> {
    if ca_file.is_empty() {
        return Ok(itself::of_the_system(provider));
    }
    let certificates = CertificateDer::pem_file_iter(ca_file).and_then(Iterator::collect);
    certificates
        .map_err(|error| error.to_string())
        .and_then(|certificates| itself::verifier(certificates, provider))
        .map_err(|error| unreadable("ca_file", ca_file, &error))
}

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}
