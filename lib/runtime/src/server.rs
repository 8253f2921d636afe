//! What the HTTP and the gRPC server share.

pub(crate) mod accept;
pub(crate) mod coalesce;
pub(crate) mod from_files;
pub(crate) mod handshake;
#[cfg(test)]
mod tests;

use std::io;

use crate::{
    flags::BindError,
    metrics::{Counters, Gauge, Registry},
};

/// Why a server could not start or went down.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken or wrong.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket has no address.
    #[error("cannot tell the address that was bound: {0}")]
    Address(io::Error),
    /// The descriptions of the gRPC services do not decode.
    #[error("the descriptions of the gRPC services do not decode: {0}")]
    Descriptors(String),
}

/// Counts files of TLS and of `--http.config` that were read anew.
pub(crate) fn reloads(registry: &Registry) -> Counters<2> {
    registry.counters(
        "sabre_server_reloads_total",
        "Times that files of TLS or of --http.config changed and were read; failed ones leave the old in use",
        ["server", "result"],
    )
}

/// When the certificate of a server ends.
pub(crate) fn certificate_end(registry: &Registry, server: &str) -> Gauge {
    let ends = registry.gauges(
        "sabre_server_certificate_end_timestamp_seconds",
        "When the certificate of the server ends, 0 if that cannot be told",
        ["server"],
    );
    ends.with([server])
}
