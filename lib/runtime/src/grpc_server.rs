//! The gRPC server of every component that has one: any tonic services, health, reflection, and Thanos' metrics.
//!
//! Services set their own message limits; Thanos' are [`MAX_MESSAGE_BYTES`] both ways:
//! `StoreServer::new(store).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)`.

mod call;
mod messages;
mod methods;
pub(crate) mod snappy;
#[cfg(test)]
mod tests;
mod tls;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::response::IntoResponse;
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::RoutesBuilder};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower_service::Service;

pub use crate::server::ServerError;
use crate::{
    flags::{FlagError, Flags, ListenAddress},
    metrics::Registry,
    probe::Probe,
    request_log::RequestLog,
    server::{
        accept::{Acceptor, Tls},
        certificate_end,
        handshake::Handshakes,
        reloads,
    },
    trace::{self, Tracer},
};
pub use methods::code_name;
pub use tls::GrpcTls;

/// The largest message sent and received, as in Thanos.
pub const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;

/// The largest frame that clients may send, and that our own clients should advertise.
pub const MAX_FRAME_BYTES: u32 = 1 << 20;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
const MAX_STREAMS: u32 = 1_000;
const MAX_HEADERS_BYTES: u32 = 64 << 10;
/// A peer that is gone without a word holds bytes of the budget: find out within a minute and a half.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Where and how gRPC is served.
#[derive(Debug, Clone)]
pub struct GrpcOptions {
    /// `--grpc-address`.
    pub address: ListenAddress,
    /// `--grpc-grace-period`.
    pub grace: Duration,
    /// `--grpc-server-max-connection-age`; clients are asked to connect anew at this age, give or take a tenth.
    pub max_connection_age: Option<Duration>,
    /// `--grpc-server-tls-cert` and its like.
    pub tls: Option<GrpcTls>,
}

/// A server that is not listening yet.
#[derive(Debug)]
pub struct GrpcServer {
    options: GrpcOptions,
    routes: RoutesBuilder,
    services: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
    log: RequestLog,
    tracer: Option<Tracer>,
}

/// A server that listens, and answers once it is served.
#[derive(Debug)]
pub struct BoundGrpcServer {
    acceptor: Acceptor,
    address: SocketAddr,
    health: HealthReporter,
    probe: Probe,
}

impl GrpcOptions {
    /// Reads `--grpc-address`, `--grpc-grace-period`, `--grpc-server-max-connection-age`, and the flags of TLS with
    /// their files.
    ///
    /// # Errors
    /// When a flag was not declared, its value is wrong, or a file is of no use.
    pub fn from_flags(flags: &Flags) -> Result<Self, FlagError> {
        let age = flags.duration("grpc-server-max-connection-age")?;
        Ok(Self {
            address: flags.address("grpc-address")?,
            grace: flags.duration("grpc-grace-period")?,
            max_connection_age: (!age.is_zero()).then_some(age),
            tls: GrpcTls::from_flags(flags)?,
        })
    }
}

impl GrpcServer {
    /// Makes a server without services of its own.
    pub fn new(options: GrpcOptions) -> Self {
        Self {
            options,
            routes: RoutesBuilder::default(),
            services: Vec::new(),
            descriptors: Vec::new(),
            log: RequestLog::default(),
            tracer: trace::installed(),
        }
    }

    /// Traces calls with this tracer, instead of that of the process.
    #[must_use]
    pub fn traced_by(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Adds a service.
    #[must_use]
    pub fn service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.services.push(S::NAME);
        self
    }

    /// Adds an encoded `FileDescriptorSet` that describes services: for reflection, and for the labels of metrics.
    #[must_use]
    pub fn descriptors(mut self, encoded: &'static [u8]) -> Self {
        self.descriptors.push(encoded);
        self
    }

    /// Logs calls as `log` says.
    #[must_use]
    pub fn with_log(mut self, log: RequestLog) -> Self {
        self.log = log;
        self
    }

    /// Listens.
    ///
    /// # Errors
    /// When the address is taken (the error names flag and address), or the descriptions do not decode.
    pub async fn bind(mut self, registry: &Registry, probe: &Probe) -> Result<BoundGrpcServer, ServerError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        self = self
            .descriptors(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .service(health_service);
        self = self.with_reflection()?;
        let methods = methods::methods(registry, &self.services, &self.descriptors)?;
        let calls = call::CallLayer::new(registry, methods, self.log, self.tracer);
        let router = self.routes.routes().into_axum_router();
        let router = router.layer(snappy::SnappyLayer).layer(calls);

        let listener = self.options.address.bind("grpc-address").await?;
        let address = listener.local_addr().map_err(ServerError::Address)?;
        let acceptor = Acceptor {
            name: "grpc",
            listener,
            protocol: protocol(),
            tls: self.options.tls.as_ref().map(|files| under_tls(files, registry)),
            router,
            coalesce: true,
            max_connection_age: self.options.max_connection_age,
            grace: self.options.grace,
            connections: registry.gauge("sabre_grpc_connections", "Open gRPC connections"),
        };
        Ok(BoundGrpcServer {
            acceptor,
            address,
            health,
            probe: probe.clone(),
        })
    }

    /// Go's tools ask version 1 first and fall back to 1alpha, older ones know only 1alpha.
    fn with_reflection(self) -> Result<Self, ServerError> {
        use tonic_reflection::{pb, server::Builder};

        let refuse = |error: tonic_reflection::server::Error| ServerError::Descriptors(error.to_string());
        let builder = || {
            let empty = Builder::configure();
            self.descriptors.iter().fold(empty, |builder, encoded| {
                builder.register_encoded_file_descriptor_set(encoded)
            })
        };
        let v1 = builder().build_v1().map_err(refuse)?;
        let v1alpha = builder().build_v1alpha().map_err(refuse)?;
        Ok(self
            .service(v1)
            .service(v1alpha)
            .descriptors(pb::v1::FILE_DESCRIPTOR_SET)
            .descriptors(pb::v1alpha::FILE_DESCRIPTOR_SET))
    }
}

impl BoundGrpcServer {
    /// The address that was bound, with the port the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then for the grace period what is in flight. The health service says what
    /// the readiness probe says.
    pub async fn serve(self, stop: CancellationToken) {
        tracing::info!(address = %self.address, "listening for gRPC");
        let health = report_health(self.health, self.probe);
        tokio::select! {
            () = self.acceptor.serve(stop) => {}
            () = health => {}
        }
    }
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new()).http2_only();
    protocol
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS_BYTES)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    protocol
}

fn under_tls(files: &GrpcTls, registry: &Registry) -> Tls {
    files.ready.count(&reloads(registry));
    let ends_at = certificate_end(registry, "grpc");
    let files = Arc::clone(&files.ready);
    let source = move || {
        let ready = files.current();
        ends_at.set(ready.ends_at_seconds.unwrap_or_default() as i64);
        Some(Arc::clone(&ready.config))
    };
    // Shown from the start, not from the first client on.
    source();
    Tls {
        handshakes: Handshakes::new("grpc", Arc::new(source), registry),
        http2: protocol(),
    }
}

/// Never returns: the probe lives as long as the server.
async fn report_health(health: HealthReporter, probe: Probe) {
    let mut states = probe.subscribe();
    loop {
        let serving = states.borrow_and_update().ready.is_ok();
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        health.set_service_status("", status).await;
        if states.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
