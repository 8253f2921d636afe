//! Deletes a block from a bucket, so that it is at no time taken for whole.

use futures::{StreamExt, TryStreamExt};
use sabre_model::BlockId;
use sabre_objstore::{Bucket, ListEntry};

use crate::{
    error::{BlockError, Cause, Result},
    layout::{META_FILE, key},
    mark::MarkKind,
};

/// How many objects are deleted at once.
const PARALLEL_DELETES: usize = 16;

/// Deletes all objects of a block: `meta.json` first, its deletion mark last.
///
/// Stopped anywhere it leaves a block without `meta.json` that, if it was marked, still is: the same call again, or
/// the cleaning of partial blocks, does the rest. A block that is gone already is a success.
pub async fn delete_block(bucket: &dyn Bucket, block: BlockId) -> Result<()> {
    let meta = key(block, META_FILE);
    let mark = key(block, MarkKind::Deletion.file_name());
    let fail = |error: sabre_objstore::Error| {
        let file = error
            .key()
            .split_once('/')
            .map_or("directory", |(_, file)| file)
            .to_owned();
        BlockError::new(block, file, Cause::Bucket(error))
    };
    // Asked first, because a bucket with versions would note the deletion of what never was.
    if bucket.exists(&meta).await.map_err(fail)? {
        bucket.delete(&meta).await.map_err(fail)?;
    }
    let mut is_marked = false;
    let others = bucket
        .list(&block.to_string(), true)
        .await
        .map_err(fail)?
        .try_filter_map(|entry| {
            let key = match entry {
                ListEntry::Object(object) if object.key == mark => {
                    is_marked = true;
                    None
                }
                ListEntry::Object(object) => Some(object.key),
                ListEntry::Dir(_) => None,
            };
            futures::future::ready(Ok(key))
        });
    let deleted = others.map(|key| async { bucket.delete(&key?).await });
    deleted
        .buffer_unordered(PARALLEL_DELETES)
        .try_collect::<()>()
        .await
        .map_err(fail)?;
    if is_marked {
        bucket.delete(&mark).await.map_err(fail)?;
    }
    Ok(())
}
