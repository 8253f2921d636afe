//! Queries from request to answer: what is asked of all stores, deduplicated, and evaluated by lib/promql.
//!
//! | file | holds |
//! |---|---|
//! | `request` | what can be asked |
//! | `answer` | what comes back, with warnings and what it cost |
//! | `failure` | why nothing comes back, by Prometheus' types of errors |
//! | `config`, `plan` | what the flags say, and what a request means with them |
//! | `engine`, `places` | the gate, the deadline, and who still waits |
//! | `job` | a query on its thread |
//! | `bridge`, `feed` | series of the stores on their way to that thread |
//! | `foresight`, `ahead` | selects that are opened before the evaluator comes to them |
//! | `ledger` | the memory of a query |
//! | `names` | series, names and values of labels |
//!
//! lib/promql is synchronous and runs on a thread for blocking work. It asks the bridge for the series of a selector; a
//! task reads them from the stores and hands them on through a short channel. So what is slow holds up what is fast, and
//! memory depends on the width of the channel and not on the length of the answer.

mod ahead;
mod answer;
mod bridge;
mod config;
mod engine;
mod failure;
mod feed;
mod foresight;
mod gate;
mod job;
mod ledger;
mod names;
mod places;
mod plan;
mod request;

pub use answer::{Answer, Charged, NamesAnswer, SeriesAnswer, Statistics};
pub use config::EngineConfig;
pub use engine::Engine;
pub use failure::{FailureKind, QueryFailure};
pub use request::{QueryRequest, QueryTimes, RequestContext, Resolution, SeriesRequest};

#[cfg(test)]
mod tests;
