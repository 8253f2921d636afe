//! The program, started for a test.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// How often a process is looked at while something is awaited.
const PAUSE: Duration = Duration::from_millis(20);
/// After so many looks a test has failed: a minute, which is long on any machine.
const MAX_LOOKS: u32 = 3_000;

/// A running component, killed when it is dropped.
pub(crate) struct Component {
    what: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// An empty environment but for what tests of the program may not touch.
pub(crate) fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().stdin(Stdio::null());
    command
}

/// The program that was built with the tests.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sabre"))
}

impl Component {
    /// Starts it with its output in files of `dir`.
    pub(crate) fn start(what: &str, mut command: Command, dir: &Path) -> Self {
        let (stdout, stderr) = (dir.join("stdout"), dir.join("stderr"));
        let child = command
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        Self {
            what: what.to_owned(),
            child,
            stdout,
            stderr,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        for _ in 0..MAX_LOOKS {
            if let Some(status) = self.ended() {
                return status;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{} does not end and wrote:\n{}", self.what, self.stderr());
    }

    /// Where it serves HTTP, or `None` if it ends before.
    pub(crate) async fn http_address(&mut self) -> Option<String> {
        self.address("msg=\"listening for HTTP\" address=").await
    }

    /// Where it serves gRPC, or `None` if it ends before.
    pub(crate) async fn grpc_address(&mut self) -> Option<String> {
        self.address("msg=\"listening for gRPC\" address=").await
    }

    async fn address(&mut self, mark: &str) -> Option<String> {
        for _ in 0..MAX_LOOKS {
            // Looked at before the log: what was written before the end is all that there will be.
            let has_ended = self.ended().is_some();
            let log = self.stderr();
            // Only whole lines have the whole address.
            let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some((_, address)) = lines.filter_map(|line| line.split_once(mark)).next() {
                return Some(address.trim().to_owned());
            }
            if has_ended {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!(
            "{} does not say where it serves and wrote:\n{}",
            self.what,
            self.stderr()
        );
    }

    /// Waits until it says at the probe that it is ready, has ended, or has written what `is_enough` is content with.
    pub(crate) async fn settle(&mut self, address: &str, is_enough: impl Fn(&str) -> bool) {
        for _ in 0..MAX_LOOKS {
            let is_ready = get(address, "/-/ready")
                .await
                .is_some_and(|(code, _)| code == 200);
            if is_ready || self.ended().is_some() || is_enough(&self.stderr()) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{} is not ready and wrote:\n{}", self.what, self.stderr());
    }

    /// Waits until it says at the probe that it is ready, and `is_so`.
    pub(crate) async fn wait_until(&mut self, address: &str, is_so: impl Fn() -> bool) {
        for _ in 0..MAX_LOOKS {
            let ready = get(address, "/-/ready").await;
            if ready.is_some_and(|(code, _)| code == 200) && is_so() {
                return;
            }
            assert!(self.ended().is_none(), "{} ended: {}", self.what, self.stderr());
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{} is not ready and wrote:\n{}", self.what, self.stderr());
    }

    /// Asks it to stop and waits until it did.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        // A process that has ended meanwhile needs no signal.
        let _ = Command::new("kill")
            .args(["-TERM", &id])
            .stderr(Stdio::null())
            .status();
        self.end().await
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The code and the body of an answer; `None` if there is none.
pub(crate) async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()
        .ok()?;
    let response = client.get(format!("http://{address}{path}")).send().await.ok()?;
    let code = response.status().as_u16();
    Some((code, response.text().await.ok()?))
}

/// An address on loopback that refuses connections as long as the listener that is never accepted from lives. It is
/// bound and does not listen, so that nobody else gets its port.
pub(crate) struct Refusing(tokio::net::TcpSocket);

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }
}
