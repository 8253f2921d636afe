//! A block as planners see it.

use std::sync::Arc;

use sabre_block::View;
use sabre_model::BlockId;
use sabre_tsdb::meta::BlockMeta;

/// What is known of a block without reading its data.
#[derive(Debug, Clone)]
pub struct BlockInfo {
    /// Its `meta.json`, replica labels taken out.
    pub meta: Arc<BlockMeta>,
    /// Bytes of its index; 0 where neither the listing nor the meta tells.
    pub index_bytes: u64,
    /// Bytes of all its objects; 0 where nothing tells.
    pub size_bytes: u64,
}

impl BlockInfo {
    /// Takes sizes from the listing, else from the files that the meta names.
    pub fn new(meta: Arc<BlockMeta>, view: &View) -> Self {
        let objects = view.listing.get(meta.ulid).filter(|objects| objects.is_listed);
        let (index_bytes, size_bytes) = match objects {
            Some(objects) => (
                objects.index.map_or(0, |index| index.size_bytes),
                objects.size_bytes,
            ),
            None => sizes_of_meta(&meta),
        };
        Self {
            meta,
            index_bytes,
            size_bytes,
        }
    }

    /// All blocks of a view that count.
    pub fn all(view: &View) -> Vec<Self> {
        view.metas
            .iter()
            .map(|meta| Self::new(Arc::clone(meta), view))
            .collect()
    }

    /// The blocks that count, and those that lack a file: these are never worked on, but keep their place in time.
    pub fn with_incomplete(view: &View) -> Vec<Self> {
        let mut blocks = Self::all(view);
        for meta in &view.incomplete_metas {
            blocks.push(Self::new(Arc::clone(meta), view));
        }
        blocks
    }

    /// The name of the block.
    pub fn id(&self) -> BlockId {
        self.meta.ulid
    }

    /// Milliseconds from its begin to its end.
    pub fn range_ms(&self) -> i64 {
        self.meta.max_time.saturating_sub(self.meta.min_time)
    }
}

fn sizes_of_meta(meta: &BlockMeta) -> (u64, u64) {
    let files = meta.thanos.iter().flat_map(|thanos| &thanos.files);
    let (mut index, mut all) = (0, 0_u64);
    for file in files {
        let bytes = u64::try_from(file.size_bytes).unwrap_or(0);
        all = all.saturating_add(bytes);
        if file.rel_path == "index" {
            index = bytes;
        }
    }
    (index, all)
}
