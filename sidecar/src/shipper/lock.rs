//! One sidecar ships from a data directory: a second one would remove what the first is sending.

use std::{fs, io, path::Path};

use sabre_block::dir_lock::DirLock;

/// In the data directory; Prometheus looks at neither.
const LOCK_FILE: &str = "thanos/sidecar.lock";

/// Takes the lock of a data directory; `None` when another process has it.
///
/// # Errors
/// The data directory cannot be written.
pub(crate) fn take_lock(tsdb_dir: &Path) -> io::Result<Option<DirLock>> {
    let path = tsdb_dir.join(LOCK_FILE);
    // Not the data directory itself: where that is missing, something is not mounted.
    match path.parent().map(fs::create_dir) {
        Some(Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    DirLock::take(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_sidecar_waits_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = take_lock(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(take_lock(dir.path()).unwrap().is_none());
        drop(first);
        assert!(take_lock(dir.path()).unwrap().is_some());
    }
}
