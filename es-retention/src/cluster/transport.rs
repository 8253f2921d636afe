//! One request to the cluster and its answer, below everything that knows what they mean.
//!
//! A [`Transport`] sends exactly one request: it does not retry, follow redirects, or look at the status. It signs what it
//! sends, byte by byte, each time it is asked. Who may try again is decided above it ([`crate::cluster`]), where it is
//! known whether doing a thing twice does harm.

use std::{fmt, time::Duration};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The longest answer that is read unless a request says otherwise.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// What stands in a path or query as it is: RFC 3986's unreserved characters, and `*` and `,`, which engines read as
/// pattern and list. All other bytes are percent-encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'*')
    .remove(b',');

/// What a request does with its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Asks whether it is there.
    Head,
    /// Creates or replaces.
    Put,
    /// Everything else. Amazon's service ignores the query of signed requests of this kind, so they have none.
    Post,
    /// Deletes.
    Delete,
}

/// One request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What it does.
    pub method: Method,
    /// The path as it goes over the wire: begins with `/`, segments percent-encoded once, no query. A prefix that the
    /// endpoint has is put before it by the transport.
    pub path: String,
    /// The query as it goes over the wire, without the `?`; empty for none.
    pub query: String,
    /// JSON; `None` for no body, and then no `Content-Type` either.
    pub body: Option<Bytes>,
    /// How long the whole exchange may take, connecting included.
    pub timeout: Duration,
    /// The longest answer that is read; a longer one is [`TransportError::TooLarge`].
    pub max_response_bytes: usize,
}

/// One answer, of any status.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The body, decompressed.
    pub body: Bytes,
    /// `Retry-After` when it was given in seconds.
    pub retry_after: Option<Duration>,
}

/// Why there is no answer. Texts carry no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent: name resolution, connecting, or TLS failed. Asking again does no harm. The text begins with the
    /// address.
    #[error("cannot connect to {0}")]
    Connect(String),
    /// No whole answer within the time; the request may have had its effect.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection broke while the request was under way; it may have had its effect.
    #[error("connection lost: {0}")]
    Cut(String),
    /// The answer is longer than [`Request::max_response_bytes`].
    #[error("the answer is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// There are no credentials to sign with, for now: asking again may help.
    #[error("no credentials: {0}")]
    Credentials(String),
    /// The request cannot be sent at all, whatever is tried.
    #[error("cannot be sent: {0}")]
    Unsendable(String),
}

/// Sends requests, one at a time or many at once.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends one request, once, and reads the whole answer.
    ///
    /// # Errors
    /// When there is no answer; an answer of any status is `Ok`.
    async fn send(&self, request: Request) -> Result<Response, TransportError>;
}

impl Method {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

impl Request {
    /// Makes a request without query and body. Each segment is percent-encoded, so a name can never become two
    /// segments; `*` and `,` stay as they are.
    pub fn new(method: Method, segments: &[&str], timeout: Duration) -> Self {
        let mut path = String::new();
        for segment in segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, ENCODED));
        }
        if path.is_empty() {
            path.push('/');
        }
        Self {
            method,
            path,
            query: String::new(),
            body: None,
            timeout,
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.extend(utf8_percent_encode(name, ENCODED));
        self.query.push('=');
        self.query.extend(utf8_percent_encode(value, ENCODED));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Some(Bytes::from(body.to_string()));
        self
    }
}

impl fmt::Debug for Request {
    /// Shows no body: settings of a repository may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.query.is_empty() { "" } else { "?" };
        write!(
            formatter,
            "{} {}{separator}{}",
            self.method.as_str(),
            self.path,
            self.query
        )
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("retry_after", &self.retry_after)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment_and_lists_and_patterns_stay_readable() {
        let request = Request::new(Method::Get, &["log-*,a/b", "_ä?#"], Duration::from_secs(1))
            .parameter("h", "a,b c")
            .parameter("x", "1&2");
        assert_eq!(
            request.to_string(),
            "GET /log-*,a%2Fb/_%C3%A4%3F%23?h=a,b%20c&x=1%262"
        );
        let root = Request::new(Method::Head, &[], Duration::from_secs(1));
        assert_eq!(root.to_string(), "HEAD /");
    }

    #[test]
    fn debug_shows_no_body() {
        let request = Request::new(Method::Put, &["_snapshot", "r"], Duration::from_secs(1))
            .json(&serde_json::json!({"secret_key": "hunter2"}));
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
