//! Tests that cross components, and those against real servers. The tests are in `tests/`; here is what they share.

pub mod in_process;
pub mod metadata;
pub mod process;
pub mod prometheus;
pub mod samples;
