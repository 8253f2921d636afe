//! Certificates and keys as PEM, from files or from within a document.

use std::{fmt, fs::File, io::Read as _, path::PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
};

/// More than any chain of certificates takes.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Later than any certificate ends: the year 5000.
const FAR_AWAY_SECONDS: u64 = 95_617_584_000;

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub(crate) struct SettingError {
    /// Name of the flag or key.
    pub(crate) setting: &'static str,
    /// What is wrong and what to do.
    pub(crate) problem: String,
}

/// A setting that is a PEM text.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Name of the flag or key.
    pub(crate) setting: &'static str,
    pub(crate) pem: Pem,
}

/// Where a PEM text is.
#[derive(Clone)]
pub(crate) enum Pem {
    File(PathBuf),
    Inline(String),
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Now.
    Good,
    /// It will be.
    NotYet,
    /// It was.
    Expired,
}

impl SettingError {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }
}

impl fmt::Debug for Pem {
    /// Shows no text: it may be a key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => formatter.write_str("Inline"),
        }
    }
}

impl Source {
    /// A file; the setting names it.
    pub(crate) fn file(setting: &'static str, path: impl Into<PathBuf>) -> Self {
        Self {
            setting,
            pem: Pem::File(path.into()),
        }
    }

    /// The file, if it is one.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match &self.pem {
            Pem::File(path) => Some(path),
            Pem::Inline(_) => None,
        }
    }

    /// All certificates, at least one.
    ///
    /// # Errors
    /// The file cannot be read, or there is no certificate in it.
    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, SettingError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        let chain = read.map_err(|error| self.error(&format!("is no PEM: {error}")))?;
        if chain.is_empty() {
            return Err(self.error("has no certificate in it; a PEM file with BEGIN CERTIFICATE is wanted"));
        }
        Ok(chain)
    }

    /// The private key.
    ///
    /// # Errors
    /// The file cannot be read, or there is no key in it.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, SettingError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|error| {
            use rustls::pki_types::pem::Error;
            match error {
                Error::NoItemsFound => self.error(
                    "has no private key in it; a PEM file with BEGIN PRIVATE KEY, not encrypted, is wanted",
                ),
                // The error may quote the text.
                _ => self.error("is no PEM file with a private key"),
            }
        })
    }

    /// The authorities to trust, at least one.
    ///
    /// # Errors
    /// The file cannot be read, there is no certificate in it, or one is none.
    pub(crate) fn roots(&self) -> Result<RootCertStore, SettingError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain()? {
            roots
                .add(certificate)
                .map_err(|error| self.error(&format!("has a certificate that is none: {error}")))?;
        }
        Ok(roots)
    }

    /// Names setting and file.
    pub(crate) fn error(&self, problem: &str) -> SettingError {
        let text = match &self.pem {
            Pem::File(path) => format!("{} {problem}", path.display()),
            Pem::Inline(_) => format!("the text {problem}"),
        };
        SettingError::new(self.setting, text)
    }

    fn read(&self) -> Result<Vec<u8>, SettingError> {
        let path = match &self.pem {
            Pem::Inline(text) => return Ok(text.clone().into_bytes()),
            Pem::File(path) => path,
        };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Err(error) => Err(self.error(&format!(
                "cannot be read: {error}; look whether the Secret is mounted there and may be read by this user"
            ))),
            Ok(_) if bytes.len() as u64 > MAX_PEM_BYTES => {
                Err(self.error(&format!("is longer than {MAX_PEM_BYTES} bytes")))
            }
            Ok(_) => Ok(bytes),
        }
    }
}

/// Whether the certificate is good at `now`; `None` when it cannot be told.
pub(crate) fn validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<Validity> {
    match look(certificate, now)? {
        webpki::Error::CertExpired { .. } => Some(Validity::Expired),
        webpki::Error::CertNotValidYet { .. } => Some(Validity::NotYet),
        webpki::Error::InvalidCertValidity | webpki::Error::BadDer | webpki::Error::BadDerTime => None,
        _ => Some(Validity::Good),
    }
}

/// When the certificate ends, in seconds since the epoch; `None` when it cannot be told.
pub(crate) fn ends_at_seconds(certificate: &CertificateDer<'_>) -> Option<u64> {
    let far_away = UnixTime::since_unix_epoch(std::time::Duration::from_secs(FAR_AWAY_SECONDS));
    match look(certificate, far_away)? {
        webpki::Error::CertExpired { not_after, .. } => Some(not_after.as_secs()),
        _ => None,
    }
}

/// What stands against the certificate at `now`, its times before all else: it is verified with nobody to trust.
fn look(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<webpki::Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let usage = webpki::KeyUsage::server_auth();
    parsed
        .verify_for_usage(&[], &[], &[], now, usage, None, None)
        .err()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(name: &str) -> Source {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/certificates");
        Source::file("cert", format!("{folder}/{name}"))
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn times_of_certificates_are_told() {
        let expired = source("expired.pem").chain().unwrap().remove(0);
        assert_eq!(ends_at_seconds(&expired), Some(1_609_459_200));
        assert_eq!(validity(&expired, at(1_577_836_799)), Some(Validity::NotYet));
        assert_eq!(validity(&expired, at(1_577_836_800)), Some(Validity::Good));
        assert_eq!(validity(&expired, at(1_609_459_201)), Some(Validity::Expired));
        let good = source("server.pem").chain().unwrap().remove(0);
        assert!(ends_at_seconds(&good) > Some(4_000_000_000));
        assert_eq!(validity(&CertificateDer::from(vec![1, 2, 3]), at(0)), None);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Source::file("cert", path)
        };
        let missing = Source::file("cert", folder.path().join("missing"));
        let error = missing.chain().unwrap_err().to_string();
        assert!(
            error.starts_with("cert: /") && error.contains("missing cannot be read: No such file"),
            "{error}"
        );
        let empty = write("empty", b"");
        assert!(
            empty
                .chain()
                .unwrap_err()
                .problem
                .contains("no certificate in it")
        );
        assert!(
            empty
                .roots()
                .unwrap_err()
                .problem
                .contains("no certificate in it")
        );
        assert!(empty.key().unwrap_err().problem.contains("no private key in it"));
        let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(
            write("junk", junk)
                .roots()
                .unwrap_err()
                .problem
                .contains("that is none")
        );
        let long = vec![b'a'; MAX_PEM_BYTES as usize + 1];
        assert!(
            write("long", &long)
                .chain()
                .unwrap_err()
                .problem
                .contains("longer than")
        );
        let key = write(
            "key",
            b"-----BEGIN PRIVATE KEY-----\ncanary!\n-----END PRIVATE KEY-----\n",
        );
        let error = key.key().unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
        let inline = Pem::Inline("canary".to_owned());
        assert!(!format!("{inline:?}").contains("canary"));
    }
}
