//! What the API needs of the evaluator.

use crate::evaluate::{Answer, Engine, NamesAnswer, QueryFailure, QueryRequest, SeriesAnswer, SeriesRequest};

/// Answers queries. Dropping a future ends the work.
#[async_trait::async_trait]
pub trait Queries: std::fmt::Debug + Send + Sync + 'static {
    /// Evaluates a query.
    ///
    /// # Errors
    /// The query is wrong, its series cannot be had, or it takes too much.
    async fn query(&self, request: &QueryRequest) -> Result<Answer, QueryFailure>;

    /// Finds series.
    ///
    /// # Errors
    /// As [`Self::query`].
    async fn series(&self, request: &SeriesRequest) -> Result<SeriesAnswer, QueryFailure>;

    /// Names of labels.
    ///
    /// # Errors
    /// As [`Self::query`].
    async fn label_names(&self, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure>;

    /// Values of a label.
    ///
    /// # Errors
    /// As [`Self::query`].
    async fn label_values(&self, label: &str, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure>;
}

#[async_trait::async_trait]
impl Queries for Engine {
    async fn query(&self, request: &QueryRequest) -> Result<Answer, QueryFailure> {
        Self::query(self, request).await
    }

    async fn series(&self, request: &SeriesRequest) -> Result<SeriesAnswer, QueryFailure> {
        Self::series(self, request).await
    }

    async fn label_names(&self, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        Self::label_names(self, request).await
    }

    async fn label_values(&self, label: &str, request: &SeriesRequest) -> Result<NamesAnswer, QueryFailure> {
        Self::label_values(self, label, request).await
    }
}
