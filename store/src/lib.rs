//! The store gateway: StoreAPI answered from blocks in a bucket.
//!
//! Bytes flow, samples do not: postings, series entries and chunks are read by ranges, verified, merged by labels and
//! copied once into the answer, which streams. What a request holds is a window of the answer, reserved from the
//! process's budget before it starts.
//!
//! | question | here |
//! |---|---|
//! | which blocks are served | `sync`, `view`, `handle`, `header_room`, `segments`, `backoff`, `quarantine` |
//! | which of them answer a request | `block_set`, `view` |
//! | which series match | `postings_plan` (what to read), `postings_cost` (what not to), `postings` (reading it), `refs` |
//! | which labels and chunks do these have | `series_part`, `series_stream`, `series_decode`, `entries`, `label_table`, `warm` |
//! | what is the answer's order | `key`, `key_writer`, `overlay`, `arrange`, `merge`, `merged` |
//! | what did earlier requests read of indexes | `index_cache` |
//! | what if a block vanishes meanwhile | `gateway`, `progress` |
//! | which bytes hold the chunks | `ranges`, `partition`, `fetch`, `prefetch` |
//! | how do they go out | `aggregates`, `encode`, `encoded_labels`, `series` |
//! | who may, and how much | `gateway`, `gate`, `admission`, `small_lane`, `late_memory`, `long_room`, `limits` |
//! | which blocks are there, for a viewer | `blocks_api` |
//! | how does it start | [`flags`], [`run`] |

mod admission;
mod aggregates;
mod arrange;
mod backoff;
mod batch_width;
mod block;
mod block_set;
mod blocks_api;
mod config;
mod config_flags;
mod context;
mod cpu;
mod encode;
mod encoded_labels;
mod entries;
mod entry;
mod error;
mod fetch;
pub mod flags;
mod gate;
mod gateway;
mod handle;
mod header_room;
mod index_cache;
mod key;
mod key_writer;
mod label_calls;
mod label_table;
mod late_memory;
mod limits;
mod long_room;
mod merge;
mod merged;
mod metrics;
mod outlet;
mod overlay;
mod partition;
mod picks;
mod postings;
mod postings_cost;
mod postings_plan;
mod prefetch;
mod progress;
mod quarantine;
mod ranges;
mod refs;
mod request;
pub mod run;
mod segments;
mod series;
mod series_decode;
mod series_part;
mod series_stream;
mod service;
mod small_lane;
mod stats;
mod sync;
mod view;
mod warm;

pub use config::{HeaderPolicy, StoreConfig};
pub use config_flags::{ConfigError, check_flags};
pub use error::RequestError;
pub use gateway::StoreGateway;
pub use index_cache::{EnabledItems, IndexCache, IndexCacheConfig, IndexCacheError};
pub use limits::{LimitExceeded, LimitSettings};
pub use metrics::StoreMetrics;
pub use postings_cost::CostRule;
pub use sync::SyncOutcome;
