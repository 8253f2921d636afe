//! The span of an HTTP request.

use std::borrow::Cow;

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::Frame;

use super::{Span, Tracer};
use crate::observed_body::{ObservedBody, Observer};

/// Has a request traced whatever the sampler says, as in Thanos.
const FORCE: HeaderName = HeaderName::from_static("x-thanos-force-tracing");
/// Tells the caller the id, as in Thanos.
const TRACE_ID: HeaderName = HeaderName::from_static("x-thanos-trace-id");

/// Ends with the body of the answer.
struct Answered {
    _span: Span,
}

impl Observer for Answered {
    fn frame(&mut self, _frame: &Frame<Bytes>) {}
}

/// Runs a request within a span, named by its route; scrapes and probes have none.
pub(crate) async fn traced(State(tracer): State<Tracer>, request: Request, next: Next) -> Response {
    let Some(name) = name(&request) else {
        return next.run(request).await;
    };
    let is_forced = request
        .headers()
        .get(&FORCE)
        .is_some_and(|value| !value.is_empty());
    let mut span = tracer.serve(name, request.headers(), is_forced);
    if span.is_recorded() {
        span.attribute("http.method", request.method().as_str());
        let target = request
            .uri()
            .path_and_query()
            .map_or("", |target| target.as_str());
        span.attribute("http.url", target);
    }
    let mut response = span.within(next.run(request)).await;
    let code = response.status();
    span.attribute("http.status_code", u64::from(code.as_u16()));
    if code.is_server_error() {
        span.fail(code);
    }
    let id = span.trace_id().and_then(|id| HeaderValue::try_from(id).ok());
    if let Some(id) = id {
        response.headers_mut().insert(TRACE_ID, id);
    }
    match span.is_recorded() {
        true => response.map(|body| Body::new(ObservedBody::new(body, Answered { _span: span }))),
        false => response,
    }
}

/// `None` for what is asked every few seconds and tells nothing.
fn name(request: &Request) -> Option<Cow<'static, str>> {
    let path = request.uri().path();
    let is_boring = path == "/metrics" || path.starts_with("/-/") || path.starts_with("/debug/");
    let route = request.extensions().get::<MatchedPath>();
    // What has no route could be anything, and names are few.
    let route = route.map_or("unknown", MatchedPath::as_str);
    (!is_boring).then(|| format!("{route} HTTP[server]").into())
}
