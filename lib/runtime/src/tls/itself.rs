//! Servers that show the very certificate that is trusted, and that is one of an authority.
//!
//! `openssl req -x509` makes such certificates, and Go, so Thanos, takes them. The rules of the web's authorities, by which
//! certificates are verified here, have no server be an authority.

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

/// Verifies as ever, and takes an authority as a server if it is trusted itself.
#[derive(Debug)]
struct TrustedItself {
    inner: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

/// Trusts no server, for want of authorities.
#[derive(Debug)]
struct Nobody(Signatures);

/// A verifier of servers that trusts these certificates, and servers that show one of them.
///
/// # Errors
/// A certificate that cannot be understood; there is none.
pub(super) fn verifier(
    trusted: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        roots
            .add(certificate.clone())
            .map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let inner = inner.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(TrustedItself { inner, trusted }))
}

/// A verifier of servers that trusts the authorities of the system; nobody if there are none.
pub(super) fn of_the_system(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    let (_, ignored) = roots.add_parsable_certificates(system.certs);
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    match builder.build() {
        Ok(verifier) => verifier,
        Err(_none) => {
            tracing::warn!(
                errors = ?system.errors,
                ignored,
                "the system has no certificate authorities: install ca-certificates or set ca_file"
            );
            Arc::new(Nobody(Signatures(Arc::clone(provider))))
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

impl ServerCertVerifier for TrustedItself {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(error) if is_authority(&error) && self.trusted.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Nobody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::{crypto::aws_lc_rs, pki_types::pem::PemObject as _};

    use super::{super::test_files::certificate, *};

    fn read(name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(certificate(name)).unwrap()
    }

    /// Whether who trusts `trusted` takes `shown` for `name` at a time in seconds.
    fn verified(trusted: &str, shown: &str, name: &str, seconds: u64) -> Result<(), Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(vec![read(trusted)], &provider).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verified = verifier.verify_server_cert(&read(shown), &[], &name, &[], now);
        verified.map(|_| ())
    }

    #[test]
    fn an_authority_that_is_trusted_itself_may_be_the_server() {
        const IN_2027: u64 = 1_800_000_000;
        const IN_2126: u64 = 4_923_000_000;
        for name in ["itself.test", "127.0.0.1"] {
            assert_eq!(verified("itself.pem", "itself.pem", name, IN_2027), Ok(()));
        }
        let other_name = verified("itself.pem", "itself.pem", "store.test", IN_2027).unwrap_err();
        assert!(
            matches!(
                other_name,
                Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
            ),
            "{other_name:?}"
        );
        let not_trusted = verified("ca.pem", "itself.pem", "itself.test", IN_2027).unwrap_err();
        assert!(is_authority(&not_trusted), "{not_trusted:?}");
        let ended = verified("itself.pem", "itself.pem", "itself.test", IN_2126).unwrap_err();
        assert!(
            matches!(
                ended,
                Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
            ),
            "{ended:?}"
        );
        // All else is as ever.
        assert_eq!(verified("ca.pem", "server.pem", "store.test", IN_2027), Ok(()));
        assert!(verified("itself.pem", "server.pem", "store.test", IN_2027).is_err());
    }
}
