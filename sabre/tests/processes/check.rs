//! `--sabre.check-config`, with the arguments that real deployments pass.

use std::{os::unix::process::CommandExt as _, path::Path, process::Output};

use crate::{
    lists::Arguments,
    support::{binary, command},
};

/// What the program, called as Thanos is, says to these arguments.
fn checked<'a>(arguments: impl IntoIterator<Item = &'a str>, dir: &Path) -> Output {
    command(binary())
        .arg0("thanos")
        .args(arguments)
        .arg("--sabre.check-config")
        .current_dir(dir)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .concat()
}

#[test]
fn arguments_of_real_deployments_are_good_or_refused_by_the_program_itself() {
    let all = Arguments::read();
    let dir = tempfile::tempdir().unwrap();
    all.mount(dir.path());
    for list in &all.lists {
        let arguments = all.arrived(list, dir.path());
        let output = checked(arguments.iter().map(String::as_str), dir.path());
        let text = said(&output);
        match &list.refused {
            None => assert!(
                output.status.success() && text.contains("can be used"),
                "{}: {text}",
                list.from
            ),
            Some(part) => assert!(
                !output.status.success() && text.contains(part.as_str()),
                "{}: {text}",
                list.from
            ),
        }
    }
}

#[test]
fn what_is_checked_is_not_started_and_what_is_wrong_ends_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let flag = format!("--data-dir={}", data_dir.display());
    let bucket = "--objstore.config={type: FILESYSTEM, config: {directory: /nowhere}}";
    for component in ["store", "compact"] {
        let output = checked([component, &flag, bucket], dir.path());
        assert!(output.status.success(), "{}", said(&output));
        assert!(!data_dir.exists(), "nothing was made");
    }
    for (arguments, reason) in [
        (vec!["compact", &flag, "--objstore.config={type: S4}"], "S4"),
        (
            vec!["compact", &flag, bucket, "--retention.resolution-raw=1h"],
            "--retention.resolution-raw",
        ),
        (
            vec!["store", &flag, bucket, "--sabre.memory-budget=1KB"],
            "16777216 are the least",
        ),
        (
            vec![
                "store",
                &flag,
                bucket,
                "--store.caching-bucket.config={type: MEMCACHED, config: {}}",
            ],
            "addresses",
        ),
        (
            vec!["store", &flag, "--objstore.config-file=nowhere.yaml"],
            "nowhere.yaml",
        ),
        (vec!["query", "--http.config=nowhere.yaml"], "--http.config"),
        (
            vec!["es-retention", "plan", "--config-file=nowhere.yml"],
            "nowhere.yml",
        ),
    ] {
        let output = checked(arguments.iter().copied(), dir.path());
        let text = said(&output);
        assert!(
            !output.status.success() && text.contains(reason),
            "{arguments:?}: {text}"
        );
    }
}
