//! One sidecar ships from a data directory: a second one would remove what the first is sending.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

/// In the data directory; Prometheus looks at neither.
const LOCK_FILE: &str = "thanos/sidecar.lock";

/// Held while the process lives.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: Option<File>,
}

impl DirLock {
    /// Takes the lock; `None` when another process has it. A file system without locks is taken for one that nobody
    /// else uses.
    ///
    /// # Errors
    /// The data directory cannot be written.
    pub(crate) fn take(tsdb_dir: &Path) -> io::Result<Option<DirLock>> {
        let path = tsdb_dir.join(LOCK_FILE);
        // Not the data directory itself: where that is missing, something is not mounted.
        match path.parent().map(fs::create_dir) {
            Some(Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirLock { _file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(path = %path.display(), %error, "the file system has no locks, a second sidecar on this directory would not be noticed");
                Ok(Some(DirLock { _file: None }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_sidecar_waits_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(DirLock::take(dir.path()).unwrap().is_none());
        drop(first);
        assert!(DirLock::take(dir.path()).unwrap().is_some());
    }
}
