//! The querier: fans out over gRPC to StoreAPIs, merges, deduplicates replicas, evaluates PromQL and serves Prometheus'
//! HTTP API.

pub mod endpoints;
pub mod dedup;
pub mod evaluate;
pub mod fanout;
pub mod http;
mod page;
pub mod source;
#[cfg(test)]
mod testing;

pub use source::{SelectOptions, SelectRequest, SeriesItem, SeriesStream, SourceFailure, StoreSource};
