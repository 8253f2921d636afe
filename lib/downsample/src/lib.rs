//! Downsampling, pure: aggregate chunks of 5 minutes and 1 hour from raw and aggregate chunks, byte for byte as
//! Thanos makes them.
//!
//! Everything here works on one series; series know nothing of one another, so any number of threads may share a
//! block. [`downsample_series`] takes the chunks of a series at once, [`Downsampler`] one after the other.
//!
//! How a series is cut into chunks depends on how many samples it has in all, so its samples are known only when
//! they have been read. The sampler guesses from the headers and reads again in the rare case that the guess was
//! wrong where it matters.

//!
//! There are no averages in a chunk: readers divide the sum by the count. Sums have the bytes that Thanos writes, which
//! adds one sample after the other without compensation, so each of `count - 1` additions and the division may err by half a
//! unit in the last place. For finite values whose sum is finite the average lies within `count` times half the distance from
//! 1 to the next float, relative to the greatest value by size, of the least and the greatest of its window: less than four
//! units in the last place for five samples, and more for long windows. A better summation would keep to four units, and
//! write other bytes.

mod aggregates;
mod batching;
mod counter_resets;
mod delta_sums;
mod error;
mod float_chunk;
mod floats;
#[doc(hidden)]
pub mod fuzz;
mod histogram;
mod histogram_chunk;
mod histogram_windows;
mod histograms;
mod resolution;
mod run;
mod sampler;

pub use counter_resets::CounterResets;
pub use error::DownsampleError;
pub use resolution::Resolution;
pub use sampler::{Attempt, Downsampler, downsample_series};
