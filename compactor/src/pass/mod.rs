//! What is done in turn: compaction, downsampling, retention, cleaning.

mod cleaning;
mod compaction;
mod downsampling;
mod failure;
mod iteration;
mod marking;
mod proving;
mod retention;

pub(crate) use proving::Proving;
