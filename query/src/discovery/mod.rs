//! Which endpoints there are: from flags, files and names.
//!
//! [`Sources`] are what the flags say; [`Sources::specs`] reads files and looks names up, and keeps what was there
//! before where that fails.

mod document;
mod files;
mod names;
mod sources;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::endpoints::{ClientOptions, EndpointKind};

pub(crate) use document::check as check_tls;
pub use document::{DocumentError, parse as parse_document};
pub(crate) use files::parse as parse_targets;
pub use sources::{DiscoveryMetrics, SourceOptions, Sources};

/// A time as the log shows it: nobody needs the nanoseconds of an outage.
pub(crate) fn rounded(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// An endpoint that should be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointSpec {
    /// `host:port`, or the name of a group with how it is looked up.
    pub address: String,
    /// How it is treated.
    pub kind: EndpointKind,
    /// How it is spoken to.
    pub client: ClientOptions,
    /// For a group: the servers it stands for now.
    pub servers: Vec<String>,
}

/// What flags or a document say, before names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `host:port`, or a name with how it is looked up.
    pub address: String,
    /// How it is treated.
    pub kind: EndpointKind,
    /// How it is spoken to.
    pub client: ClientOptions,
}

impl Wanted {
    /// Checks what was written.
    ///
    /// # Errors
    /// An address that is none, or a name where only an address may stand.
    pub fn new(address: &str, kind: EndpointKind, client: ClientOptions) -> Result<Self, String> {
        let address = address.trim();
        sabre_runtime::discovery::check(address)?;
        if kind.strict && !kind.group && sabre_runtime::discovery::is_looked_up(address) {
            return Err(format!(
                "{address} is looked up, and only a fixed address can be strict: it must be known when it is down"
            ));
        }
        Ok(Self {
            address: address.to_owned(),
            kind,
            client,
        })
    }
}
