//! `--http.config`: TLS, passwords and headers of the HTTP server, from a file in the shape of Prometheus' web
//! configuration. It is read again when it changes, or a file that it names.

mod document;
mod guard;
mod passwords;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use http::{HeaderName, HeaderValue};
use rustls::pki_types::UnixTime;

pub(super) use guard::Guard;

use crate::{
    clock,
    server::from_files::{Attempt, FromFiles},
    tls::server::ReadyTls,
};
use guard::Rate;
use passwords::Users;

/// What the file says, ready for use.
pub(super) struct WebConfig {
    /// None for plain HTTP.
    pub(super) tls: Option<ReadyTls>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Nobody is asked for a password if there are none.
    users: Users,
    rate: Option<Rate>,
}

/// The file of `--http.config`, and what it says now. Clones share it.
#[derive(Clone)]
pub struct WebFile {
    config: Arc<FromFiles<WebConfig>>,
}

impl WebFile {
    /// Reads the file and all that it names.
    ///
    /// # Errors
    /// The file, the key and what is wrong.
    pub(super) fn read(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let has_tls = OnceLock::new();
        let config = FromFiles::new("http", move || attempt(&path, &has_tls))?;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// What it says now, made anew when it has changed.
    pub(super) fn config(&self) -> &Arc<FromFiles<WebConfig>> {
        &self.config
    }
}

impl fmt::Debug for WebFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(formatter)
    }
}

/// Reads the file. The first one decides whether TLS is spoken; one that says otherwise later is of no use.
fn attempt(path: &Path, has_tls: &OnceLock<bool>) -> Attempt<WebConfig> {
    let mut files = vec![path.to_path_buf()];
    let mut warnings = Vec::new();
    let outcome = document::read(path).and_then(|document| {
        let tls = document.tls(path.parent().unwrap_or(Path::new("")), &mut warnings)?;
        if let Some(tls) = &tls {
            files.extend(tls.files());
        }
        let now = UnixTime::since_unix_epoch(clock::since_epoch());
        let config = document.ready(tls.as_ref(), now)?;
        if *has_tls.get_or_init(|| tls.is_some()) != tls.is_some() {
            return Err("TLS is turned on and off by a restart, not while the server runs".to_owned());
        }
        warnings.extend(config.tls.iter().flat_map(|tls| tls.warnings.clone()));
        Ok(config)
    });
    let named = |problem: String| format!("{}: {problem}", path.display());
    Attempt {
        files,
        warnings: warnings.into_iter().map(named).collect(),
        outcome: outcome.map_err(named),
    }
}
