//! The compactor: compacts, deduplicates and downsamples the blocks of a bucket, retains and cleans.
//!
//! | question | here |
//! |---|---|
//! | what is to be done | [`plan`], pure values |
//! | how are blocks read and written | `source`, `merge`, `execute`: streams from the bucket and back |
//! | in which order, and what if it fails | `pass`, `error`, `quarantine` |
//! | how does it run | [`flags`], [`run`](mod@run) |
//!
//! It may work on a bucket that Thanos wrote, or after it. Nothing of a block's chunks is copied to local disk, and what is
//! held in memory does not grow with blocks. A broken block is left alone by the process and never stops another one.

mod compactor;
mod config;
mod downsampling;
mod error;
mod execute;
pub mod flags;
#[doc(hidden)]
pub mod fuzz;
mod leftovers;
mod look;
mod merge;
mod metrics;
mod pages;
mod pass;
pub mod plan;
mod progress;
mod quarantine;
pub mod run;
mod source;
mod status;
#[cfg(test)]
mod tests;
mod unclear;
mod verify;

use std::sync::Arc;

pub use compactor::{Compactor, CompactorConfig};
pub use config::{ConfigError, check_flags};
pub use source::Defect;
pub use verify::{BlockReport, BlockVerifier};

/// Tells the time, in milliseconds since the epoch, when it is asked.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;
