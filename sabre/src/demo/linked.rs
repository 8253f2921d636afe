//! A directory of links to the blocks of another.

use std::{fs, io, path::Path};

use sabre_model::BlockId;

/// Links every block of `from` into `to`, and copies files that cannot be linked. Returns how many blocks there are.
/// Before each block `goes_on` says whether to.
pub(crate) fn link_blocks(from: &Path, to: &Path, goes_on: impl Fn() -> bool) -> io::Result<usize> {
    fs::create_dir_all(to)?;
    let mut blocks = 0;
    for entry in fs::read_dir(from)? {
        if !goes_on() {
            return Err(io::Error::other("stopped"));
        }
        let entry = entry?;
        let name = entry.file_name();
        let is_block = name.to_str().is_some_and(|name| BlockId::parse(name).is_ok());
        // A directory without meta.json is none yet, or one that goes.
        if is_block && entry.path().join("meta.json").is_file() {
            link_files(&entry.path(), &to.join(&name))?;
            link_files(&entry.path().join("chunks"), &to.join(&name).join("chunks"))?;
            blocks += 1;
        }
    }
    Ok(blocks)
}

fn link_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = to.join(entry.file_name());
            if fs::hard_link(entry.path(), &target).is_err() {
                fs::copy(entry.path(), &target)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_linked_and_the_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let block = from.join("01KE1Y3XTRWGF29YHY29V0RWTE");
        fs::create_dir_all(block.join("chunks")).unwrap();
        fs::create_dir_all(from.join("wal")).unwrap();
        fs::create_dir_all(from.join("01KE1Y3XTRWGF29YHY29V0RWTF")).unwrap();
        for file in ["meta.json", "index", "chunks/000001"] {
            fs::write(block.join(file), file).unwrap();
        }
        assert_eq!(link_blocks(&from, &to, || true).unwrap(), 1);
        let linked = to.join("01KE1Y3XTRWGF29YHY29V0RWTE");
        assert_eq!(
            fs::read_to_string(linked.join("chunks/000001")).unwrap(),
            "chunks/000001"
        );
        assert!(link_blocks(&from, &dir.path().join("stopped"), || false).is_err());
        fs::remove_dir_all(&to).unwrap();
        assert!(block.join("index").is_file());
        assert_eq!(fs::read_dir(&from).unwrap().count(), 3);
    }
}
