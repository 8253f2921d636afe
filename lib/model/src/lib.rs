//! The words everything else is written in: labels, matchers, block names, durations, times.
//!
//! | module | holds |
//! |---|---|
//! | [`labels`] | [`Labels`]: sorted, unique; order of series, hash, group keys |
//! | [`matcher`] | [`Matcher`]: `=`, `!=`, `=~`, `!~`, with fast paths for lists and texts with gaps |
//! | [`go_regex`] | Go's regular expressions on the `regex` crate, with captures and templates |
//! | [`selector`] | `up{job="a"}` as text |
//! | [`relabel`] | relabel configurations |
//! | [`block_id`] | [`BlockId`]: ULIDs |
//! | [`duration`] | durations of Go and of Prometheus |
//! | [`time`] | RFC 3339, and times relative to now |
//! | [`series_order`] | the order of series once labels were added to all of them |
//! | [`shard`] | which series belong to a shard of a request |
//! | [`size`] | sizes in bytes as flags give them |
//! | [`quote`] | quoted strings of Go and of PromQL |
//!
//! All of it is pure: input is text, time is an argument (`now_ms`), nothing is read, logged or waited for. Texts come
//! from queries, flags, buckets and peers, so every parser here is total: it gives a value or an error that says what is
//! wrong and where, and it bounds what it builds by what it was given. Times and durations are `i64` milliseconds unless a
//! name says otherwise.
//!
//! What is printed is what Go, Prometheus and Thanos print, to the byte, because it ends up in file names, metrics, URLs
//! and error texts that people compare.

pub mod block_id;
pub mod duration;
pub mod go_regex;
pub mod labels;
pub mod matcher;
pub mod quote;
pub mod relabel;
pub mod selector;
pub mod series_order;
pub mod shard;
pub mod size;
pub mod time;

#[doc(hidden)]
pub mod fuzz;

pub use block_id::{BlockId, BlockIdError};
pub use labels::{Label, Labels, LabelsError, group_key};
pub use matcher::{MatchKind, Matcher, MatcherError};
