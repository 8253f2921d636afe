//! Processes that live as long as a test.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// A process, killed when dropped; its output is kept in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `binary` with its output in `<dir>/<name>.log`.
    ///
    /// # Errors
    /// A binary that cannot be started.
    pub fn start(dir: &Path, name: &str, binary: &str, arguments: &[String]) -> Result<Process> {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(binary)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {binary}"))?;
        Ok(Process {
            name: name.to_string(),
            child,
            log,
        })
    }

    /// Sends SIGTERM and waits for a clean end.
    ///
    /// # Errors
    /// An exit code other than 0.
    pub fn terminate(mut self) -> Result<()> {
        let status = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status()?;
        anyhow::ensure!(status.success(), "kill");
        let status = self.child.wait()?;
        anyhow::ensure!(
            status.success(),
            "{} ended with {status}\n{}",
            self.name,
            self.log_tail()
        );
        Ok(())
    }

    /// Kills it without a warning.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs, or how it ended, with the last lines it wrote.
    pub fn describe(&mut self) -> String {
        let state = match self.child.try_wait() {
            Ok(None) => "runs".to_string(),
            Ok(Some(status)) => format!("ended with {status}"),
            Err(error) => format!("cannot be asked: {error}"),
        };
        format!("{} {state} and wrote:\n{}", self.name, self.log_tail())
    }

    /// The last lines it wrote.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(40)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Waits until `ask` says yes.
    ///
    /// # Errors
    /// When the process ends, or two minutes passed.
    pub async fn wait_until<F: Future<Output = bool>>(
        &mut self,
        what: &str,
        mut ask: impl FnMut() -> F,
    ) -> Result<()> {
        for _ in 0..1200 {
            if ask().await {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} while waiting until {what}\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!(
            "{}: not {what} within two minutes\n{}",
            self.name,
            self.log_tail()
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback that nobody listens on.
///
/// # Errors
/// When the system has none.
pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Whether `http://<address><path>` answers 200.
pub async fn answers_ok(address: &str, path: &str) -> bool {
    let response = reqwest::get(format!("http://{address}{path}")).await;
    response.is_ok_and(|response| response.status().is_success())
}
