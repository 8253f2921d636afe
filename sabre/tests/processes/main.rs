//! What holds of the program as a process, whichever component it runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it cannot try"
)]

mod bare_root;
mod canary;
mod check;
#[path = "../../src/compatibility/lists.rs"]
mod lists;
mod profiles;
mod small;
mod support;
mod tls;
mod traces;
