//! The one binary: `sabre sidecar | store | compact | tools | es-retention | demo`.
//!
//! Here are only the table of commands and the start of the process; what a command does is in its room.

mod check;
mod cli;
#[cfg(test)]
mod compatibility;
mod demo;
mod heap;
mod refusals;

use std::process::ExitCode;

/// Keeps memory steady under buffers that come and go, which the system's allocator does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
