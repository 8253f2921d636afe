//! Whether a block overlaps what the bucket has under the same labels.

use futures::{StreamExt, TryStreamExt};
use sabre_block::layout::{META_FILE, block_of_dir, key};
use sabre_model::{BlockId, Labels};
use sabre_objstore::{BucketExt, Error, ListEntry, SharedBucket};
use sabre_tsdb::meta::BlockMeta;

use super::plan::overlaps;

/// meta.json is a few kilobytes.
const MAX_META_BYTES: u64 = 16 << 20;

/// Metas fetched at once.
const CONCURRENCY: usize = 32;

/// The first block of the bucket with just these external labels, raw, whose range has an instant in common with
/// `range` (half-open). A block without a usable meta.json is not one.
///
/// # Errors
/// Requests that failed.
pub(crate) async fn find(
    bucket: &SharedBucket,
    external_labels: &Labels,
    range: (i64, i64),
) -> Result<Option<BlockId>, Error> {
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
    let same_labels = |meta: &BlockMeta| meta.ext_labels() == *external_labels && meta.resolution_ms() == 0;
    let overlapping = metas.try_filter_map(|(id, meta)| {
        let hit = same_labels(&meta) && overlaps(range, (meta.min_time, meta.max_time));
        async move { Ok(hit.then_some(id)) }
    });
    std::pin::pin!(overlapping).try_next().await
}
