//! Which blocks earlier runs were writing when they were stopped: each result has a local folder named after its block.

use std::io;
use std::path::Path;

use sabre_block::layout;
use sabre_model::BlockId;

/// Removes the files in the folders of results below `dir`, and says whose the folders are. The folders stay, as a
/// record.
///
/// # Errors
/// A folder that cannot be made or read.
pub(crate) fn empty(dir: &Path) -> io::Result<Vec<BlockId>> {
    std::fs::create_dir_all(dir)?;
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Some(block) = block_of(&entry) else { continue };
        blocks.push(block);
        if let Err(error) = empty_folder(&entry.path()) {
            // It is in nobody's way: every attempt has a folder of its own.
            tracing::warn!(path = %entry.path().display(), %error, "a folder of an earlier run could not be emptied");
        }
    }
    Ok(blocks)
}

/// Removes the folders of `blocks` below `dir`.
pub(crate) fn forget(dir: &Path, blocks: &[BlockId]) {
    if blocks.is_empty() {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_theirs = block_of(&entry).is_some_and(|block| blocks.contains(&block));
        if is_theirs && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "a folder of an earlier run could not be removed");
        }
    }
}

fn block_of(entry: &std::fs::DirEntry) -> Option<BlockId> {
    let name = entry.file_name().to_string_lossy().into_owned();
    name.split('.').next().and_then(layout::block_of_dir)
}

fn empty_folder(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// A run that is killed before it cleans must not take away what the next one needs to know.
    #[test]
    fn leftovers_are_known_until_they_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("compact");
        assert_eq!(empty(&dir).unwrap(), []);
        let block = BlockId::from_parts(1, [2; 10]);
        let folder = dir.join(format!("{block}.0"));
        std::fs::create_dir_all(folder.join("more")).unwrap();
        std::fs::write(folder.join("index"), "x").unwrap();
        std::fs::create_dir(dir.join("other")).unwrap();
        for _ in 0..2 {
            assert_eq!(empty(&dir).unwrap(), [block]);
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        }
        forget(&dir, &[]);
        forget(&dir, &[BlockId::from_parts(1, [3; 10])]);
        assert_eq!(empty(&dir).unwrap(), [block]);
        forget(&dir, &[block]);
        assert_eq!(empty(&dir).unwrap(), []);
        assert!(dir.join("other").is_dir());
    }
}
