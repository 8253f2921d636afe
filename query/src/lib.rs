//! The querier: fans out over gRPC to StoreAPIs, merges, deduplicates replicas, evaluates PromQL and serves Prometheus'
//! HTTP API.

pub mod config;
pub mod dedup;
pub mod discovery;
pub mod endpoints;
pub mod evaluate;
pub mod fanout;
pub mod flags;
#[doc(hidden)]
pub mod fuzz;
pub mod grpc;
pub mod http;
pub mod metrics;
mod page;
mod raw_codec;
pub mod run;
pub mod source;
#[cfg(test)]
mod testing;
mod watched;

pub use source::{SelectOptions, SelectRequest, SeriesItem, SeriesStream, SourceFailure, StoreSource};
