//! The one error of this crate: what kind of failure, at which key, during which operation.

use std::{error::Error as StdError, fmt, time::Duration};

/// What came back from a bucket.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such object, or no such bucket.
    NotFound,
    /// The credentials are missing, wrong, expired or do not allow this.
    AccessDenied,
    /// The server asks for fewer requests.
    Throttled,
    /// The server failed or could not be reached; asking again may help.
    Unavailable,
    /// No answer within the deadline.
    Timeout,
    /// Fewer bytes arrived than were promised.
    Truncated,
    /// The object is larger than the caller is ready to take.
    TooLarge,
    /// The request makes no sense: a bad key, a range past the end, a setting the server refuses.
    Invalid,
    /// Anything else, local I/O errors among it.
    Other,
}

/// The operations of a bucket, by the names that the metrics use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Listing.
    Iter,
    /// Reading a whole object.
    Get,
    /// Reading a part of an object.
    GetRange,
    /// Asking whether there is an object.
    Exists,
    /// Writing an object, by one request or many.
    Upload,
    /// Deleting an object.
    Delete,
    /// Size and time of an object.
    Attributes,
}

/// A failed operation on a bucket.
#[derive(Debug)]
pub struct Error(Box<Failure>);

#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    operation: Operation,
    bucket: String,
    key: String,
    message: String,
    retry_after: Option<Duration>,
    is_lasting: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Operation {
    /// All of them, in the order in which the metrics list them.
    pub const ALL: [Self; 7] = [
        Self::Iter,
        Self::Get,
        Self::GetRange,
        Self::Exists,
        Self::Upload,
        Self::Delete,
        Self::Attributes,
    ];

    /// The value of the metrics label `operation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Iter => "iter",
            Self::Get => "get",
            Self::GetRange => "get_range",
            Self::Exists => "exists",
            Self::Upload => "upload",
            Self::Delete => "delete",
            Self::Attributes => "attributes",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// An error of `operation` on `key` in `bucket`; `message` says what happened and, if known, what to do.
    pub fn new(
        kind: ErrorKind,
        operation: Operation,
        bucket: &str,
        key: &str,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Failure {
            kind,
            operation,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            message: message.into(),
            retry_after: None,
            is_lasting: false,
            source: None,
        }))
    }

    /// There is no object `key`.
    pub fn not_found(operation: Operation, bucket: &str, key: &str) -> Self {
        Self::new(
            ErrorKind::NotFound,
            operation,
            bucket,
            key,
            "the object does not exist",
        )
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the pause that the server asked for.
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// Says that it will hardly pass within seconds, as when the server's name is not known.
    #[must_use]
    pub fn with_little_hope(mut self) -> Self {
        self.0.is_lasting = true;
        self
    }

    /// The same error seen from a bucket that calls the object `key`.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.0.key);
        self
    }

    /// The same error as part of another operation.
    #[must_use]
    pub fn with_operation(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    /// Adds to the message.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        self.0.message = format!("{}; {note}", self.0.message);
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The bucket, as [`crate::Bucket::name`] has it.
    pub fn bucket(&self) -> &str {
        &self.0.bucket
    }

    /// The key, or the listed prefix.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// How long the server asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// True if it may pass by itself, but hardly within seconds.
    pub fn is_lasting(&self) -> bool {
        self.0.is_lasting
    }

    /// True if there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// True if the credentials do not allow the operation.
    pub fn is_access_denied(&self) -> bool {
        self.0.kind == ErrorKind::AccessDenied
    }

    /// True if the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{Throttled, Timeout, Truncated, Unavailable};
        matches!(self.0.kind, Throttled | Timeout | Truncated | Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            operation,
            bucket,
            key,
            message,
            ..
        } = &*self.0;
        write!(f, "{operation} of {key:?} in bucket {bucket:?}: {message}")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_why() {
        let error = Error::new(
            ErrorKind::Throttled,
            Operation::GetRange,
            "b",
            "k/index",
            "503 SlowDown",
        )
        .with_source(std::io::Error::other("inner"))
        .with_retry_after(Duration::from_secs(1));
        assert_eq!(
            error.to_string(),
            "get_range of \"k/index\" in bucket \"b\": 503 SlowDown"
        );
        assert_eq!(error.source().unwrap().to_string(), "inner");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn only_passing_failures_are_retryable() {
        let retryable = |kind| Error::new(kind, Operation::Get, "b", "k", "").is_retryable();
        for kind in [
            ErrorKind::Throttled,
            ErrorKind::Unavailable,
            ErrorKind::Timeout,
            ErrorKind::Truncated,
        ] {
            assert!(retryable(kind), "{kind:?}");
        }
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::AccessDenied,
            ErrorKind::TooLarge,
            ErrorKind::Invalid,
            ErrorKind::Other,
        ] {
            assert!(!retryable(kind), "{kind:?}");
        }
    }

    #[test]
    fn stays_small() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
