//! What happens around every call: metrics, the client's deadline, panics, the log of requests.

use std::{
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures::FutureExt as _;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};
use tower_service::Service;

use super::{
    messages::{MessageScan, Received},
    methods::{Method, Methods, code_name},
};
use crate::{
    cpu::panic_text,
    metrics::{Counter, Registry},
    observed_body::ObservedBody,
    request_log::{Protocol, RequestLog},
    trace::{Span, Tracer},
};

/// Wraps services in [`Calls`].
#[derive(Debug, Clone)]
pub(super) struct CallLayer {
    methods: Methods,
    panics: Counter,
    log: RequestLog,
    tracer: Option<Tracer>,
}

/// A service whose calls are watched.
#[derive(Debug, Clone)]
pub(super) struct Calls<S> {
    inner: S,
    layer: CallLayer,
}

/// A call, from its start to the end of its answer; counts itself once, as cancelled if nothing else is known.
#[derive(Debug)]
struct Call {
    method: Arc<Method>,
    panics: Counter,
    log: Option<RequestLog>,
    start: Instant,
    code: Code,
    span: Span,
}

/// An answer on its way.
struct CallBody {
    /// Gone once the answer has ended.
    inner: Option<Body>,
    deadline: Option<Pin<Box<Sleep>>>,
    scan: MessageScan,
    call: Call,
}

impl CallLayer {
    pub(super) fn new(
        registry: &Registry,
        methods: Methods,
        log: RequestLog,
        tracer: Option<Tracer>,
    ) -> Self {
        let panics = registry.counter(
            "grpc_req_panics_recovered_total",
            "Panics of gRPC calls that were recovered",
        );
        Self {
            methods,
            panics,
            log,
            tracer,
        }
    }
}

impl CallLayer {
    /// Health is asked every few seconds and tells nothing.
    fn span(&self, method: &Method, headers: &HeaderMap) -> Span {
        let (service, name) = (&method.service, &method.method);
        match &self.tracer {
            Some(tracer) if !service.starts_with("grpc.") => {
                tracer.serve(format!("/{service}/{name}"), headers, false)
            }
            _ => Span::default(),
        }
    }
}

impl<S> tower::Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S> Service<Request> for Calls<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The service that said it is ready must be the one that is called.
        let spare = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, spare);
        let call = Call::start(&self.layer, request.uri().path(), request.headers());
        let deadline = timeout_of(request.headers()).and_then(|timeout| Instant::now().checked_add(timeout));
        let received = Received::new(call.method.received.clone());
        let request = request.map(|body| Body::new(ObservedBody::new(body, received)));
        Box::pin(async move {
            Ok(call
                .answer(async move { ready.call(request).await }, deadline)
                .await)
        })
    }
}

impl Call {
    fn start(layer: &CallLayer, path: &str, headers: &HeaderMap) -> Self {
        let method = Arc::clone(layer.methods.find(path));
        method.started.inc();
        let span = layer.span(&method, headers);
        let log = layer.log.wants(Protocol::Grpc).then(|| layer.log.clone());
        if let Some(log) = &log {
            log.grpc_start(&method.service, &method.method);
        }
        Self {
            method,
            panics: layer.panics.clone(),
            log,
            start: Instant::now(),
            code: Code::Cancelled,
            span,
        }
    }

    async fn answer(
        mut self,
        inner: impl Future<Output = Result<Response, Infallible>> + Send,
        deadline: Option<Instant>,
    ) -> Response {
        let guarded = self.span.within(AssertUnwindSafe(inner).catch_unwind());
        let outcome = match deadline {
            Some(deadline) => match tokio::time::timeout_at(deadline, guarded).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => return self.refuse(&deadline_exceeded()),
            },
            None => guarded.await,
        };
        let response = match outcome {
            Ok(Ok(response)) => response,
            Err(panic) => {
                let status = self.recovered(&*panic);
                return self.refuse(&status);
            }
        };
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.code = status.code();
            return response;
        }
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        let scan = MessageScan::default();
        response.map(|body| {
            Body::new(CallBody {
                inner: Some(body),
                deadline,
                scan,
                call: self,
            })
        })
    }

    fn refuse(&mut self, status: &Status) -> Response {
        self.code = status.code();
        status.clone().into_http::<Body>()
    }

    fn recovered(&self, panic: &(dyn std::any::Any + Send)) -> Status {
        self.panics.inc();
        let (service, method, panic) = (&self.method.service, &self.method.method, panic_text(panic));
        tracing::error!(service, method, panic, "recovered from a panic of a gRPC call");
        Status::internal("the server failed, its log says more")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.start.elapsed();
        self.span
            .attribute("rpc.grpc.status_code", i64::from(i32::from(self.code)));
        if self.code != Code::Ok {
            self.span.fail(code_name(self.code));
        }
        self.method.count_handled(self.code);
        self.method.handling_seconds.observe(took.as_secs_f64());
        if let Some(log) = &self.log {
            log.grpc_end(&self.method.service, &self.method.method, self.code, took);
        }
    }
}

impl CallBody {
    /// Ends the answer with a status of our own.
    fn cut_off(&mut self, status: &Status) -> Frame<Bytes> {
        self.inner = None;
        self.call.code = status.code();
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", http::HeaderValue::from(i32::from(status.code())));
        }
        Frame::trailers(trailers)
    }

    fn observe(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.call.method.sent.inc_by(self.scan.count(data));
        } else if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
            self.call.code = status.code();
        }
    }
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.inner.is_some()
            && let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.cut_off(&deadline_exceeded()))));
        }
        let CallBody { inner, call, .. } = &mut *self;
        let Some(inner) = inner else {
            return Poll::Ready(None);
        };
        let poll = || Pin::new(inner).poll_frame(context);
        let polled = catch_unwind(AssertUnwindSafe(|| call.span.call(poll)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(frame)) => {
                match &frame {
                    Some(Ok(frame)) => self.observe(frame),
                    Some(Err(_)) => self.call.code = Code::Unknown,
                    // Trailers come before this; an answer without them has no status.
                    None if self.call.code == Code::Cancelled => self.call.code = Code::Unknown,
                    None => {}
                }
                Poll::Ready(frame)
            }
            Err(panic) => {
                let status = self.call.recovered(&*panic);
                Poll::Ready(Some(Ok(self.cut_off(&status))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the client's deadline has passed")
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = if plain { digits.parse().ok()? } else { return None };
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3_600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn deadlines_of_clients_are_read() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("5m", Some(Duration::from_millis(5))),
            ("7u", Some(Duration::from_micros(7))),
            ("9n", Some(Duration::from_nanos(9))),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1x", None),
            ("1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            assert_eq!(timeout_of(&headers), expected, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_bytes(b"1\xc3\xa4").unwrap());
        assert_eq!(timeout_of(&headers), None);
    }
}
