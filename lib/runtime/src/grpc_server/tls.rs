//! `--grpc-server-tls-…`: the TLS of the gRPC server. Its files are read again when they change.

use std::{fmt, sync::Arc};

use rustls::pki_types::UnixTime;

use crate::{
    clock,
    flags::{FlagError, Flags},
    server::from_files::{Attempt, FromFiles},
    tls::{
        client_auth::ClientAuth,
        names::{self, Chosen, Version},
        pem::{SettingError, Source},
        server::{ReadyTls, ServerTls},
    },
};

const CERT: &str = "grpc-server-tls-cert";
const KEY: &str = "grpc-server-tls-key";
const CLIENT_CA: &str = "grpc-server-tls-client-ca";
const MIN_VERSION: &str = "grpc-server-tls-min-version";
const CIPHERS: &str = "grpc-server-tls-ciphers";
const CURVES: &str = "grpc-server-tls-curves";

/// TLS of the gRPC server, as the flags say and its files are now. Clones share it.
#[derive(Clone)]
pub struct GrpcTls {
    pub(super) ready: Arc<FromFiles<ReadyTls>>,
}

impl fmt::Debug for GrpcTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ready.fmt(formatter)
    }
}

impl GrpcTls {
    /// Reads the flags and their files; `None` without certificate and key.
    ///
    /// # Errors
    /// A flag that is missing beside the others, a name that is unknown, or a file.
    pub(super) fn from_flags(flags: &Flags) -> Result<Option<Self>, FlagError> {
        let (cert, key, client_ca) = (flags.text(CERT)?, flags.text(KEY)?, flags.text(CLIENT_CA)?);
        match (cert, key, client_ca) {
            ("", "", "") => return Ok(None),
            ("", ..) => {
                return Err(FlagError::new(
                    CERT,
                    "it is missing, and TLS needs certificate and key",
                ));
            }
            (_, "", _) => {
                return Err(FlagError::new(
                    KEY,
                    "it is missing, and TLS needs certificate and key",
                ));
            }
            _ => {}
        }
        let wrong = |error: SettingError| FlagError::new(error.setting, error.problem);
        let mut notices = Vec::new();
        let settings = ServerTls {
            cert: Source::file(CERT, cert),
            key: Source::file(KEY, key),
            client_auth: match client_ca {
                "" => ClientAuth::None,
                _ => ClientAuth::RequireAndVerify,
            },
            client_ca: (!client_ca.is_empty()).then(|| Source::file(CLIENT_CA, client_ca)),
            client_names: Vec::new(),
            version_setting: MIN_VERSION,
            min_version: min_version(flags, &mut notices)?,
            max_version: Version::Tls13,
            suites: chosen(flags, CIPHERS, names::suites, &mut notices)?,
            curves: chosen(flags, CURVES, names::curves, &mut notices)?,
            prefers_own_order: true,
            protocols: &["h2"],
        };
        if settings.curves.as_ref().is_some_and(Vec::is_empty) {
            return Err(FlagError::new(
                CURVES,
                "none of these is spoken; take X25519, CurveP256 or CurveP384",
            ));
        }
        // Once without the log, so that the error names its flag.
        settings.ready(now()).map_err(wrong)?;
        for notice in notices {
            tracing::warn!("{notice}");
        }
        let ready = FromFiles::new("grpc", move || attempt(&settings));
        let ready = ready.map_err(|problem| FlagError::new(CERT, problem))?;
        Ok(Some(Self {
            ready: Arc::new(ready),
        }))
    }
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(clock::since_epoch())
}

fn attempt(settings: &ServerTls) -> Attempt<ReadyTls> {
    let outcome = settings.ready(now());
    let warnings = outcome
        .as_ref()
        .map_or(Vec::new(), |ready| ready.warnings.clone());
    Attempt {
        files: settings.files(),
        warnings: warnings
            .into_iter()
            .map(|warning| format!("--{warning}"))
            .collect(),
        outcome: outcome.map_err(|error| format!("--{error}")),
    }
}

fn min_version(flags: &Flags, notices: &mut Vec<String>) -> Result<Version, FlagError> {
    let version = Version::from_name(flags.text(MIN_VERSION)?);
    let version =
        version.ok_or_else(|| FlagError::new(MIN_VERSION, "this is no version of TLS; take 1.2 or 1.3"))?;
    if version < Version::Tls12 {
        notices.push(format!("--{MIN_VERSION}: nothing older than TLS 1.2 is spoken"));
    }
    Ok(version)
}

type Choose<T> = fn(&'static str, &[String]) -> Result<Chosen<T>, SettingError>;

fn chosen<T>(
    flags: &Flags,
    flag: &'static str,
    choose: Choose<T>,
    notices: &mut Vec<String>,
) -> Result<Option<Vec<T>>, FlagError> {
    let names = flags.list(flag)?;
    if names.is_empty() {
        return Ok(None);
    }
    let chosen = choose(flag, &names).map_err(|error| FlagError::new(error.setting, error.problem))?;
    if !chosen.left_out.is_empty() {
        notices.push(format!(
            "--{flag}: not spoken and left out: {}",
            chosen.left_out.join(", ")
        ));
    }
    Ok(Some(chosen.spoken))
}

#[cfg(test)]
mod tests;
