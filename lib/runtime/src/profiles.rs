//! Profiles of this process in the format of pprof: where the time of the CPU goes, and who holds memory.
//!
//! Nothing is sampled until somebody asks, and one profile of a kind is taken at a time. What is sampled are addresses;
//! they get their names here, from the symbols of the program, so that whoever reads a profile needs no copy of it.

mod build;
pub(crate) mod cpu;
pub mod heap;
mod mappings;
pub mod message;
mod needs;
mod symbols;

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

/// Why there is no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// One of the kind is being taken.
    #[error("a {0} profile is already being taken; try again when it has ended")]
    InUse(&'static str),
    /// Something is missing that it takes, which may be had later.
    #[error("no {kind} profile can be taken: {problem}")]
    Missing {
        /// `CPU` or `heap`.
        kind: &'static str,
        /// What, and what to do.
        problem: String,
    },
}

/// As it is sent.
fn packed(profile: &message::Profile) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(&profile.encode_to_vec());
    written
        .and_then(|()| encoder.finish())
        .map_err(|error| format!("the profile cannot be compressed: {error}"))
}
