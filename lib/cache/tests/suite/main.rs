//! Clients of caches on servers that work, die and lie, and on real ones that the environment names.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed step fails the test"
)]

mod external;
mod fake;
mod lies;
mod memcached;
mod redis;
