//! The demo's own directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Names that are tried before giving up.
const ATTEMPTS: usize = 16;

/// A directory that goes away with the demo.
#[derive(Debug)]
pub(crate) struct WorkDir {
    pub(crate) path: PathBuf,
}

impl WorkDir {
    /// Makes a new directory in `parent`. One that is there already is somebody's: it is neither used nor removed.
    pub(crate) fn create(parent: &Path, random: impl Fn() -> u64) -> Result<WorkDir> {
        let mut path = PathBuf::new();
        for _ in 0..ATTEMPTS {
            path = parent.join(format!("sabre-demo-{:016x}", random()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(WorkDir { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("create {}", path.display())),
            }
        }
        anyhow::bail!("create {}: it is there already", path.display())
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "could not clean up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let theirs = parent.path().join("sabre-demo-0000000000000007");
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("file"), "theirs").unwrap();
        assert!(WorkDir::create(parent.path(), || 7).is_err());
        let own = WorkDir::create(parent.path(), || 8).unwrap();
        let path = own.path.clone();
        assert!(path.is_dir());
        drop(own);
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(theirs.join("file")).unwrap(), "theirs");
    }
}
