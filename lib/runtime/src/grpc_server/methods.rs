//! The methods that are served, with their metrics.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

use super::ServerError;
use crate::metrics::{Counter, Counters, DURATION_BUCKETS, Histogram, Histograms, Registry};

const LABELS: [&str; 3] = ["grpc_method", "grpc_service", "grpc_type"];
const CODE_LABELS: [&str; 4] = ["grpc_code", "grpc_method", "grpc_service", "grpc_type"];
/// Codes 0 to 16.
const CODES: i32 = 17;

/// Metrics of all methods by path, such as `/thanos.Store/Series`.
#[derive(Debug, Clone)]
pub(super) struct Methods {
    by_path: Arc<HashMap<String, Arc<Method>>>,
    unknown: Arc<Method>,
}

/// One method and its metrics, looked up once.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) service: String,
    pub(super) method: String,
    pub(super) started: Counter,
    pub(super) received: Counter,
    pub(super) sent: Counter,
    pub(super) handling_seconds: Histogram,
    handled: Vec<Counter>,
}

struct Families {
    started: Counters<3>,
    received: Counters<3>,
    sent: Counters<3>,
    handling_seconds: Histograms<3>,
    handled: Counters<4>,
}

/// Makes the metrics of all methods of `services`, which exist at zero from the start.
pub(super) fn methods(
    registry: &Registry,
    services: &[&str],
    descriptors: &[&[u8]],
) -> Result<Methods, ServerError> {
    let families = Families::new(registry);
    let mut by_path = HashMap::new();
    for encoded in descriptors {
        let set = FileDescriptorSet::decode(*encoded)
            .map_err(|error| ServerError::Descriptors(error.to_string()))?;
        for file in &set.file {
            for service in &file.service {
                let name = match file.package() {
                    "" => service.name().to_owned(),
                    package => format!("{package}.{}", service.name()),
                };
                if !services.contains(&name.as_str()) {
                    continue;
                }
                for method in &service.method {
                    let kind = kind(method.client_streaming(), method.server_streaming());
                    let path = format!("/{name}/{}", method.name());
                    by_path.insert(path, Arc::new(families.method(&name, method.name(), kind)));
                }
            }
        }
    }
    let unknown = Arc::new(families.method("unknown", "unknown", "unary"));
    Ok(Methods {
        by_path: Arc::new(by_path),
        unknown,
    })
}

impl Methods {
    /// The method of a path; paths that are not served share one, so that a stranger cannot make labels.
    pub(super) fn find(&self, path: &str) -> &Arc<Method> {
        self.by_path.get(path).unwrap_or(&self.unknown)
    }
}

impl Method {
    pub(super) fn count_handled(&self, code: Code) {
        let index = usize::try_from(i32::from(code)).unwrap_or_default();
        if let Some(counter) = self.handled.get(index) {
            counter.inc();
        }
    }
}

impl Families {
    fn new(registry: &Registry) -> Self {
        let counters = |name, help| registry.counters(name, help, LABELS);
        Self {
            started: counters("grpc_server_started_total", "gRPC calls started"),
            received: counters("grpc_server_msg_received_total", "gRPC messages received"),
            sent: counters("grpc_server_msg_sent_total", "gRPC messages sent"),
            handled: registry.counters(
                "grpc_server_handled_total",
                "gRPC calls ended, by code",
                CODE_LABELS,
            ),
            handling_seconds: registry.histograms(
                "grpc_server_handling_seconds",
                "Time from the start of a gRPC call to its end",
                LABELS,
                &DURATION_BUCKETS,
            ),
        }
    }

    fn method(&self, service: &str, method: &str, kind: &str) -> Method {
        let labels = [method, service, kind];
        let handled = |code| {
            self.handled
                .with([code_name(Code::from_i32(code)), method, service, kind])
        };
        Method {
            service: service.to_owned(),
            method: method.to_owned(),
            started: self.started.with(labels),
            received: self.received.with(labels),
            sent: self.sent.with(labels),
            handling_seconds: self.handling_seconds.with(labels),
            handled: (0..CODES).map(handled).collect(),
        }
    }
}

fn kind(client_streams: bool, server_streams: bool) -> &'static str {
    match (client_streams, server_streams) {
        (false, false) => "unary",
        (true, false) => "client_stream",
        (false, true) => "server_stream",
        (true, true) => "bidi_stream",
    }
}

/// The name of a code as Go writes it, which is what dashboards and alerts ask for.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
