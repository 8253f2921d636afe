//! Why there is no answer.

use crate::source::SourceFailure;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryFailure {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// What is wrong, in Prometheus' words where it has some.
    pub message: String,
}

/// Prometheus' types of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is wrong.
    BadData,
    /// The query cannot be evaluated, or a limit forbids it.
    Execution,
    /// It took too long.
    Timeout,
    /// Whoever asked is gone.
    Canceled,
    /// Something here or in a store went wrong.
    Internal,
}

impl FailureKind {
    /// The `errorType` of an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::BadData => "bad_data",
            FailureKind::Execution => "execution",
            FailureKind::Timeout => "timeout",
            FailureKind::Canceled => "canceled",
            FailureKind::Internal => "internal",
        }
    }
}

impl QueryFailure {
    /// A failure with its text.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> QueryFailure {
        QueryFailure {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> QueryFailure {
        QueryFailure::new(FailureKind::BadData, message)
    }

    pub(crate) fn execution(message: impl Into<String>) -> QueryFailure {
        QueryFailure::new(FailureKind::Execution, message)
    }
}

impl From<SourceFailure> for QueryFailure {
    /// As for everything but instant queries, for which Thanos calls what stores do wrong internal.
    fn from(failure: SourceFailure) -> QueryFailure {
        let kind = match &failure {
            SourceFailure::Store(_) | SourceFailure::Limit(_) => FailureKind::Execution,
            SourceFailure::Timeout(_) => FailureKind::Timeout,
            SourceFailure::Cancelled => FailureKind::Canceled,
        };
        QueryFailure::new(kind, failure.to_string())
    }
}
