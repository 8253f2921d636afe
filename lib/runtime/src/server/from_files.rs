//! A value made of files, made anew when one of them changes.
//!
//! Whoever needs the value asks for it each time. That costs a look at the state of each file (`stat`), and reading them
//! only when one differs from what it was. Files that are of no use leave the old value in place until they change again.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use crate::metrics::Counters;

/// Files that change while they are read are read again, but not for ever.
const MAX_TRIES: usize = 3;

/// What was made and of which files, also when it failed.
pub(crate) struct Attempt<T> {
    pub(crate) files: Vec<PathBuf>,
    /// What to log if it is used.
    pub(crate) warnings: Vec<String>,
    pub(crate) outcome: Result<T, String>,
}

type Make<T> = dyn Fn() -> Attempt<T> + Send + Sync;

/// The value and the files it comes from.
pub(crate) struct FromFiles<T> {
    /// What it is, for the log.
    what: &'static str,
    make: Box<Make<T>>,
    state: Mutex<State<T>>,
    /// Counts new values by `result`.
    reloads: OnceLock<Counters<2>>,
}

struct State<T> {
    value: Arc<T>,
    /// The files as they were before they were last read.
    files: Vec<(PathBuf, FileState)>,
}

/// Enough to notice that a file was written or replaced; an error of the system is a state too.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FileState {
    There {
        device: u64,
        inode: u64,
        size_bytes: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
    Missing(io::ErrorKind),
}

impl<T> FromFiles<T> {
    /// Makes the first value.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn new(
        what: &'static str,
        make: impl Fn() -> Attempt<T> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let make: Box<Make<T>> = Box::new(make);
        let (files, attempt) = made(&*make, Vec::new());
        let value = Arc::new(attempt.outcome?);
        warn(what, &attempt.warnings);
        Ok(Self {
            what,
            make,
            state: Mutex::new(State { value, files }),
            reloads: OnceLock::new(),
        })
    }

    /// Counts from here on under the labels `server` and `result`, `ok` or `failed`.
    pub(crate) fn count(&self, reloads: &Counters<2>) {
        for result in ["ok", "failed"] {
            reloads.with([self.what, result]);
        }
        // A second server of the same options counts with the first.
        let _ = self.reloads.set(reloads.clone());
    }

    /// The value as of now. Waits for the file system.
    pub(crate) fn current(&self) -> Arc<T> {
        let mut state = self.state.lock();
        let now: Vec<(PathBuf, FileState)> = states(state.files.iter().map(|(path, _)| path));
        if now == state.files {
            return Arc::clone(&state.value);
        }
        let (files, attempt) = made(&*self.make, now);
        state.files = files;
        let result = match attempt.outcome {
            Ok(value) => {
                tracing::info!(server = self.what, "files have changed, the new ones are used");
                warn(self.what, &attempt.warnings);
                state.value = Arc::new(value);
                "ok"
            }
            Err(problem) => {
                tracing::error!(
                    server = self.what,
                    err = problem,
                    "files have changed and are of no use, what the old ones said stays"
                );
                "failed"
            }
        };
        if let Some(reloads) = self.reloads.get() {
            reloads.with([self.what, result]).inc();
        }
        Arc::clone(&state.value)
    }
}

impl<T> fmt::Debug for FromFiles<T> {
    /// Shows no value: it may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FromFiles")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// Makes a value until no file changes meanwhile. The states returned are older than what was read, so that a change
/// in between is seen the next time.
fn made<T>(make: &Make<T>, mut before: Vec<(PathBuf, FileState)>) -> (Vec<(PathBuf, FileState)>, Attempt<T>) {
    let mut attempt = make();
    for _ in 1..MAX_TRIES {
        let after = states(attempt.files.iter());
        if after == before {
            break;
        }
        before = after;
        attempt = make();
    }
    (before, attempt)
}

fn warn(server: &'static str, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!(server, "{warning}");
    }
}

fn states<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Vec<(PathBuf, FileState)> {
    paths.map(|path| (path.clone(), state_of(path))).collect()
}

fn state_of(path: &PathBuf) -> FileState {
    match fs::metadata(path) {
        Ok(found) => FileState::There {
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        },
        Err(error) => FileState::Missing(error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::metrics::Registry;

    /// A number in a file, and in a second one that the first names.
    fn numbers(folder: &std::path::Path, reads: Arc<AtomicUsize>) -> Result<FromFiles<u32>, String> {
        let first = folder.join("first");
        FromFiles::new("test", move || {
            reads.fetch_add(1, Ordering::SeqCst);
            let mut files = vec![first.clone()];
            let outcome = fs::read_to_string(&first)
                .map_err(|error| error.to_string())
                .and_then(|text| {
                    let number = text.trim().parse();
                    match number {
                        Ok(number) => Ok(number),
                        Err(_) => {
                            files.push(first.with_file_name(text.trim()));
                            let text = fs::read_to_string(first.with_file_name(text.trim()));
                            let text = text.map_err(|error| error.to_string())?;
                            text.trim().parse().map_err(|_| "no number".to_owned())
                        }
                    }
                });
            Attempt {
                files,
                warnings: Vec::new(),
                outcome,
            }
        })
    }

    /// As a Secret is replaced: whole, under another inode.
    fn replace(path: &std::path::Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    #[test]
    fn files_are_read_again_when_they_change_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("first");
        let reads = Arc::new(AtomicUsize::new(0));
        assert!(numbers(folder.path(), Arc::clone(&reads)).is_err());
        replace(&first, "1");
        let value = numbers(folder.path(), Arc::clone(&reads)).unwrap();
        assert_eq!((*value.current(), *value.current()), (1, 1));
        let so_far = reads.load(Ordering::SeqCst);
        replace(&first, "2");
        assert_eq!((*value.current(), *value.current()), (2, 2));
        assert!(reads.load(Ordering::SeqCst) > so_far);
        let so_far = reads.load(Ordering::SeqCst);
        assert_eq!(*value.current(), 2);
        assert_eq!(reads.load(Ordering::SeqCst), so_far, "nothing has changed");
    }

    #[test]
    fn files_of_no_use_leave_the_old_value_until_they_change_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("first");
        replace(&first, "1");
        let reads = Arc::new(AtomicUsize::new(0));
        let value = numbers(folder.path(), Arc::clone(&reads)).unwrap();
        let registry = Registry::new();
        value.count(&registry.counters("reloads_total", "Reloads", ["server", "result"]));
        let counted = |result: &str, count: u32| {
            let line = format!("reloads_total{{server=\"test\",result=\"{result}\"}} {count}\n");
            assert!(registry.classic().contains(&line), "{line}{}", registry.classic());
        };
        counted("failed", 0);
        replace(&first, "second");
        assert_eq!((*value.current(), *value.current()), (1, 1));
        counted("failed", 1);
        replace(&folder.path().join("second"), "7");
        assert_eq!(
            *value.current(),
            7,
            "a file that only the bad one named is watched too"
        );
        fs::remove_file(&first).unwrap();
        assert_eq!((*value.current(), *value.current()), (7, 7));
        counted("failed", 2);
        counted("ok", 1);
    }
}
