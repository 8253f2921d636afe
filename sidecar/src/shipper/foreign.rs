//! Whether another Prometheus ships under the same external labels.
//!
//! That is a mistake nobody notices until the compactor does: two replicas without a label that tells them apart, or a copied
//! configuration. The blocks differ in name, so nothing is overwritten; but they overlap, and are taken for one stream.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use sabre_block::layout::{META_FILE, block_of_dir, key};
use sabre_model::{BlockId, Labels};
use sabre_objstore::{BucketExt, Error, ListEntry, SharedBucket};
use sabre_tsdb::meta::{BlockMeta, SOURCE_SIDECAR};

use super::{plan::overlaps, scan::LocalBlocks};

/// Blocks older than this are not looked at.
const NEWEST_MS: i64 = 26 * 3_600_000;

/// The most blocks that are looked at, newest first.
const MAX_METAS: usize = 200;

const MAX_META_BYTES: u64 = 16 << 20;
const CONCURRENCY: usize = 8;

/// What this data directory has shipped, or will.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// Its blocks, and all that they were made of.
    ids: BTreeSet<BlockId>,
    /// The ranges of its blocks.
    ranges: Vec<(i64, i64)>,
}

impl Own {
    pub(crate) fn of(local: &LocalBlocks, uploaded: &BTreeSet<BlockId>) -> Own {
        let mut ids = uploaded.clone();
        let mut ranges = Vec::with_capacity(local.blocks.len());
        for block in &local.blocks {
            ids.insert(block.id);
            ids.extend(&block.meta.compaction.sources);
            ids.extend(block.meta.compaction.parents.iter().map(|parent| parent.ulid));
            ranges.push((block.meta.min_time, block.meta.max_time));
        }
        Own { ids, ranges }
    }

    /// Whether a block of the bucket comes from another Prometheus: cut from a head, under the same labels, for a time
    /// of which there is a block here as well.
    fn is_foreign(&self, id: BlockId, meta: &BlockMeta, external_labels: &Labels) -> bool {
        let from_a_head = meta.compaction.level <= 1
            && meta
                .thanos
                .as_ref()
                .is_some_and(|thanos| thanos.source == SOURCE_SIDECAR);
        from_a_head
            && !self.ids.contains(&id)
            && meta.ext_labels() == *external_labels
            && self
                .ranges
                .iter()
                .any(|range| overlaps(*range, (meta.min_time, meta.max_time)))
    }
}

/// The newest foreign blocks of the bucket.
///
/// # Errors
/// Requests that failed.
pub(crate) async fn find(
    bucket: &SharedBucket,
    own: &Own,
    external_labels: &Labels,
    now_ms: i64,
) -> Result<Vec<BlockId>, Error> {
    let mut ids = Vec::new();
    let mut entries = bucket.list("", false).await?;
    while let Some(entry) = entries.try_next().await? {
        if let ListEntry::Dir(dir) = entry
            && let Some(id) = block_of_dir(&dir)
            && id.time_ms() > now_ms.saturating_sub(NEWEST_MS)
            && !own.ids.contains(&id)
        {
            ids.push(id);
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(MAX_METAS);
    let fetch = |id| async move {
        match bucket.get_all(&key(id, META_FILE), MAX_META_BYTES).await {
            Ok(bytes) => Ok(BlockMeta::parse(&bytes).ok().map(|meta| (id, meta))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    };
    let mut metas = stream::iter(ids).map(fetch).buffered(CONCURRENCY);
    let mut foreign = Vec::new();
    while let Some(found) = metas.try_next().await? {
        if let Some((id, meta)) = found
            && own.is_foreign(id, &meta, external_labels)
        {
            foreign.push(id);
        }
    }
    Ok(foreign)
}
