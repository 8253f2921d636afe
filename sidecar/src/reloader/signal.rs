//! Finds a process by its name and sends it SIGHUP. The containers must share their process namespace.

use std::{fs, io, path::Path};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};

/// The kernel keeps this much of a name.
const COMM_BYTES: usize = 15;

/// Why a process was not signalled.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// There is none.
    #[error(
        "no process is called {name:?} (--reloader.process-name); the containers must share their process namespace"
    )]
    NotFound {
        /// The name.
        name: String,
    },
    /// Processes cannot be listed.
    #[error("/proc: {0}")]
    Proc(#[from] io::Error),
    /// It may not be signalled.
    #[error("process {pid} cannot be sent SIGHUP: {source}")]
    Refused {
        /// Which.
        pid: i32,
        /// Why.
        source: Errno,
    },
}

/// Sends SIGHUP to the process called `name` that started first.
pub(super) fn hang_up(name: &str) -> Result<(), SignalError> {
    let own = std::process::id();
    let found = find(Path::new("/proc"), name)?
        .into_iter()
        .find(|pid| u32::try_from(*pid) != Ok(own));
    let Some(pid) = found else {
        return Err(SignalError::NotFound {
            name: name.to_string(),
        });
    };
    tracing::debug!(pid, name, "sending SIGHUP");
    // Numbers of processes are above zero.
    let process = Pid::from_raw(pid).ok_or(SignalError::Refused {
        pid,
        source: Errno::SRCH,
    })?;
    kill_process(process, Signal::HUP).map_err(|source| SignalError::Refused { pid, source })
}

/// Processes of a name, by number.
fn find(proc: &Path, name: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
            .filter(|pid| *pid > 0);
        let Some(pid) = pid else { continue };
        // A process may end meanwhile.
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let wanted = name.get(..COMM_BYTES).unwrap_or(name);
        if !name.is_empty() && comm.trim_end_matches('\n') == wanted {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_the_name_the_kernel_keeps() {
        let proc = tempfile::tempdir().unwrap();
        let names = [
            ("12", "prometheus"),
            ("7", "prometheus"),
            ("9", "a-name-that-is-"),
            ("self", "prometheus"),
            ("11", ""),
        ];
        for (pid, name) in names {
            let dir = proc.path().join(pid);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("comm"), format!("{name}\n")).unwrap();
        }
        fs::create_dir(proc.path().join("13")).unwrap();
        assert_eq!(find(proc.path(), "prometheus").unwrap(), [7, 12]);
        assert_eq!(find(proc.path(), "a-name-that-is-long").unwrap(), [9]);
        assert_eq!(find(proc.path(), "prom").unwrap(), Vec::<i32>::new());
        assert_eq!(find(proc.path(), "").unwrap(), Vec::<i32>::new());
    }

    #[test]
    fn a_missing_process_is_an_error_that_names_the_flag() {
        let error = hang_up("no-such-process-here").unwrap_err().to_string();
        assert!(error.contains("--reloader.process-name"), "{error}");
    }
}
