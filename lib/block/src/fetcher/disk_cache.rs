//! `meta.json` files on local disk, so that a restart reads none of them from the bucket again.
//!
//! Layout as in Thanos: `<data-dir>/meta-syncer/<block>/meta.json`. The time of a file is that of the object it
//! was read from. What is lost or broken here is read from the bucket again; so nothing is fsynced.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sabre_model::BlockId;
use sabre_tsdb::meta::BlockMeta;

use super::MAX_META_BYTES;
use crate::{layout::META_FILE, local_dirs::remove_other_blocks};

/// A directory with one directory per block.
#[derive(Debug, Clone)]
pub(super) struct DiskCache {
    dir: PathBuf,
}

impl DiskCache {
    /// The cache below `data_dir`.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("meta-syncer"),
        }
    }

    /// The meta of a block, unless the object is newer than the file. What cannot be read counts as missing.
    pub(super) fn load(&self, block: BlockId, modified_ms: i64) -> Option<BlockMeta> {
        let file = File::open(self.path(block)).ok()?;
        let written_ms = unix_ms(file.metadata().ok()?.modified().ok()?)?;
        if modified_ms > written_ms {
            return None;
        }
        let mut text = Vec::new();
        file.take(MAX_META_BYTES).read_to_end(&mut text).ok()?;
        BlockMeta::parse(&text).ok()
    }

    /// Keeps the text of an object of that time.
    pub(super) fn store(&self, block: BlockId, text: &[u8], modified_ms: i64) -> io::Result<()> {
        let path = self.path(block);
        let temporary = path.with_extension("tmp");
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = File::create(&temporary)?;
        file.write_all(text)?;
        if let Ok(modified_ms) = u64::try_from(modified_ms) {
            file.set_modified(UNIX_EPOCH + Duration::from_millis(modified_ms))?;
        }
        fs::rename(&temporary, &path)
    }

    /// Removes what is kept of other blocks than these.
    pub(super) fn retain(&self, blocks: &HashSet<BlockId>) -> io::Result<()> {
        remove_other_blocks(&self.dir, blocks)
    }

    fn path(&self, block: BlockId) -> PathBuf {
        self.dir.join(block.to_string()).join(META_FILE)
    }
}

fn unix_ms(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(n: u8) -> BlockId {
        BlockId::from_parts(1, [n; 10])
    }

    fn text() -> Vec<u8> {
        BlockMeta {
            max_time: 7,
            ..BlockMeta::default()
        }
        .to_json()
    }

    #[test]
    fn a_file_counts_until_the_object_is_newer() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(dir.path());
        assert_eq!(cache.load(block(1), 1000), None);
        cache.store(block(1), &text(), 1000).unwrap();
        assert_eq!(cache.load(block(1), 1000).unwrap().max_time, 7);
        assert_eq!(cache.load(block(1), 999).unwrap().max_time, 7);
        assert_eq!(cache.load(block(1), 1001), None);
        let path = dir
            .path()
            .join("meta-syncer")
            .join(block(1).to_string())
            .join("meta.json");
        assert_eq!(fs::read(path).unwrap(), text(), "the layout is that of Thanos");
    }

    #[test]
    fn a_broken_file_counts_as_missing_and_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(dir.path());
        cache.store(block(1), b"{", 1000).unwrap();
        assert_eq!(cache.load(block(1), 1000), None);
        cache.store(block(1), &text(), 1000).unwrap();
        assert!(cache.load(block(1), 1000).is_some());
    }

    #[test]
    fn stale_blocks_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(dir.path());
        cache.retain(&HashSet::new()).unwrap();
        cache.store(block(1), &text(), 1).unwrap();
        cache.store(block(2), &text(), 1).unwrap();
        let foreign = dir.path().join("meta-syncer/notes");
        fs::write(&foreign, "x").unwrap();
        cache.retain(&HashSet::from([block(2)])).unwrap();
        assert_eq!(cache.load(block(1), 1), None);
        assert!(cache.load(block(2), 1).is_some());
        assert!(foreign.exists());
    }
}
