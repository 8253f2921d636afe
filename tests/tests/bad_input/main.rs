//! Bad input, as one table. Each row says what is wrong, where it shows, and what is said of it; the code around the
//! rows holds every row to the same: the error or the log line names block and file and place, or the key, or the flag;
//! all other blocks are served meanwhile; what is in the bucket and on disk stays; the memory budget is whole again; and
//! once the trouble ends, so does its effect.
//!
//! | what is bad | rows |
//! |---|---|
//! | an index, a segment or a meta.json that is cut or has a flipped bit; a block without chunks; meta.json of version 2 | [`blocks`] in a bucket, [`local_blocks`] in Prometheus' directory |
//! | a block that disappears while it is read | [`vanishing`] |
//! | a bucket that answers 403, 503 or half a body, or hangs | [`buckets`] |
//! | an objstore.config with an unknown key, a wrong type or an unset `$(VAR)` | [`configs`] |
//! | a regexp that does not parse, or explodes | [`regexps`] |
//! | ten years of everything; a client that stops reading | [`greed`] |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed step fails the test"
)]

mod blocks;
mod buckets;
mod configs;
mod greed;
mod local_blocks;
mod regexps;
mod sidecar;
mod support;
mod vanishing;
