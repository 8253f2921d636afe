//! What the sampler of the CPU takes from the machine, looked at before it is let loose: memory, and a folder.

use std::path::{Path, PathBuf};

use crate::{limits, metrics::resident_bytes};

/// What a profile takes at most: a table of stacks of 88 MiB, which is kept, and a second one for a moment when it ends.
const NEEDED_BYTES: u64 = 256 << 20;

/// What a process holds beside its buffers, which the memory budget does not count.
const BESIDE_BUDGET_BYTES: u64 = 32 << 20;

/// Checks that there is memory and a folder for temporary files.
///
/// # Errors
/// What is missing, and what to do.
pub(super) fn check() -> Result<(), String> {
    let limit = limits::memory_limit_bytes(Path::new("/"));
    has_memory(limit, resident_bytes().unwrap_or(0))?;
    let usual = tempfile::env::temp_dir();
    let folder = writable(&[usual.clone(), PathBuf::from("/dev/shm"), PathBuf::from("/tmp")])?;
    if folder != usual
        && let Err(other) = tempfile::env::override_temp_dir(&folder)
    {
        return Err(format!(
            "temporary files go to {}, where none can be made any more",
            other.display()
        ));
    }
    Ok(())
}

/// What is left must be enough also when the buffers fill the budget that is usual for the limit while the profile is
/// taken.
fn has_memory(limit: Option<u64>, resident: u64) -> Result<(), String> {
    let left = limit.map_or(u64::MAX, |limit| {
        let full = limits::budget_of(Some(limit)).saturating_add(BESIDE_BUDGET_BYTES);
        limit.saturating_sub(resident.max(full))
    });
    if left >= NEEDED_BYTES {
        return Ok(());
    }
    Err(format!(
        "it takes up to {} MiB of memory, and when all buffers are in use {} MiB are left below the limit; raise the limit \
         of the container",
        NEEDED_BYTES >> 20,
        left >> 20
    ))
}

/// The first folder in which a file can be made.
fn writable(folders: &[PathBuf]) -> Result<PathBuf, String> {
    let mut problems = Vec::new();
    for folder in folders {
        match tempfile::NamedTempFile::new_in(folder) {
            Ok(_file) => return Ok(folder.clone()),
            Err(error) => problems.push(format!("{}: {error}", folder.display())),
        }
    }
    Err(format!(
        "it needs a folder for a temporary file; mount one and name it in TMPDIR ({})",
        problems.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_container_is_spared() {
        assert_eq!(has_memory(None, u64::MAX), Ok(()));
        assert_eq!(has_memory(Some(1 << 30), 24 << 20), Ok(()));
        assert!(has_memory(Some(1 << 30), 800 << 20).is_err());
        let problem = has_memory(Some(512 << 20), 20 << 20).unwrap_err();
        assert!(
            problem.contains("up to 256 MiB") && problem.contains("172 MiB are left"),
            "{problem}"
        );
        assert!(has_memory(Some(10), 20).unwrap_err().contains("0 MiB are left"));
    }

    #[test]
    fn the_first_folder_that_takes_a_file_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let there = folder.path().to_owned();
        assert_eq!(writable(&[missing.clone(), there.clone()]), Ok(there));
        let problem = writable(&[missing.clone(), PathBuf::from("/proc")]).unwrap_err();
        assert!(
            problem.contains("TMPDIR")
                && problem.contains(&missing.display().to_string())
                && problem.contains("/proc: "),
            "{problem}"
        );
    }
}
