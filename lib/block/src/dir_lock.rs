//! A directory that one process at a time works in.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// Held while the process lives: the kernel takes it back also from one that is killed.
#[derive(Debug)]
pub struct DirLock {
    _file: Option<File>,
}

impl DirLock {
    /// Takes the lock of this file, which is made if it is not there; `None` when another process has it. A file system
    /// without locks is taken for one that nobody else uses.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn take(path: &Path) -> io::Result<Option<DirLock>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirLock { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(path = %path.display(), %error, "the file system has no locks, a second process on this directory would not be noticed");
                Ok(Some(DirLock::none()))
            }
        }
    }

    /// In the place of a lock that cannot be had.
    pub(crate) fn none() -> Self {
        DirLock { _file: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = DirLock::take(&path).unwrap();
        assert!(first.is_some());
        assert!(DirLock::take(&path).unwrap().is_none());
        drop(first);
        assert!(DirLock::take(&path).unwrap().is_some());
    }
}
