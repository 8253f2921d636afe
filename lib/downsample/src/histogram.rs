//! Arithmetic of native histograms with float counts, as Prometheus has it: bits and layouts of the results are
//! what ends up in chunks.

mod add;
mod bounds;
mod custom;
mod reset;
mod side;
mod zero;

#[cfg(test)]
mod tests;

pub(crate) use add::{Sign, add, is_plain, joined_hint, reduced};
pub(crate) use reset::is_reset;

/// Histograms with given bounds and with exponential ones do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MixedBuckets;
