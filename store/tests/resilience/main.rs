//! What a store does when its bucket, its caches or its callers do not behave.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed step fails the test"
)]

mod broken;
mod caches;
#[path = "../common/mod.rs"]
mod common;
mod data;
mod external;
mod faults;
mod gate;
mod headers;
mod label_faults;
mod long_labels;
mod selection;
mod settings;
mod succession;
mod touched;
