//! Checking that the other side holds the key of the certificate it shows, whoever that is from.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme, client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider, pki_types::CertificateDer,
};

/// The signatures of a provider.
#[derive(Debug, Clone)]
pub(super) struct Signatures(pub(super) Arc<CryptoProvider>);

impl Signatures {
    pub(super) fn verify_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    pub(super) fn verify_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
