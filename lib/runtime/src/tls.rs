//! TLS: that of our own clients here, that of our own servers in the modules below.

pub(crate) mod client_auth;
mod itself;
pub(crate) mod names;
pub(crate) mod pem;
pub(crate) mod server;
mod signatures;
mod subject;
#[cfg(test)]
pub(crate) mod test_files;

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
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

/// Accepts any certificate, because the settings say so.
#[derive(Debug)]
struct AcceptAll(Signatures);

/// A verifier that accepts any certificate: for settings that say so, and for nothing else.
pub fn accept_any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(AcceptAll(Signatures(Arc::new(aws_lc_rs::default_provider()))))
}

/// Reads the files.
///
/// # Errors
/// A file that cannot be read, by name, or a certificate that is not that of the key.
pub fn client_config(files: &ClientFiles) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match files.min_version.as_str() {
        "1.3" => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("no TLS: {error}"))?;
    let builder = if files.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(accept_any_certificate())
    } else if files.ca_file.is_empty() {
        builder.with_root_certificates(roots_of_the_system())
    } else {
        let verifier = trust(&files.ca_file, &provider)
            .map_err(|error| format!("cannot read {}: {error}", files.ca_file))?;
        builder.dangerous().with_custom_certificate_verifier(verifier)
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

fn roots_of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn trust(ca_file: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let trusted = CertificateDer::pem_file_iter(ca_file).and_then(Iterator::collect);
    itself::verifier(trusted.map_err(|error| error.to_string())?, provider)
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
