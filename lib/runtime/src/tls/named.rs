//! Servers whose certificate is for another name than the one they are called by.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{ClientFilesError, unusable};

/// Verifies as ever, but for one name.
#[derive(Debug)]
struct Named {
    inner: Arc<dyn ServerCertVerifier>,
    name: ServerName<'static>,
}

/// The verifier, for certificates of the server `name`; for what servers are called by if it is empty.
///
/// # Errors
/// A name that no server can have.
pub(super) fn verifier(
    inner: Arc<dyn ServerCertVerifier>,
    name: &str,
) -> Result<Arc<dyn ServerCertVerifier>, ClientFilesError> {
    if name.is_empty() {
        return Ok(inner);
    }
    let parsed = ServerName::try_from(name.to_owned());
    let name = parsed.map_err(|error| unusable("server_name", format!("no name of a server: {error}")))?;
    Ok(Arc::new(Named { inner, name }))
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _called_by: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::{crypto::aws_lc_rs, pki_types::pem::PemObject as _};

    use super::{
        super::{itself, test_files::certificate},
        *,
    };

    #[test]
    fn a_certificate_is_looked_at_for_the_name_that_is_given() {
        const IN_2027: u64 = 1_800_000_000;
        let read = |name| CertificateDer::from_pem_file(certificate(name)).unwrap();
        let verified = |name, called_by| {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let inner = itself::verifier(vec![read("ca.pem")], &provider).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(IN_2027));
            let called_by = ServerName::try_from(called_by).unwrap();
            let verifier = verifier(inner, name).unwrap();
            verifier
                .verify_server_cert(&read("server.pem"), &[], &called_by, &[], now)
                .is_ok()
        };
        assert!(verified("", "store.test") && !verified("", "elsewhere.test"));
        assert!(verified("store.test", "elsewhere.test") && !verified("elsewhere.test", "store.test"));
    }

    #[test]
    fn what_no_server_can_be_called_is_refused_under_its_key() {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let error = verifier(itself::of_the_system(&provider), "a b").unwrap_err();
        assert_eq!(error.key, "server_name");
    }
}
