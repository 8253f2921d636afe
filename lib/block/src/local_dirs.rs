//! Local directories with one directory per block in them.

use std::{collections::HashSet, fs, io, path::Path};

use sabre_model::BlockId;

use crate::layout::block_of_dir;

/// Removes the directories of blocks that are not among `blocks`, and nothing else; no directory at all is fine.
pub(crate) fn remove_other_blocks(dir: &Path, blocks: &HashSet<BlockId>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let block = entry.file_name().to_str().and_then(block_of_dir);
        if block.is_some_and(|block| !blocks.contains(&block)) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
