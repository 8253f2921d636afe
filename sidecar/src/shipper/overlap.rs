//! Whether a compacted block has a place in the bucket, beside the blocks with the same labels.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use sabre_block::layout::{META_FILE, block_of_dir, key};
use sabre_model::{BlockId, Labels};
use sabre_objstore::{BucketExt, Error, ListEntry, SharedBucket};
use sabre_tsdb::meta::BlockMeta;

use super::plan::overlaps;

/// meta.json is a few kilobytes.
const MAX_META_BYTES: u64 = 16 << 20;

/// Metas fetched at once.
const CONCURRENCY: usize = 16;

/// What the bucket has where a block would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing.
    Free,
    /// All that the block was made of: it would add nothing.
    Covered,
    /// This block, and not all of what the other was made of.
    Taken(BlockId),
}

/// Looks for raw blocks with just these external labels whose range has an instant in common with the block's
/// (half-open). A block without a usable meta.json is not one.
///
/// # Errors
/// Requests that failed.
pub(crate) async fn place_of(
    bucket: &SharedBucket,
    external_labels: &Labels,
    block: &BlockMeta,
) -> Result<Place, Error> {
    let metas = bucket
        .list("", false)
        .await?
        .try_filter_map(|entry| async move {
            Ok(match entry {
                ListEntry::Dir(dir) => block_of_dir(&dir),
                ListEntry::Object(_) => None,
            })
        })
        .map_ok(|id| async move {
            match bucket.get_all(&key(id, META_FILE), MAX_META_BYTES).await {
                Ok(bytes) => Ok(BlockMeta::parse(&bytes).ok().map(|meta| (id, meta))),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        })
        .try_buffer_unordered(CONCURRENCY)
        .try_filter_map(|found| async move { Ok(found) })
        .boxed();
    let range = (block.min_time, block.max_time);
    let beside = |meta: &BlockMeta| {
        meta.ext_labels() == *external_labels
            && meta.resolution_ms() == 0
            && overlaps(range, (meta.min_time, meta.max_time))
    };
    let mut missing: BTreeSet<BlockId> = block.compaction.sources.iter().copied().collect();
    let mut taken = None;
    let mut metas = std::pin::pin!(metas);
    while let Some((id, meta)) = metas.try_next().await? {
        if beside(&meta) {
            taken = taken.min(Some(id)).or(Some(id));
            for source in meta.compaction.sources {
                missing.remove(&source);
            }
        }
    }
    Ok(match taken {
        None => Place::Free,
        Some(_) if missing.is_empty() => Place::Covered,
        Some(id) => Place::Taken(id),
    })
}
