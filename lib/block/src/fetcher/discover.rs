//! The two ways to find out which blocks there are.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, ListEntry};

use super::listing::{BlockListing, BlockObjects, Stat};
use crate::{
    error::{BlockError, Result},
    layout::{META_FILE, block_of_dir, key, split_key},
};

/// How many blocks are asked about at once.
const PARALLEL_HEADS: usize = 64;

/// How the blocks of a bucket are found: `--block-discovery-strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DiscoveryStrategy {
    /// One listing of the whole bucket tells all there is to know. What happens when the flag is not given.
    #[default]
    Recursive,
    /// The root is listed, and each block asked whether it has a `meta.json`; its marks are read unseen.
    Concurrent,
}

/// Blocks found, and those about which nothing could be learnt.
#[derive(Debug, Default)]
pub(super) struct Discovered {
    pub(super) listing: BlockListing,
    pub(super) failures: BTreeMap<BlockId, BlockError>,
}

impl DiscoveryStrategy {
    /// The value of the flag; `None` if there is no such strategy.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "recursive" => Some(Self::Recursive),
            "concurrent" => Some(Self::Concurrent),
            _ => None,
        }
    }

    pub(super) async fn discover(self, bucket: &dyn Bucket) -> sabre_objstore::Result<Discovered> {
        match self {
            Self::Recursive => list_all(bucket).await,
            Self::Concurrent => ask_each(bucket).await,
        }
    }
}

/// Lists one block anew.
pub(crate) async fn list_block(bucket: &dyn Bucket, block: BlockId) -> Result<BlockObjects> {
    let fail = |error| BlockError::new(block, "directory", crate::Cause::Bucket(error));
    let mut entries = bucket.list(&block.to_string(), true).await.map_err(fail)?;
    let mut objects = BlockObjects::listed();
    while let Some(entry) = entries.try_next().await.map_err(fail)? {
        if let ListEntry::Object(object) = entry
            && let Some((_, file)) = split_key(&object.key)
        {
            objects.add(file, &object);
        }
    }
    Ok(objects)
}

async fn list_all(bucket: &dyn Bucket) -> sabre_objstore::Result<Discovered> {
    let mut discovered = Discovered::default();
    let mut entries = bucket.list("", true).await?;
    while let Some(entry) = entries.try_next().await? {
        if let ListEntry::Object(object) = entry {
            discovered.listing.add(&object);
        }
    }
    Ok(discovered)
}

async fn ask_each(bucket: &dyn Bucket) -> sabre_objstore::Result<Discovered> {
    let mut blocks = Vec::new();
    let mut entries = bucket.list("", false).await?;
    while let Some(entry) = entries.try_next().await? {
        if let ListEntry::Dir(dir) = entry {
            blocks.extend(block_of_dir(&dir));
        }
    }
    let ask = |block: BlockId| async move { (block, bucket.attributes(&key(block, META_FILE)).await) };
    let mut answers = stream::iter(blocks).map(ask).buffer_unordered(PARALLEL_HEADS);
    let mut discovered = Discovered::default();
    while let Some((block, answer)) = answers.next().await {
        let meta = match answer {
            Ok(meta) => Some(Stat {
                size_bytes: meta.size_bytes,
                modified_ms: meta.last_modified_ms,
            }),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                discovered
                    .failures
                    .insert(block, BlockError::new(block, META_FILE, error));
                continue;
            }
        };
        discovered.listing.add_unlisted(block, meta);
    }
    Ok(discovered)
}
