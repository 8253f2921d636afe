//! Whom a server lets in by certificate.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{
    pem::{SettingError, Source},
    signatures::Signatures,
};

/// Go's `ClientAuthType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// Clients are not asked for a certificate.
    None,
    /// They are asked, and may show any or none.
    Request,
    /// They must show one, whoever it is from.
    RequireAny,
    /// If they show one it must be from the authority.
    VerifyIfGiven,
    /// They must show one that is from the authority.
    RequireAndVerify,
}

/// Lets in whoever holds the key of the certificate shown, whoever it is from.
#[derive(Debug)]
struct AnyCertificate {
    signatures: Signatures,
    is_mandatory: bool,
}

/// Lets in only who is named.
#[derive(Debug)]
struct Named {
    inner: Arc<dyn ClientCertVerifier>,
    allowed: Vec<String>,
}

impl ClientAuth {
    /// Go's name, and the old one of exporters.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "" | "NoClientCert" => Some(Self::None),
            "RequestClientCert" => Some(Self::Request),
            "RequireAnyClientCert" | "RequireClientCert" => Some(Self::RequireAny),
            "VerifyClientCertIfGiven" => Some(Self::VerifyIfGiven),
            "RequireAndVerifyClientCert" => Some(Self::RequireAndVerify),
            _ => None,
        }
    }

    /// Whether there must be an authority.
    pub(crate) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// Makes the verifier; `None` when clients are not asked.
///
/// # Errors
/// The file of authorities.
pub(crate) fn verifier(
    auth: ClientAuth,
    authorities: Option<&Source>,
    allowed_names: &[String],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, SettingError> {
    let any = |is_mandatory| -> Arc<dyn ClientCertVerifier> {
        Arc::new(AnyCertificate {
            signatures: Signatures(Arc::clone(provider)),
            is_mandatory,
        })
    };
    let verifier = match (auth, authorities) {
        (ClientAuth::None, _) => return Ok(None),
        (ClientAuth::Request, _) => any(false),
        (ClientAuth::RequireAny, _) => any(true),
        (ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify, Some(source)) => {
            let roots = Arc::new(source.roots()?);
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let builder = match auth {
                ClientAuth::VerifyIfGiven => builder.allow_unauthenticated(),
                _ => builder,
            };
            builder
                .build()
                .map_err(|error| source.error(&format!("is of no use: {error}")))?
        }
        (ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify, None) => {
            let problem = "certificates of clients are to be verified and no authority is given";
            return Err(SettingError::new("client_ca_file", problem));
        }
    };
    Ok(Some(match allowed_names {
        [] => verifier,
        names => Arc::new(Named {
            inner: verifier,
            allowed: names.to_vec(),
        }),
    }))
}

/// Whether a name among those of the certificate is equal to one that is allowed.
fn is_named(certificate: &CertificateDer<'_>, allowed: &[String]) -> Result<bool, webpki::Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate)?;
    let is_address = |name: &str| {
        let address: Option<IpAddr> = name.parse().ok();
        let address = address.map(|address| ServerName::IpAddress(address.into()));
        address.is_some_and(|address| parsed.verify_is_valid_for_subject_name(&address).is_ok())
    };
    Ok(allowed.iter().any(|name| {
        parsed.valid_dns_names().any(|found| found == name)
            || parsed.valid_uri_names().any(|found| found == name)
            || is_address(name)
    }))
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signatures.verify_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}

impl ClientCertVerifier for Named {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        match is_named(end_entity, &self.allowed) {
            Ok(true) => Ok(verified),
            Ok(false) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Err(_) => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate_are_compared_whole() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/certificates");
        let source = Source::file("cert", format!("{folder}/client.pem"));
        let client = source.chain().unwrap().remove(0);
        for (name, expected) in [
            ("client.test", true),
            ("10.1.2.3", true),
            ("spiffe://test/client", true),
            ("client", false),
            ("other.client.test", false),
            ("CLIENT.TEST", false),
            ("10.1.2.4", false),
            ("spiffe://test/client/", false),
            ("", false),
        ] {
            let allowed = ["nobody.test".to_owned(), name.to_owned()];
            assert_eq!(is_named(&client, &allowed).unwrap(), expected, "{name}");
        }
        assert!(is_named(&CertificateDer::from(vec![0; 9]), &[]).is_err());
    }
}
