//! Plans carried out: the asynchronous half of jobs, which does all I/O.
//!
//! A result appears in the bucket in the order segments, index, `meta.json`; only then are its sources marked. Stopped
//! between any two requests, a job leaves a block without `meta.json`, which nobody reads, or a whole block whose
//! sources are found to be covered by the next sync.

mod compact;
mod downsample;
mod job;
mod meta;
mod upload;
mod verify;

pub(crate) use compact::{Compacted, Compaction, compact, mark_for_deletion};
pub(crate) use downsample::downsample;
pub(crate) use job::{JobContext, JobOptions, LEAST_BUDGET_BYTES};
pub(crate) use verify::verify_block;
