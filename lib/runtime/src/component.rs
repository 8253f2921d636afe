//! What the components have in common as they run: where they listen, and how they fail.

use std::net::SocketAddr;

/// The error of a component, whatever it is.
pub type RunError = Box<dyn std::error::Error + Send + Sync>;

/// Where a component listens that serves both HTTP and gRPC: the ports are known here even if port 0 was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Metrics and probes; a querier's API and pages too.
    pub http: SocketAddr,
    /// StoreAPI, Info, and what else the component offers to queriers.
    pub grpc: SocketAddr,
}
