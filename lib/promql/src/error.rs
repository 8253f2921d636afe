//! Why a query has no result.

use crate::budget::OverBudget;
use crate::parser::ParseError;
use crate::source::SourceError;

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The times asked for make no sense.
    #[error("{0}")]
    Times(&'static str),
    /// The query gives what a request of its kind cannot have.
    #[error("{0}")]
    Type(String),
    /// The series cannot be had.
    #[error("expanding series: {0}")]
    Source(#[from] SourceError),
    /// The series do not fit the query, in Prometheus' words.
    #[error("{0}")]
    Evaluation(String),
    /// The query needs more memory than there is.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// Whoever asked does not wait any longer.
    #[error("query was canceled in expression evaluation")]
    Cancelled,
}

impl QueryError {
    pub(crate) fn evaluation(text: impl Into<String>) -> QueryError {
        QueryError::Evaluation(text.into())
    }

    /// Two series of a result have the same labels.
    pub(crate) fn same_labelset() -> QueryError {
        QueryError::evaluation("vector cannot contain metrics with the same labelset")
    }
}

/// The result of a part of the evaluation.
pub(crate) type Evaluated<T> = Result<T, QueryError>;
