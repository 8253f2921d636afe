//! Downsampling, pure: aggregate chunks of 5 minutes and 1 hour from raw and aggregate chunks, byte for byte as
//! Thanos makes them.
//!
//! Everything here works on one series; series know nothing of one another, so any number of threads may share a
//! block. [`downsample_series`] takes the chunks of a series at once, [`Downsampler`] one after the other.
//!
//! How a series is cut into chunks depends on how many samples it has in all, so its samples are known only when
//! they have been read. The sampler guesses from the headers and reads again in the rare case that the guess was
//! wrong where it matters.

mod aggregates;
mod batching;
mod counter_resets;
mod error;
mod float_chunk;
mod floats;
#[doc(hidden)]
pub mod fuzz;
mod histogram;
mod histogram_chunk;
mod histograms;
mod resolution;
mod run;
mod sampler;

pub use counter_resets::CounterResets;
pub use error::DownsampleError;
pub use resolution::Resolution;
pub use sampler::{Attempt, Downsampler, downsample_series};
