//! Queries from request to answer: what is asked of all stores, deduplicated, and evaluated by lib/promql.
//!
//! | file | holds |
//! |---|---|
//! | `request` | what can be asked |
//! | `answer` | what comes back, with warnings and what it cost |
//! | `failure` | why nothing comes back, by Prometheus' types of errors |

mod answer;
mod failure;
mod request;

pub use answer::{Answer, NamesAnswer, SeriesAnswer, Statistics};
pub use failure::{FailureKind, QueryFailure};
pub use request::{QueryRequest, QueryTimes, RequestContext, Resolution, SeriesRequest};
