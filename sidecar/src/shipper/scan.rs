//! What lies in Prometheus' data directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use sabre_model::BlockId;
use sabre_tsdb::meta::BlockMeta;

use super::disk::{Disk, RealDisk};

/// meta.json is a few kilobytes; more than this is not one.
const MAX_META_BYTES: u64 = 16 << 20;

/// A block directory of Prometheus.
#[derive(Clone, Debug)]
pub struct LocalBlock {
    /// The name of the directory.
    pub id: BlockId,
    /// The directory.
    pub dir: PathBuf,
    /// Its meta.json.
    pub meta: BlockMeta,
}

/// A block directory whose meta.json cannot be used.
#[derive(Clone, Debug)]
pub struct UnreadableBlock {
    /// The name of the directory.
    pub id: BlockId,
    /// File and reason.
    pub why: String,
}

/// All blocks of a data directory.
#[derive(Clone, Debug, Default)]
pub struct LocalBlocks {
    /// Sorted by minTime, then id.
    pub blocks: Vec<LocalBlock>,
    /// Sorted by id.
    pub unreadable: Vec<UnreadableBlock>,
}

/// Lists the block directories of `tsdb_dir`: those whose name is a ULID. Everything else (wal, chunks_head,
/// `*.tmp-for-creation`, `*.tmp-for-deletion`) is Prometheus' own business.
pub fn scan(tsdb_dir: &Path) -> io::Result<LocalBlocks> {
    scan_on(&RealDisk, tsdb_dir)
}

/// [`scan`] on a disk of choice.
pub(crate) fn scan_on(disk: &dyn Disk, tsdb_dir: &Path) -> io::Result<LocalBlocks> {
    let mut found = LocalBlocks::default();
    for name in disk.names(tsdb_dir)? {
        let Some(id) = name.to_str().and_then(|name| BlockId::parse(name).ok()) else {
            continue;
        };
        let dir = tsdb_dir.join(&name);
        if !disk.is_dir(&dir) {
            continue;
        }
        match read_meta(disk, &dir, id) {
            Ok(meta) => found.blocks.push(LocalBlock { id, dir, meta }),
            // Prometheus deletes by renaming the directory away first: gone now means never there.
            Err(_) if !disk.is_dir(&dir) => {}
            Err(why) => found.unreadable.push(UnreadableBlock { id, why }),
        }
    }
    found.blocks.sort_by_key(|block| (block.meta.min_time, block.id));
    found.unreadable.sort_by_key(|block| block.id);
    Ok(found)
}

fn read_meta(disk: &dyn Disk, dir: &Path, id: BlockId) -> Result<BlockMeta, String> {
    let path = dir.join("meta.json");
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = disk.read(&path, MAX_META_BYTES).map_err(|error| named(&error))?;
    let meta = BlockMeta::parse(&bytes).map_err(|error| named(&error))?;
    if meta.ulid != id {
        let why = format!(
            "says that it belongs to block {}: the directory was replaced by another's",
            meta.ulid
        );
        return Err(named(&why));
    }
    Ok(meta)
}
