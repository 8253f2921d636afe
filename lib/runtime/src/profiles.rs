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

use std::{io::Write as _, sync::OnceLock};

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use crate::budget::Budget;

/// The budget of the process, which heap profiles are charged to.
static BUDGET: OnceLock<Budget> = OnceLock::new();

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
    /// It was begun and came to nothing.
    #[error("{0}")]
    Failed(String),
}

/// Takes the budget of the process. A second call changes nothing.
pub(crate) fn charge_to(budget: &Budget) {
    let _ = BUDGET.set(budget.clone());
}

/// What profiles are charged to: the budget of the process, if it has one.
pub(crate) fn budget() -> Budget {
    BUDGET.get().cloned().unwrap_or_else(Budget::unlimited)
}

/// As it is sent.
fn packed(profile: &message::Profile) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(&profile.encode_to_vec());
    written
        .and_then(|()| encoder.finish())
        .map_err(|error| format!("the profile cannot be compressed: {error}"))
}
