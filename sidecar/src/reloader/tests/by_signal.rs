//! Prometheus told by SIGHUP, which is a shell here, and its API, which says how that went.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::*;

/// A process under a name that no other has, which tells of each SIGHUP that it gets.
struct Process {
    name: String,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    /// It listens when this returns, and ends when its standard input does: then it says nothing more. It starts no other
    /// process, which would have its name for a moment.
    fn start(dir: &Path) -> (Process, ChildStdin) {
        // Longer than what the kernel keeps of a name, and the part that it keeps differs.
        let name = format!("{}-a-prometheus", std::process::id());
        let program = dir.join(&name);
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let script = "trap 'echo hung up' HUP; echo ready; read line";
        // Who runs the tests may ignore the signal, as nohup does, and a shell cannot trap what is ignored when it begins.
        let mut child = Command::new("env")
            .arg("--default-signal=HUP")
            .arg(program)
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut process = Process { name, child, said };
        assert_eq!(process.says(), "ready");
        (process, stdin)
    }

    /// Waits for the next line that it writes.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

fn loaded(world: &World, well: bool, at: &str) {
    let data =
        format!(r#"{{"reloadConfigSuccess":{well},"lastConfigTime":"{at}","storageRetention":"15d"}}"#);
    world.prometheus.answers_data("api/v1/status/runtimeinfo", &data);
}

fn reloader(world: &World, process_name: &str) -> Reloader {
    let trigger = Trigger::Signal {
        process_name: process_name.to_owned(),
        client: world.prometheus.client(),
    };
    let metrics = ReloaderMetrics::new(&world.registry);
    Reloader::new(world.config(), trigger, metrics, lookup, now_ms)
}

#[tokio::test]
async fn a_process_is_sent_a_signal_and_asked_how_it_went() {
    for (well, at) in [(true, "2026-01-01T00:00:01Z"), (false, "2025-12-31T23:59:00Z")] {
        let world = World::new().await;
        loaded(&world, true, "2025-12-31T23:59:00Z");
        let (mut process, stdin) = Process::start(world.dir.path());
        let mut reloader = reloader(&world, &process.name);
        let mut look = tokio::spawn(async move { reloader.look().await });
        let said = tokio::task::spawn_blocking(move || (process.says(), process));
        let (said, process) = tokio::select! {
            said = said => said.unwrap(),
            early = &mut look => {
                // The process must end, or the test does not.
                drop(stdin);
                panic!("nothing was signalled: {early:?}");
            }
        };
        assert_eq!(said, "hung up");
        assert!(!look.is_finished(), "Prometheus has not loaded anything yet");
        loaded(&world, well, at);
        let outcome = look.await.unwrap();
        match outcome {
            Ok(()) => assert!(well),
            Err(ReloadError::Trigger(TriggerError::Failed)) => assert!(!well),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(world.metric("last_reload_successful"), f64::from(u8::from(well)));
        assert_eq!(world.reloads(), 0, "nobody is told over HTTP");
        assert!(
            world
                .registry
                .classic()
                .contains("thanos_sidecar_reloader_info{method=\"signal\"} 1")
        );
        drop(process);
    }
}

#[tokio::test]
async fn a_signal_without_a_process_fails_before_anything_is_sent() {
    let world = World::new().await;
    loaded(&world, true, "2025-12-31T23:59:00Z");
    let error = reloader(&world, "no-such-process")
        .look()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no-such-process"), "{error}");
    assert_eq!(world.prometheus.asked(), ["GET api/v1/status/runtimeinfo"]);
}
