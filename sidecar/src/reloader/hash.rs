//! One hash over everything that is watched.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

const PIECE_BYTES: usize = 64 << 10;

/// Directories below a rule directory; more is a loop.
const MAX_DEPTH: usize = 64;

/// Of the configuration and of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    config: [u8; 32],
    rules: [u8; 32],
}

/// What could not be read, and why.
type Unread = (PathBuf, io::Error);

/// Hashes a file and the files of directories, names included. Directories that a link inside leads to are not entered,
/// files are followed: that is how Kubernetes lays out configuration.
///
/// # Errors
/// The first file that cannot be read. A directory that is replaced right now may be one; the next look finds it.
pub(super) fn hash(config_file: Option<&Path>, rule_dirs: &[PathBuf]) -> Result<Digest, Unread> {
    let mut config = Sha256::new();
    if let Some(path) = config_file {
        add_file(&mut config, path).map_err(|error| (path.to_path_buf(), error))?;
    }
    let mut rules = Sha256::new();
    for dir in rule_dirs {
        let dir = fs::canonicalize(dir).map_err(|error| (dir.clone(), error))?;
        add_dir(&mut rules, &dir, 0)?;
    }
    Ok(Digest {
        config: config.finalize().into(),
        rules: rules.finalize().into(),
    })
}

fn add_dir(hasher: &mut Sha256, dir: &Path, depth: usize) -> Result<(), Unread> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| (path, error)
    };
    if depth > MAX_DEPTH {
        let error = io::Error::other(format!("more than {MAX_DEPTH} directories in one another"));
        return Err((dir.to_path_buf(), error));
    }
    let entries = fs::read_dir(dir).map_err(failed(dir))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()
        .map_err(failed(dir))?;
    paths.sort_unstable();
    for path in paths {
        let is_link = fs::symlink_metadata(&path).map_err(failed(&path))?.is_symlink();
        let is_dir = fs::metadata(&path).map_err(failed(&path))?.is_dir();
        match (is_dir, is_link) {
            (true, true) => {}
            (true, false) => add_dir(hasher, &path, depth + 1)?,
            (false, _) => add_file(hasher, &path).map_err(failed(&path))?,
        }
    }
    Ok(())
}

fn add_file(hasher: &mut Sha256, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    hasher.update([0xff]);
    hasher.update(path.as_os_str().as_bytes());
    hasher.update([0xff]);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        hasher.update(piece.get(..length).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn content_names_and_places_count() {
        let dir = tempfile::tempdir().unwrap();
        let rules = dir.path().join("rules");
        fs::create_dir_all(rules.join("sub")).unwrap();
        let config = dir.path().join("config");
        fs::write(&config, "a").unwrap();
        let mut seen = Vec::new();
        let mut look = || {
            let digest = hash(Some(&config), std::slice::from_ref(&rules)).unwrap();
            assert!(!seen.contains(&digest), "a change was not seen");
            seen.push(digest);
        };
        look();
        fs::write(&config, "b").unwrap();
        look();
        fs::write(rules.join("x"), "1").unwrap();
        look();
        fs::write(rules.join("x"), "2").unwrap();
        look();
        fs::rename(rules.join("x"), rules.join("y")).unwrap();
        look();
        fs::rename(rules.join("y"), rules.join("sub/y")).unwrap();
        look();
        let digest = hash(Some(&config), std::slice::from_ref(&rules)).unwrap();
        assert_eq!(seen.last(), Some(&digest), "nothing changed");
    }

    #[test]
    fn a_mounted_config_map_is_read_once_and_its_swap_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let rules = dir.path();
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(rules.join(version)).unwrap();
            fs::write(rules.join(version).join("r.yml"), text).unwrap();
        }
        symlink("..1", rules.join("..data")).unwrap();
        symlink("..data/r.yml", rules.join("r.yml")).unwrap();
        let dirs = [rules.to_path_buf()];
        let before = hash(None, &dirs).unwrap();
        symlink("..2", rules.join("..tmp")).unwrap();
        fs::rename(rules.join("..tmp"), rules.join("..data")).unwrap();
        assert_ne!(hash(None, &dirs).unwrap(), before);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert_eq!(hash(Some(&missing), &[]).unwrap_err().0, missing);
        assert_eq!(hash(None, std::slice::from_ref(&missing)).unwrap_err().0, missing);
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        let (path, _) = hash(None, &[dir.path().to_path_buf()]).unwrap_err();
        assert!(path.ends_with("dangling"));
    }
}
