//! Tools for operators: `sabre tools bucket ls | inspect | verify | mark | cleanup`.
//!
//! | question | here |
//! |---|---|
//! | which blocks are there | `ls`, `inspect` |
//! | is what they hold whole | `verify` |
//! | keep a block out of compaction or downsampling, have it deleted, or undo that | `mark` |
//! | delete what is marked long enough, and uploads given up | `cleanup` |
//!
//! Answers go to the writer that [`run`](run::run) is given, one line or table at a time; what went wrong is an error.

mod bucket;
mod cleanup;
mod error;
pub mod flags;
mod inspect;
mod ls;
mod mark;
pub mod run;
#[cfg(test)]
mod tests;
mod verify;

pub use error::ToolError;
