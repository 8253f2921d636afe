//! What a sync found out.

use std::{collections::BTreeMap, sync::Arc};

use sabre_model::BlockId;
use sabre_tsdb::meta::{BlockMeta, DeletionMark, NoCompactMark, NoDownsampleMark};

use super::listing::BlockListing;
use crate::{error::BlockError, filter::State};

/// The blocks of a bucket as of one sync.
#[derive(Debug, Default)]
pub struct View {
    /// The blocks that count, sorted by id: whole, and passed by all filters.
    pub metas: Vec<Arc<BlockMeta>>,
    /// All blocks with a usable `meta.json`, sorted by id: those that lack a file or that a filter dropped among them.
    pub known: Vec<Arc<BlockMeta>>,
    /// The whole blocks that a filter dropped, and why.
    pub dropped: BTreeMap<BlockId, State>,
    /// The metas of those that were dropped because others hold their data, sorted by id.
    pub duplicates: Vec<Arc<BlockMeta>>,
    /// Blocks without a usable `meta.json`: their upload runs or was given up, or the file is broken.
    pub partial: BTreeMap<BlockId, PartialBlock>,
    /// Blocks with a `meta.json` whose files are not those it names. Those that lack a file are not in `metas`.
    pub incomplete: BTreeMap<BlockId, IncompleteBlock>,
    /// The metas of those of `incomplete` that lack a file and pass the filters, sorted by id: whoever plans by time
    /// has to know that they are there.
    pub incomplete_metas: Vec<Arc<BlockMeta>>,
    /// Blocks about which not all could be learnt this time. Unless it is empty the view is incomplete: a block
    /// may be there although the view does not have it, and have a mark.
    pub failures: BTreeMap<BlockId, BlockError>,
    /// Marks, of partial blocks too.
    pub marks: Marks,
    /// Every block directory of the bucket, with its objects.
    pub listing: BlockListing,
}

/// Marks of each kind that was asked for, by block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Blocks that are to be deleted.
    pub deletion: BTreeMap<BlockId, DeletionMark>,
    /// Blocks that are not to be compacted.
    pub no_compact: BTreeMap<BlockId, NoCompactMark>,
    /// Blocks that are not to be downsampled.
    pub no_downsample: BTreeMap<BlockId, NoDownsampleMark>,
}

/// A block without a usable `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialBlock {
    /// Why it is not usable.
    pub reason: PartialReason,
    /// The newest time of any of its objects, in milliseconds since the epoch; `None` if they were not listed.
    pub newest_modified_ms: Option<i64>,
}

/// Why a block is partial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartialReason {
    /// There is no `meta.json`.
    NoMeta,
    /// The `meta.json` cannot be read: it is not JSON, or of another version; the text says which.
    CorruptMeta(String),
}

/// A block with a `meta.json` that names other files than there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncompleteBlock {
    /// Files that are not there, by their paths in the block.
    pub missing: Vec<String>,
    /// Files of another size.
    pub resized: Vec<Resized>,
}

/// A file that has not the size it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// Its path in the block.
    pub file: String,
    /// Its size by `meta.json`.
    pub expected_bytes: u64,
    /// Its size by the listing.
    pub listed_bytes: u64,
}

impl View {
    /// Whether everything could be learnt. Else blocks may be added on its word, but none dropped.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// The meta of a block that counts.
    pub fn meta(&self, block: BlockId) -> Option<&Arc<BlockMeta>> {
        let i = self.metas.binary_search_by_key(&block, |meta| meta.ulid).ok()?;
        self.metas.get(i)
    }
}

impl PartialBlock {
    /// When the block last changed: the newest time of its objects, else the time its id tells.
    pub fn age_from_ms(&self, block: BlockId) -> i64 {
        self.newest_modified_ms.unwrap_or_else(|| block.time_ms())
    }

    /// The state it is counted as.
    pub fn state(&self) -> State {
        match self.reason {
            PartialReason::NoMeta => State::NoMeta,
            PartialReason::CorruptMeta(_) => State::CorruptedMeta,
        }
    }
}

impl IncompleteBlock {
    /// Whether the block can be served all the same: a file of another size may still be good, or be found broken
    /// where it hurts, but a missing one fails every query.
    pub fn is_servable(&self) -> bool {
        self.missing.is_empty()
    }
}

impl std::fmt::Display for IncompleteBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let missing = self.missing.iter().map(|file| format!("{file} is missing"));
        let resized = self.resized.iter().map(|file| {
            let Resized {
                file,
                expected_bytes,
                listed_bytes,
            } = file;
            format!("{file} has {listed_bytes} bytes instead of {expected_bytes}")
        });
        let all: Vec<_> = missing.chain(resized).collect();
        f.write_str(&all.join(", "))
    }
}
