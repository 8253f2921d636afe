//! What a listing of the bucket tells about each block.

use std::collections::BTreeMap;

use sabre_model::BlockId;
use sabre_objstore::ObjectMeta;

use crate::{
    layout::{CHUNKS_DIR, INDEX_FILE, META_FILE, is_segment_name, split_key},
    mark::MarkKind,
};

/// The most chunk segments that are noted of a block: at 512 MiB each far more than an index can refer to.
const MAX_SEGMENTS: usize = 8192;

/// All block directories of a bucket, whole or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockListing {
    blocks: BTreeMap<BlockId, BlockObjects>,
}

/// Size and time of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes it has.
    pub size_bytes: u64,
    /// When it was written, in milliseconds since the epoch.
    pub modified_ms: i64,
}

/// A chunk segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name in `chunks/`.
    pub name: Box<str>,
    /// Bytes it has.
    pub size_bytes: u64,
}

/// The objects of one block. Its memory is bounded, whatever lies in its directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockObjects {
    /// Whether all objects were listed; else only `meta` is known, and all that follows it is empty.
    pub is_listed: bool,
    /// `meta.json`; without it the block is not whole.
    pub meta: Option<Stat>,
    /// `index`.
    pub index: Option<Stat>,
    /// The chunk segments, in the order of the listing, which sorts them by name.
    pub segments: Vec<Segment>,
    /// Whether there are more segments than are noted.
    pub has_more_segments: bool,
    /// The newest time of any object, in milliseconds since the epoch.
    pub newest_modified_ms: Option<i64>,
    /// How many objects there are.
    pub objects: u64,
    /// Bytes they have together.
    pub size_bytes: u64,
    /// Time of each mark, by [`MarkKind`].
    marks: [Option<i64>; MarkKind::ALL.len()],
}

impl BlockListing {
    /// Notes an object; one that belongs to no block is left out.
    pub fn add(&mut self, object: &ObjectMeta) {
        if let Some((block, file)) = split_key(&object.key) {
            self.blocks.entry(block).or_default().add(file, object);
        }
    }

    /// Notes a block of which only its `meta.json`, or the lack of one, is known.
    pub(super) fn add_unlisted(&mut self, block: BlockId, meta: Option<Stat>) {
        self.blocks.insert(
            block,
            BlockObjects {
                meta,
                ..BlockObjects::default()
            },
        );
    }

    /// Replaces what is noted of a block.
    pub(super) fn replace(&mut self, block: BlockId, objects: BlockObjects) {
        self.blocks.insert(block, objects);
    }

    /// The objects of a block; `None` if it has none.
    pub fn get(&self, block: BlockId) -> Option<&BlockObjects> {
        self.blocks.get(&block)
    }

