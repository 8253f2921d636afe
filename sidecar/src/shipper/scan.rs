//! What lies in Prometheus' data directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sabre_model::BlockId;
use sabre_tsdb::meta::BlockMeta;

/// meta.json is a few kilobytes; more than this is not one.
const MAX_META_BYTES: u64 = 16 << 20;

/// A block directory of Prometheus.
#[derive(Debug)]
pub struct LocalBlock {
    /// The name of the directory.
    pub id: BlockId,
    /// The directory.
    pub dir: PathBuf,
    /// Its meta.json.
    pub meta: BlockMeta,
}

/// A block directory whose meta.json cannot be used.
#[derive(Debug)]
pub struct UnreadableBlock {
    /// The name of the directory.
    pub id: BlockId,
    /// File and reason.
    pub why: String,
}

/// All blocks of a data directory.
#[derive(Debug, Default)]
pub struct LocalBlocks {
    /// Sorted by minTime, then id.
    pub blocks: Vec<LocalBlock>,
    /// Sorted by id.
    pub unreadable: Vec<UnreadableBlock>,
}

/// Lists the block directories of `tsdb_dir`: those whose name is a ULID. Everything else (wal, chunks_head,
/// `*.tmp-for-creation`, `*.tmp-for-deletion`) is Prometheus' own business.
pub fn scan(tsdb_dir: &Path) -> io::Result<LocalBlocks> {
    let mut found = LocalBlocks::default();
    for entry in fs::read_dir(tsdb_dir)? {
        let entry = entry?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| BlockId::parse(name).ok())
        else {
            continue;
        };
        if !entry.path().is_dir() {
            continue;
        }
        match read_meta(&entry.path()) {
            Ok(meta) => found.blocks.push(LocalBlock {
                id,
                dir: entry.path(),
                meta,
            }),
            // Prometheus deletes by renaming the directory away first: gone now means never there.
            Err(_) if !entry.path().exists() => {}
            Err(why) => found.unreadable.push(UnreadableBlock { id, why }),
        }
    }
    found.blocks.sort_by_key(|block| (block.meta.min_time, block.id));
    found.unreadable.sort_by_key(|block| block.id);
    Ok(found)
}

fn read_meta(dir: &Path) -> Result<BlockMeta, String> {
    let path = dir.join("meta.json");
    let size = fs::metadata(&path)
        .map_err(|error| format!("{}: {error}", path.display()))?
        .len();
    if size > MAX_META_BYTES {
        return Err(format!(
            "{}: {size} bytes, at most {MAX_META_BYTES} are read",
            path.display()
        ));
    }
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    BlockMeta::parse(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}
