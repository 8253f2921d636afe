//! The local directory of a component, tried before anything relies on it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::dir_lock::DirLock;

/// The flag that names the directory.
const FLAG: &str = "--data-dir";

/// An empty file that is made and removed to see whether files can be written.
const PROBE_FILE: &str = ".sabre-writable";

/// An empty file that is locked by who works in the directory.
const LOCK_FILE: &str = ".sabre-lock";

/// A directory in which no files can be written, or in which another process works.
#[derive(Debug, thiserror::Error)]
#[error("{FLAG}: {} cannot be used: {error}; {}", path.display(), advice(error))]
pub struct DataDirError {
    /// The directory.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub error: io::Error,
}

/// Makes `path`, if it is not there, and sees whether a file can be made in it. A disk that is merely full is fine:
/// what is on it can be read, and room may be made by what begins now.
///
/// # Errors
/// It is no directory, cannot be made, or no file can be made in it.
pub fn prepare(path: &Path) -> Result<(), DataDirError> {
    match try_out(path) {
        Err(error) if !is_full(&error) => Err(DataDirError {
            path: path.to_owned(),
            error,
        }),
        _ => Ok(()),
    }
}

/// Takes the directory for this process alone, for as long as what is returned lives.
///
/// # Errors
/// Another process has it, or no file can be made in it.
pub fn lock(path: &Path) -> Result<DirLock, DataDirError> {
    let taken = DirLock::take(&path.join(LOCK_FILE));
    let taken = taken.and_then(|lock| {
        lock.ok_or_else(|| io::Error::new(io::ErrorKind::WouldBlock, "another process works in it"))
    });
    match taken {
        // A full disk is no reason to end, as for `prepare`; no file can be made to lock, and a second process is not noticed.
        Err(error) if is_full(&error) => Ok(DirLock::none()),
        taken => taken.map_err(|error| DataDirError {
            path: path.to_owned(),
            error,
        }),
    }
}

fn try_out(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let probe = path.join(PROBE_FILE);
    File::create(&probe)?;
    match fs::remove_file(&probe) {
        // Another process that tries the same directory was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => {
            "a file is in its way: name a directory"
        }
        io::ErrorKind::PermissionDenied => {
            "let the user that runs this make files there (fsGroup in Kubernetes), or name another directory"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it so that it can be written to, or name another directory"
        }
        io::ErrorKind::WouldBlock => {
            "stop that one, or name another directory; of two on the same blocks one has to be stopped in any case"
        }
        _ => "name a directory on a disk that can be written to",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_and_left_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        for _ in 0..2 {
            prepare(&path).unwrap();
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn what_no_file_can_be_made_in_is_refused_with_flag_path_and_advice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, advice) in [
            (file.clone(), "name a directory"),
            (file.join("below"), "name a directory"),
            (PathBuf::from("/proc/x"), "a disk that can be written to"),
        ] {
            let error = prepare(&path).unwrap_err().to_string();
            let begins = format!("--data-dir: {} cannot be used: ", path.display());
            assert!(error.starts_with(&begins) && error.contains(advice), "{error}");
        }
    }

    #[test]
    fn a_directory_in_which_another_works_is_refused_until_that_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err().to_string();
        let begins = format!(
            "--data-dir: {} cannot be used: another process works in it; stop that one",
            dir.path().display()
        );
        assert!(error.starts_with(&begins), "{error}");
        drop(first);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn a_full_disk_is_no_reason_to_end_and_a_forbidden_one_is() {
        assert!(is_full(&io::ErrorKind::StorageFull.into()));
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(!is_full(&denied) && advice(&denied).contains("fsGroup"));
    }
}