    /// All blocks, by id.
    pub fn iter(&self) -> impl Iterator<Item = (BlockId, &BlockObjects)> {
        self.blocks.iter().map(|(block, objects)| (*block, objects))
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl BlockObjects {
    /// No objects, after a listing.
    pub(crate) fn listed() -> Self {
        Self {
            is_listed: true,
            ..Self::default()
        }
    }

    /// When the mark of this kind was written; `None` if there is none.
    pub fn mark_modified_ms(&self, kind: MarkKind) -> Option<i64> {
        self.marks.get(slot(kind)).copied().flatten()
    }

    /// The size of a file by its path in the block, such as `chunks/000001`.
    pub fn size_of(&self, file: &str) -> Option<u64> {
        if file == INDEX_FILE {
            return self.index.map(|index| index.size_bytes);
        }
        let name = file.strip_prefix(CHUNKS_DIR)?.strip_prefix('/')?;
        let segment = self.segments.iter().find(|segment| &*segment.name == name)?;
        Some(segment.size_bytes)
    }

    /// Notes an object by its path in the block.
    pub(super) fn add(&mut self, file: &str, object: &ObjectMeta) {
        self.is_listed = true;
        self.objects = self.objects.saturating_add(1);
        self.size_bytes = self.size_bytes.saturating_add(object.size_bytes);
        self.newest_modified_ms = self.newest_modified_ms.max(Some(object.last_modified_ms));
        let stat = Stat {
            size_bytes: object.size_bytes,
            modified_ms: object.last_modified_ms,
        };
        match file {
            META_FILE => self.meta = Some(stat),
            INDEX_FILE => self.index = Some(stat),
            _ => match MarkKind::from_file_name(file) {
                Some(kind) => {
                    if let Some(mark) = self.marks.get_mut(slot(kind)) {
                        *mark = Some(stat.modified_ms);
                    }
                }
                None => self.add_segment(file, stat.size_bytes),
            },
        }
    }

    fn add_segment(&mut self, file: &str, size_bytes: u64) {
        let name = file
            .strip_prefix(CHUNKS_DIR)
            .and_then(|name| name.strip_prefix('/'));
        let Some(name) = name.filter(|name| is_segment_name(name)) else {
            return;
        };
        if self.segments.len() >= MAX_SEGMENTS {
            self.has_more_segments = true;
            return;
        }
        self.segments.push(Segment {
            name: name.into(),
            size_bytes,
        });
    }
}

fn slot(kind: MarkKind) -> usize {
    match kind {
        MarkKind::Deletion => 0,
        MarkKind::NoCompact => 1,
        MarkKind::NoDownsample => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01KE1Y3XTRWGF29YHY29V0RWTE";

    fn listing(files: &[(&str, u64, i64)]) -> BlockListing {
        let mut listing = BlockListing::default();
        for &(key, size_bytes, last_modified_ms) in files {
            listing.add(&ObjectMeta {
                key: key.replace("ID", ID),
                size_bytes,
                last_modified_ms,
            });
        }
        listing
    }

    #[test]
    fn tells_presence_sizes_times_and_marks() {
        let listing = listing(&[
            ("ID/chunks/000001", 10, 1),
            ("ID/chunks/000002", 20, 2),
            ("ID/deletion-mark.json", 3, 9),
            ("ID/index", 30, 3),
            ("ID/meta.json", 4, 4),
            ("debug/metas/ID.json", 1, 100),
            ("ID", 1, 100),
            ("README", 1, 100),
            ("thanos/ID/meta.json", 1, 100),
        ]);
        assert_eq!(listing.len(), 1);
        let block = listing.get(BlockId::parse(ID).unwrap()).unwrap();
        assert!(block.is_listed);
        assert_eq!(
            block.meta,
            Some(Stat {
                size_bytes: 4,
                modified_ms: 4
            })
        );
        assert_eq!(
            block.index,
            Some(Stat {
                size_bytes: 30,
                modified_ms: 3
            })
        );
        assert_eq!(block.segments.len(), 2);
        assert_eq!((block.objects, block.size_bytes), (5, 67));
        assert_eq!(block.newest_modified_ms, Some(9));
        assert_eq!(block.mark_modified_ms(MarkKind::Deletion), Some(9));
        assert_eq!(block.mark_modified_ms(MarkKind::NoCompact), None);
        assert_eq!(block.size_of("chunks/000002"), Some(20));
        assert_eq!(block.size_of("index"), Some(30));
        assert_eq!(block.size_of("chunks/000003"), None);
    }

    #[test]
    fn a_meta_deeper_in_the_directory_is_not_the_meta() {
        let listing = listing(&[("ID/chunks/meta.json", 1, 1), ("ID/x/meta.json", 1, 1)]);
        let (_, block) = listing.iter().next().unwrap();
        assert_eq!(block.meta, None);
        assert_eq!(block.objects, 2);
    }

    #[test]
    fn memory_per_block_is_bounded() {
        let mut block = BlockObjects::default();
        let object = ObjectMeta {
            key: String::new(),
            size_bytes: 1,
            last_modified_ms: 1,
        };
        for n in 0..=MAX_SEGMENTS {
            block.add(&format!("chunks/{n:06}"), &object);
        }
        block.add("chunks/000001.tmp", &object);
        assert_eq!(block.segments.len(), MAX_SEGMENTS);
        assert!(block.has_more_segments);
        assert_eq!(block.objects, MAX_SEGMENTS as u64 + 2);
    }
}
