//! Whether the server that a client has reached is the one it wants.
//!
//! Two things are as in Go, so in Thanos, and not as in the rules of the web's authorities, by which certificates are
//! verified here: a server may show the very certificate that is trusted although that is one of an authority
//! (`openssl req -x509` makes such), and its certificate may be asked to be for another name than the one it is called by.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::signatures::Signatures;

/// Whom a client trusts.
#[derive(Debug)]
pub(super) enum Trust {
    /// Anybody, because the settings say so.
    Anybody,
    /// Nobody, for want of authorities.
    Nobody,
    /// Servers that an authority of the system vouches for.
    System(Arc<WebPkiServerVerifier>),
    /// Servers that one of these certificates vouches for, and those that show one of them.
    Certificates(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>),
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) trust: Trust,
    /// What certificates must be for, whatever a server is called by.
    pub(super) name: Option<ServerName<'static>>,
    pub(super) signatures: Signatures,
}

impl Trust {
    /// In these certificates.
    ///
    /// # Errors
    /// A certificate that cannot be understood; there is none.
    pub(super) fn in_certificates(
        trusted: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &trusted {
            roots
                .add(certificate.clone())
                .map_err(|error| error.to_string())?;
        }
        if roots.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        Ok(Self::Certificates(verifier, trusted))
    }

    /// In the authorities of the system; nobody if there are none.
    pub(super) fn in_the_system(provider: &Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        let (_, ignored) = roots.add_parsable_certificates(system.certs);
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        match builder.build() {
            Ok(verifier) => Self::System(verifier),
            Err(_none) => {
                tracing::warn!(
                    errors = ?system.errors,
                    ignored,
                    "the system has no certificate authorities: install ca-certificates or set ca_file"
                );
                Self::Nobody
            }
        }
    }
}

/// Whether all that stands against a server is that it is an authority. The times of its certificate were looked at before.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        called_by: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(called_by);
        let vouched = |by: &WebPkiServerVerifier| {
            by.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        match &self.trust {
            Trust::Anybody => Ok(ServerCertVerified::assertion()),
            Trust::Nobody => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            Trust::System(verifier) => vouched(verifier),
            Trust::Certificates(verifier, trusted) => match vouched(verifier) {
                Err(error) if is_authority(&error) && trusted.contains(end_entity) => {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                    Ok(ServerCertVerified::assertion())
                }
                verified => verified,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::{crypto::aws_lc_rs, pki_types::pem::PemObject as _};

    use super::{super::test_files::certificate, *};

    const IN_2027: u64 = 1_800_000_000;
    const IN_2126: u64 = 4_923_000_000;

    fn read(name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(certificate(name)).unwrap()
    }

    fn name(name: &str) -> ServerName<'static> {
        ServerName::try_from(name.to_owned()).unwrap()
    }

    fn trusting(trusted: &str) -> ServerVerifier {
        let provider = Arc::new(aws_lc_rs::default_provider());
        ServerVerifier {
            trust: Trust::in_certificates(vec![read(trusted)], &provider).unwrap(),
            name: None,
            signatures: Signatures(provider),
        }
    }

    /// Whether `verifier` takes `shown` of a server that is called by a name at a time in seconds.
    fn verified(verifier: &ServerVerifier, shown: &str, called_by: &str, seconds: u64) -> Result<(), Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verified = verifier.verify_server_cert(&read(shown), &[], &name(called_by), &[], now);
        verified.map(|_| ())
    }

    #[test]
    fn an_authority_that_is_trusted_itself_may_be_the_server() {
        let (itself, ca) = (trusting("itself.pem"), trusting("ca.pem"));
        for called_by in ["itself.test", "127.0.0.1"] {
            assert_eq!(verified(&itself, "itself.pem", called_by, IN_2027), Ok(()));
        }
        let other_name = verified(&itself, "itself.pem", "store.test", IN_2027).unwrap_err();
        assert!(
            matches!(
                other_name,
                Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
            ),
            "{other_name:?}"
        );
        let not_trusted = verified(&ca, "itself.pem", "itself.test", IN_2027).unwrap_err();
        assert!(is_authority(&not_trusted), "{not_trusted:?}");
        let ended = verified(&itself, "itself.pem", "itself.test", IN_2126).unwrap_err();
        assert!(
            matches!(
                ended,
                Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
            ),
            "{ended:?}"
        );
        // All else is as ever.
        assert_eq!(verified(&ca, "server.pem", "store.test", IN_2027), Ok(()));
        assert!(verified(&itself, "server.pem", "store.test", IN_2027).is_err());
    }

    #[test]
    fn a_certificate_is_looked_at_for_the_name_that_is_given() {
        let as_called = trusting("ca.pem");
        let is_taken = |verifier: &ServerVerifier, called_by| {
            verified(verifier, "server.pem", called_by, IN_2027).is_ok()
        };
        assert!(is_taken(&as_called, "store.test") && !is_taken(&as_called, "elsewhere.test"));
        let named = |given| ServerVerifier {
            name: Some(name(given)),
            ..trusting("ca.pem")
        };
        assert!(is_taken(&named("store.test"), "elsewhere.test"));
        assert!(!is_taken(&named("elsewhere.test"), "store.test"));
        // Of an authority that shows itself, too.
        let itself = ServerVerifier {
            name: Some(name("itself.test")),
            ..trusting("itself.pem")
        };
        assert_eq!(verified(&itself, "itself.pem", "store.test", IN_2027), Ok(()));
    }

    #[test]
    fn without_authorities_nobody_is_trusted() {
        let nobody = ServerVerifier {
            trust: Trust::Nobody,
            ..trusting("ca.pem")
        };
        assert!(verified(&nobody, "server.pem", "store.test", IN_2027).is_err());
    }
}
