//! The synchronous half of a job: from the windows of its sources to the pieces of its results.
//!
//! It runs on one thread that may block, and hands what computes to the pool. It touches neither the bucket nor the
//! clock: both ends are channels, and closing one ends it.

mod check;
mod error;
mod pipeline;
mod run;
mod series;
mod sink;

pub(crate) use check::{Findings, check};
pub(crate) use error::JobError;
pub(crate) use pipeline::SeriesWork;
pub(crate) use run::{Job, JobProgress, Outcome, Output, Transform, run};
pub(crate) use sink::{OpenScratch, Piece, ScratchFiles, SinkOptions, SinkSummary, open_scratch};
