//! Calls to peers, under the names of gRPC clients in Go.

use http::HeaderMap;
use sabre_runtime::{
    grpc_server::code_name,
    metrics::{Counter, Counters, DURATION_BUCKETS, Histograms, Registry},
    trace::Span,
};
use tokio::time::Instant;
use tonic::Code;

/// All calls.
#[derive(Clone, Debug)]
pub(crate) struct ClientMetrics {
    started: Counters<3>,
    handled: Counters<4>,
    received: Counters<3>,
    seconds: Histograms<3>,
}

/// One call. One that is dropped before its end was cancelled.
#[derive(Debug)]
pub(crate) struct CallMetrics {
    all: ClientMetrics,
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    received: Counter,
    started: Instant,
    ended: bool,
    span: Span,
}

impl ClientMetrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        let labels = ["grpc_method", "grpc_service", "grpc_type"];
        let with_code = ["grpc_code", "grpc_method", "grpc_service", "grpc_type"];
        Self {
            started: registry.counters("grpc_client_started_total", "Calls to peers", labels),
            handled: registry.counters(
                "grpc_client_handled_total",
                "Calls to peers that ended",
                with_code,
            ),
            received: registry.counters("grpc_client_msg_received_total", "Messages from peers", labels),
            seconds: registry.histograms(
                "grpc_client_handling_seconds",
                "Time of calls to peers",
                labels,
                &DURATION_BUCKETS,
            ),
        }
    }

    /// Notes a call to a method such as `/thanos.Store/Series`.
    pub(crate) fn start(&self, path: &'static str) -> CallMetrics {
        let (service, method) = path.rsplit_once('/').unwrap_or(("", path));
        let service = service.trim_start_matches('/');
        let kind = match method {
            "LabelNames" | "LabelValues" => "unary",
            _ => "server_stream",
        };
        self.started.with([method, service, kind]).inc();
        CallMetrics {
            received: self.received.with([method, service, kind]),
            all: self.clone(),
            service,
            method,
            kind,
            started: Instant::now(),
            ended: false,
            span: Span::client(path),
        }
    }
}

impl CallMetrics {
    /// Notes whom the call is for.
    pub(crate) fn about(mut self, address: &str) -> Self {
        self.span.attribute("net.peer.name", address);
        self
    }

    /// The headers by which the peer goes on with the trace.
    pub(crate) fn trace_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.span.write_headers(&mut headers);
        headers
    }

    /// Notes a message.
    pub(crate) fn message(&self) {
        self.received.inc();
    }

    /// Notes the end, once.
    pub(crate) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut span = std::mem::take(&mut self.span);
        span.attribute("rpc.grpc.status_code", i64::from(i32::from(code)));
        if code != Code::Ok {
            span.fail(code_name(code));
        }
        let labels = [self.method, self.service, self.kind];
        self.all
            .handled
            .with([code_name(code), self.method, self.service, self.kind])
            .inc();
        self.all
            .seconds
            .with(labels)
            .observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for CallMetrics {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}
