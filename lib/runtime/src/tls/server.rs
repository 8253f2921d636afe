//! TLS of our own servers: what they show, whom they ask for what, and the files that this comes from.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::{SupportedKxGroup, aws_lc_rs},
    pki_types::{CertificateDer, UnixTime},
    server::WantsServerCert,
};

use sabre_model::time::format_rfc3339_ms;

use super::{
    client_auth::{ClientAuth, verifier},
    names::Version,
    pem::{SettingError, Source, Validity, ends_at_seconds, validity},
};

/// What a server shows and asks for.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    /// The chain, that of the server first.
    pub(crate) cert: Source,
    pub(crate) key: Source,
    pub(crate) client_auth: ClientAuth,
    /// Authorities of clients.
    pub(crate) client_ca: Option<Source>,
    /// Names of clients that are let in; all if empty.
    pub(crate) client_names: Vec<String>,
    /// The setting that errors about versions name.
    pub(crate) version_setting: &'static str,
    pub(crate) min_version: Version,
    pub(crate) max_version: Version,
    /// Suites in the order of preference, the library's own if there are none.
    pub(crate) suites: Option<Vec<SupportedCipherSuite>>,
    /// Curves in the order of preference, the library's own if there are none.
    pub(crate) curves: Option<Vec<&'static dyn SupportedKxGroup>>,
    /// Whether the order of the server's suites counts and not that of the client's.
    pub(crate) prefers_own_order: bool,
    /// What is spoken inside, best first.
    pub(crate) protocols: &'static [&'static str],
}

/// TLS that is ready for handshakes.
#[derive(Debug, Clone)]
pub(crate) struct ReadyTls {
    pub(crate) config: Arc<ServerConfig>,
    /// When the certificate ends, in seconds since the epoch, as far as known.
    pub(crate) ends_at_seconds: Option<u64>,
    /// What should be logged.
    pub(crate) warnings: Vec<String>,
}

impl ServerTls {
    /// The files it is made of.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let sources = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        let paths = sources.into_iter().flatten().filter_map(Source::path);
        paths.cloned().collect()
    }

    /// Reads the files and puts all together. An expired certificate is used all the same and named in a warning, as
    /// Thanos would use it: clients that do not verify go on, and a certificate that is renewed a minute late is taken up
    /// by a process that runs and not by one that is started again and again.
    ///
    /// # Errors
    /// The setting, the file and what is wrong.
    pub(crate) fn ready(&self, now: UnixTime) -> Result<ReadyTls, SettingError> {
        let chain = self.cert.chain()?;
        let ends_at_seconds = chain.first().and_then(ends_at_seconds);
        let warnings = self.warnings(&chain, now);
        let key = self.key.key()?;
        let mut config = self
            .before_certificate()?
            .with_single_cert(chain, key)
            .map_err(|error| {
                use rustls::{Error, InconsistentKeys};
                match error {
                    Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => self.key.error(&format!(
                        "is not the key of the certificate that {} gives; both must come from one Secret",
                        self.cert.setting
                    )),
                    Error::InvalidCertificate(_) => self
                        .cert
                        .error(&format!("has no certificate for a server: {error}")),
                    error => self.key.error(&format!("cannot be used: {error}")),
                }
            })?;
        config.ignore_client_order = self.prefers_own_order;
        config.alpn_protocols = self
            .protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(ReadyTls {
            config: Arc::new(config),
            ends_at_seconds,
            warnings,
        })
    }

    fn before_certificate(
        &self,
    ) -> Result<rustls::ConfigBuilder<ServerConfig, WantsServerCert>, SettingError> {
        let wrong = |problem: String| SettingError::new(self.version_setting, problem);
        let mut versions = Version::range(self.min_version, self.max_version);
        let mut provider = aws_lc_rs::default_provider();
        if let Some(suites) = &self.suites {
            let of_1_3 = provider
                .cipher_suites
                .iter()
                .filter(|suite| suite.tls13().is_some());
            let of_1_2 = suites.iter().filter(|suite| suite.tls13().is_none());
            provider.cipher_suites = of_1_3.chain(of_1_2).copied().collect();
            versions.retain(|version| {
                provider
                    .cipher_suites
                    .iter()
                    .any(|suite| suite.version() == *version)
            });
        }
        if versions.is_empty() {
            return Err(wrong(
                "no version of TLS is left; 1.2 and 1.3 are spoken, 1.2 only with one of its cipher suites"
                    .to_owned(),
            ));
        }
        if let Some(curves) = &self.curves {
            provider.kx_groups.clone_from(curves);
        }
        let provider = Arc::new(provider);
        let clients = verifier(
            self.client_auth,
            self.client_ca.as_ref(),
            &self.client_names,
            &provider,
        )?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| wrong(format!("no TLS can be spoken: {error}")))?;
        Ok(match clients {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        })
    }

    fn warnings(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Vec<String> {
        let mut warnings = Vec::new();
        for certificate in chain {
            let problem = match validity(certificate, now) {
                Some(Validity::Expired) => format!(
                    "has a certificate that has expired: it ended at {}, and clients that verify it will refuse it; renew it",
                    ends_at_seconds(certificate).map_or("a time that cannot be told".to_owned(), date)
                ),
                Some(Validity::NotYet) => {
                    "has a certificate that is not valid yet; look at the clock of this machine".to_owned()
                }
                Some(Validity::Good) | None => continue,
            };
            warnings.push(self.cert.error(&problem).to_string());
        }
        warnings
    }
}

