//! What a compactor refuses before it binds a port.

use std::net::SocketAddr;

use sabre_runtime::flags::{App, groups};
use sabre_runtime::metrics::Registry;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::flags::command;
use crate::run::run;

/// Runs a compactor on a bucket without blocks, and returns why it ended and whether it had bound its port by then.
async fn outcome(more: &[&str]) -> (Result<(), String>, bool) {
    let (listening, mut listens) = oneshot::channel();
    let ended = run_until(more, CancellationToken::new(), listening).await;
    (ended, listens.try_recv().is_ok())
}

async fn run_until(
    more: &[&str],
    stop: CancellationToken,
    listening: oneshot::Sender<SocketAddr>,
) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let objstore = format!(
        "--objstore.config={{type: FILESYSTEM, config: {{directory: {:?}}}}}",
        dir.path().display().to_string()
    );
    let app = App::new("sabre", "0", "")
        .global(groups::global())
        .command(command());
    let arguments = [
        &["sabre", "compact", &objstore, "--http-address=127.0.0.1:0"],
        more,
    ]
    .concat();
    let parsed = app.parse(arguments).map_err(|error| error.text).unwrap();
    let ended = run(&parsed.flags, Registry::new(), stop, Some(listening)).await;
    ended.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_dir_that_is_a_file_ends_the_start_with_flag_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let flag = format!("--data-dir={}", file.display());
    for more in [&[flag.as_str()][..], &[flag.as_str(), "--dry-run"]] {
        let (ended, is_bound) = outcome(more).await;
        let error = ended.unwrap_err();
        let begins = format!("--data-dir: {} cannot be used", file.display());
        assert!(
            error.starts_with(&begins) && error.contains("name a directory"),
            "{error}"
        );
        assert!(!is_bound);
    }
    let flag = format!("--data-dir={}", dir.path().join("data").display());
    assert_eq!(outcome(&[&flag]).await, (Ok(()), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_too_small_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("--data-dir={}", dir.path().display());
    let (ended, is_bound) = outcome(&[&flag, "--sabre.memory-budget=1KB"]).await;
    let error = ended.unwrap_err();
    assert!(error.starts_with("--sabre.memory-budget: 1024 bytes"), "{error}");
    assert!(!is_bound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_dir_in_which_another_compactor_works_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("--data-dir={}", dir.path().display());
    let stop = CancellationToken::new();
    let (listening, listens) = oneshot::channel();
    let first = tokio::spawn({
        let (flag, stop) = (flag.clone(), stop.clone());
        async move { run_until(&[&flag, "--wait"], stop, listening).await }
    });
    listens.await.unwrap();
    let (ended, is_bound) = outcome(&[&flag]).await;
    let error = ended.unwrap_err();
    let begins = format!(
        "--data-dir: {} cannot be used: another process works in it; stop that one",
        dir.path().display()
    );
    assert!(error.starts_with(&begins) && !is_bound, "{error}");
    assert_eq!(outcome(&[&flag, "--dry-run"]).await.0, Ok(()));
    stop.cancel();
    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(outcome(&[&flag]).await, (Ok(()), true));
}
