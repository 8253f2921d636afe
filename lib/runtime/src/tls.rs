//! TLS: that of our own clients here, that of our own servers in the modules below.

pub(crate) mod client_auth;
pub(crate) mod names;
pub(crate) mod pem;
pub(crate) mod server;
mod server_verifier;
mod signatures;
mod subject;
#[cfg(test)]
pub(crate) mod test_files;

use std::sync::Arc;

use rustls::{
    ClientConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use server_verifier::{ServerVerifier, Trust};
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
    let verifier = ServerVerifier {
        trust: trust(files, &provider)?,
        name: server_name(name)?,
        signatures: Signatures(provider),
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
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

/// Whom the files say to trust. As in Go the authorities of a file replace those of the system.
fn trust(files: &ClientFiles, provider: &Arc<CryptoProvider>) -> Result<Trust, ClientFilesError> {
    if files.insecure_skip_verify {
        return Ok(Trust::Anybody);
    }
    if files.ca_file.is_empty() {
        return Ok(Trust::in_the_system(provider));
    }
    let certificates = CertificateDer::pem_file_iter(&files.ca_file).and_then(Iterator::collect);
    certificates
        .map_err(|error| error.to_string())
        .and_then(|certificates| Trust::in_certificates(certificates, provider))
        .map_err(|error| unreadable("ca_file", &files.ca_file, &error))
}

/// What certificates must be for, if it is given.
fn server_name(name: &str) -> Result<Option<ServerName<'static>>, ClientFilesError> {
    if name.is_empty() {
        return Ok(None);
    }
    let parsed = ServerName::try_from(name.to_owned());
    parsed
        .map(Some)
        .map_err(|error| unusable("server_name", format!("no name of a server: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_can_be_called_is_refused_under_its_key() {
        let error = client_config_for(&ClientFiles::default(), "a b").unwrap_err();
        assert_eq!(error.key, "server_name");
    }
}
