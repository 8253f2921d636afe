//! Merging the series of several blocks into one.
//!
//! | step | here |
//! |---|---|
//! | the texts of all blocks, each once | [`merge_symbols`] |
//! | which blocks have the next series | [`SeriesOrder`] |
//! | what is deleted, or out of range | [`Trim`] |
//! | one list of chunks out of several | [`ChunkMerge`], [`merge_chunks`] |
//!
//! Nothing here reads or waits: a merge says what it wants next and is given it, so that the caller decides how
//! bytes are fetched, and holds no more of a series than the chunks that overlap at a time.

mod aggregates;
mod chain;
mod chain_run;
mod chunks;
mod cursor;
mod error;
mod fold;
mod heap;
mod penalty_run;
mod run;
mod series_order;
mod symbols;
mod trim;

pub use chunks::{ChunkMerge, MergeStep, OverlapRule, merge_chunks};
pub use error::MergeError;
pub use series_order::{SeriesOrder, SeriesOrderError};
pub use symbols::{MergedSymbols, SymbolRemap, merge_symbols};
pub use trim::Trim;
