//! Signals, on a process of their own: this test starts itself again as that process.

#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use sabre_runtime::shutdown::Signals;

const CHILD: &str = "SABRE_TEST_SIGNAL_CHILD";

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_itself", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines };
        process.wait_for("listening");
        process
    }

    fn wait_for(&mut self, wanted: &str) {
        let found = self.lines.by_ref().any(|line| line.unwrap().contains(wanted));
        assert!(found, "the process ended without saying {wanted:?}");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Says what it was told, and never ends by itself.
#[tokio::test]
async fn the_process_itself() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let signals = Signals::listen().unwrap();
    let mut reloads = signals.reloads();
    println!("listening");
    loop {
        tokio::select! {
            () = signals.stop.cancelled() => break,
            changed = reloads.changed() => {
                changed.unwrap();
                println!("reload {}", *reloads.borrow_and_update());
            }
        }
    }
    println!("stopping");
    std::future::pending::<()>().await;
}

#[test]
fn a_hangup_reloads_a_signal_stops_and_a_second_one_ends_at_once() {
    for first in ["TERM", "INT"] {
        let mut process = Process::start();
        process.signal("HUP");
        process.wait_for("reload 1");
        process.signal("HUP");
        process.wait_for("reload 2");
        process.signal(first);
        process.wait_for("stopping");
        assert!(
            process.child.try_wait().unwrap().is_none(),
            "the first signal only asks"
        );
        process.signal("TERM");
        assert_eq!(process.child.wait().unwrap().code(), Some(1));
    }
}
