//! Blocks read as they lie: the index by ranges, a chunk segment by one request, in order, a little ahead of who reads them.
//!
//! Fetching is async and belongs to the future that runs a compaction; reading is synchronous and belongs to the thread
//! that merges. Between them are channels of one window each. So the memory of a source is a few windows, whatever its
//! size, and dropping the future ends both sides.

mod block;
mod chunks;
mod feed;
mod health;
mod index;
mod remap;
mod symbols;
mod windows;

pub(crate) use block::{OpenBlock, SourceBlock, SourceReaders, Windows, open};
pub(crate) use chunks::{ChunkReader, RandomReads, SegmentFile};
pub(crate) use feed::Feeds;
pub use health::Defect;
pub(crate) use health::{Health, HealthRules};
pub(crate) use index::{SeriesReader, read_index};
pub(crate) use remap::Remap;
pub(crate) use symbols::{SymbolsError, merge_symbols};
pub(crate) use windows::{Window, WindowReader};
