//! What the HTTP and the gRPC server share.

pub(crate) mod accept;
pub(crate) mod coalesce;

use std::io;

use crate::flags::BindError;

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