fn date(seconds: u64) -> String {
    let ms = seconds.saturating_mul(1000);
    format_rfc3339_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tls::{
        names,
        test_files::{certificate, server_tls},
    };

    fn settings() -> ServerTls {
        server_tls(&["h2"])
    }

    /// A moment at which all certificates but the expired one are good.
    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000))
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let mismatched = ServerTls {
            key: Source::file("key", certificate("client.key.pem")),
            ..settings()
        };
        let error = mismatched.ready(now()).unwrap_err().to_string();
        assert!(
            error.starts_with("key: /") && error.contains("client.key.pem is not the key of the certificate"),
            "{error}"
        );
    }

    #[test]
    fn an_expired_certificate_is_used_and_warned_of() {
        let expired = ServerTls {
            cert: Source::file("cert", certificate("expired.pem")),
            ..settings()
        };
        let ready = expired.ready(now()).unwrap();
        let [warning] = ready.warnings.as_slice() else {
            panic!("{:?}", ready.warnings);
        };
        assert!(
            warning.starts_with("cert: /")
                && warning.contains(
                    "expired.pem has a certificate that has expired: it ended at 2021-01-01T00:00:00Z"
                ),
            "{warning}"
        );
        assert_eq!(ready.ends_at_seconds, Some(1_609_459_200));
        assert!(settings().ready(now()).unwrap().warnings.is_empty());
    }

    #[test]
    fn versions_and_suites_that_leave_nothing_are_refused() {
        let with = |suites: &[&str], max_version| {
            let names: Vec<String> = suites.iter().map(|name| (*name).to_owned()).collect();
            let suites = names::suites("ciphers", &names).unwrap().spoken;
            ServerTls {
                suites: Some(suites),
                max_version,
                ..settings()
            }
        };
        let spoken = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];
        assert!(with(&spoken, Version::Tls12).ready(now()).is_ok());
        assert!(
            with(&["TLS_RSA_WITH_AES_128_CBC_SHA"], Version::Tls13)
                .ready(now())
                .is_ok()
        );
        let error = with(&["TLS_RSA_WITH_AES_128_CBC_SHA"], Version::Tls12)
            .ready(now())
            .unwrap_err();
        assert!(
            error.to_string().starts_with("min: no version of TLS is left"),
            "{error}"
        );
        let old = ServerTls {
            min_version: Version::Tls10,
            max_version: Version::Tls11,
            ..settings()
        };
        assert!(old.ready(now()).is_err());
    }

    #[test]
    fn an_empty_file_of_authorities_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("ca.pem");
        std::fs::write(&empty, "").unwrap();
        let asking = ServerTls {
            client_auth: ClientAuth::RequireAndVerify,
            client_ca: Some(Source::file("client-ca", &empty)),
            ..settings()
        };
        let error = asking.ready(now()).unwrap_err().to_string();
        assert!(
            error.starts_with("client-ca: ") && error.contains("no certificate in it"),
            "{error}"
        );
        assert_eq!(asking.files().len(), 3);
    }
}
