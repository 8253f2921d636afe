//! What goes wrong when a cluster is asked.

use serde::Deserialize;
use serde_json::Value;

use super::transport::{Response, TransportError};

/// The longest text of a cluster that is repeated in an error.
const MAX_REASON_CHARS: usize = 400;

/// Why a question has no usable answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CallError {
    /// No answer came. Unless nothing was sent, the request may have had its effect.
    #[error("{request}: {source} ({attempts} tried)")]
    NoAnswer {
        /// Method and path.
        request: String,
        /// How often it was sent.
        attempts: u32,
        /// The last reason.
        source: TransportError,
    },
    /// The cluster, or something before it, refused.
    #[error("{request}: status {status}, {kind}: {reason}")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The engine's word for it, such as `index_not_found_exception`; `unknown` when it is not the engine that
        /// answered.
        kind: String,
        /// The engine's sentence.
        reason: String,
    },
    /// The answer is not what the API promises.
    #[error("{request}: the answer cannot be read: {problem}")]
    Unreadable {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The process was told to stop.
    #[error("stopped")]
    Stopped,
}

impl CallError {
    pub(crate) fn refused(request: String, response: &Response) -> Self {
        let (kind, reason) = describe(&response.body);
        CallError::Refused {
            request,
            status: response.status,
            kind,
            reason,
        }
    }

    /// Whether the engine itself gave this as the reason, in the error or in the text of one that wraps it.
    pub fn is(&self, wanted: &str) -> bool {
        match self {
            CallError::Refused { kind, .. } => kind == wanted,
            _ => false,
        }
    }

    /// Whether another snapshot, clean-up or deletion is in the way.
    pub fn is_busy(&self) -> bool {
        match self {
            CallError::Refused { kind, reason, .. } => {
                kind == "concurrent_snapshot_execution_exception"
                    || kind == "snapshot_in_progress_exception"
                    || reason.contains("concurrent_snapshot_execution_exception")
            }
            _ => false,
        }
    }

    /// Whether the request may have had its effect all the same.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            CallError::NoAnswer { source, .. } => matches!(
                source,
                TransportError::Timeout(_) | TransportError::Cut(_) | TransportError::TooLarge { .. }
            ),
            CallError::Refused { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
            CallError::Unreadable { .. } => true,
            CallError::Stopped => false,
        }
    }

    /// Whether whatever is asked next will fail the same way.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, CallError::NoAnswer { .. })
    }
}

/// The two shapes of an engine's error, and those of gateways before it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: Value,
    message: Value,
    #[serde(rename = "Message")]
    amazon_message: Value,
}

/// Word and sentence of an error body, whatever was sent.
pub(crate) fn describe(body: &[u8]) -> (String, String) {
    let unknown = "unknown".to_owned();
    let parsed = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
    if let Value::Object(error) = &parsed.error {
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("type");
        let cause = error.get("caused_by").and_then(|cause| cause.get("reason"));
        let cause = cause.and_then(Value::as_str).unwrap_or_default();
        let reason = match (text("reason"), cause) {
            (reason, "") => reason.to_owned(),
            (reason, cause) => format!("{reason}: {cause}"),
        };
        let kind = if kind.is_empty() { unknown } else { shorten(kind) };
        return (kind, shorten(&reason));
    }
    for value in [&parsed.error, &parsed.message, &parsed.amazon_message] {
        if let Value::String(reason) = value {
            return (unknown, shorten(reason));
        }
    }
    (unknown, shorten(&String::from_utf8_lossy(body)))
}

/// One line of bounded length.
fn shorten(text: &str) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = one_line.take(MAX_REASON_CHARS).collect();
    if text.chars().nth(MAX_REASON_CHARS).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::describe;

    #[test]
    fn every_shape_of_error_is_read() {
        for (body, kind, reason) in [
            (
                r#"{"error":{"root_cause":[],"type":"index_not_found_exception","reason":"no such index [a]"},"status":404}"#,
                "index_not_found_exception",
                "no such index [a]",
            ),
            (
                r#"{"error":{"type":"snapshot_exception","reason":"a","caused_by":{"type":"x","reason":"b"}}}"#,
                "snapshot_exception",
                "a: b",
            ),
            (
                r#"{"error":"no handler found for uri"}"#,
                "unknown",
                "no handler found for uri",
            ),
            (
                r#"{"Message":"User is not authorized"}"#,
                "unknown",
                "User is not authorized",
            ),
            (
                r#"{"message":"504 GATEWAY_TIMEOUT"}"#,
                "unknown",
                "504 GATEWAY_TIMEOUT",
            ),
            ("<html>\nBad Gateway", "unknown", "<html> Bad Gateway"),
            ("", "unknown", ""),
            ("[1]", "unknown", "[1]"),
        ] {
            assert_eq!(
                describe(body.as_bytes()),
                (kind.to_owned(), reason.to_owned()),
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_body_gives_one_short_line(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (kind, reason) = describe(&body);
            prop_assert!(kind.chars().count() <= 403 && reason.chars().count() <= 403);
            prop_assert!(!reason.contains('\n'));
        }
    }
}
