//! Why a request is refused, in the envelope of Prometheus.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::json::text;
use crate::evaluate::{FailureKind, QueryFailure};

/// A refusal: its type and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiFailure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

impl ApiFailure {
    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::BadData,
            message: message.into(),
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Internal,
            message: message.into(),
        }
    }

    /// The same, said of a parameter: `'dedup' parameter: ...`.
    pub(crate) fn of_parameter(self, name: &str) -> Self {
        Self {
            kind: self.kind,
            message: format!("'{name}' parameter: {}", self.message),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.kind {
            FailureKind::BadData => StatusCode::BAD_REQUEST,
            FailureKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            FailureKind::Canceled | FailureKind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            FailureKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.message.len().saturating_add(64));
        out.extend_from_slice(br#"{"status":"error","errorType":"#);
        text::string(&mut out, self.kind.as_str());
        out.extend_from_slice(br#","error":"#);
        text::string(&mut out, &self.message);
        out.push(b'}');
        out
    }
}

impl From<QueryFailure> for ApiFailure {
    fn from(failure: QueryFailure) -> Self {
        Self {
            kind: failure.kind,
            message: failure.message,
        }
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (self.status(), headers, self.body()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_of_an_error_is_prometheus_and_has_its_status() {
        let failure = ApiFailure::bad_data("cannot parse \"abc\"");
        assert_eq!(
            String::from_utf8(failure.body()).unwrap(),
            r#"{"status":"error","errorType":"bad_data","error":"cannot parse \"abc\""}"#
        );
        let status_of = |kind| {
            let message = String::new();
            ApiFailure { kind, message }.status().as_u16()
        };
        assert_eq!(status_of(FailureKind::BadData), 400);
        assert_eq!(status_of(FailureKind::Execution), 422);
        assert_eq!(status_of(FailureKind::Canceled), 503);
        assert_eq!(status_of(FailureKind::Timeout), 503);
        assert_eq!(status_of(FailureKind::Internal), 500);
    }
}
