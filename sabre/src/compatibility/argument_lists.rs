//! The arguments that real deployments pass, read by the table of commands, by the components that check them, and, for
//! documents, by what reads these when a component starts.

mod documents;

use std::{collections::BTreeMap, path::Path};

use sabre_runtime::{
    budget::Budget, flags::Parsed, grpc_server::GrpcOptions, http_server::HttpOptions,
    request_log::RequestLog,
};
use serde::Deserialize;

use super::{Facts, read};
use crate::cli::app;

#[derive(Deserialize)]
struct Arguments {
    /// What the kubelet puts in for `$(NAME)`.
    variables: BTreeMap<String, String>,
    /// Files that are mounted.
    files: BTreeMap<String, String>,
    /// Files that are mounted, and which of this repository they are.
    copies: BTreeMap<String, String>,
    lists: Vec<List>,
}

#[derive(Deserialize)]
struct List {
    from: String,
    args: Vec<String>,
    /// Part of what is said instead of taking them.
    #[serde(default)]
    refused: Option<String>,
}

/// As a container gets them: variables replaced, files below `root`.
fn arrived(list: &List, all: &Arguments, root: &str) -> Vec<String> {
    let mut words = vec!["thanos".to_owned()];
    for word in &list.args {
        let mut word = word.clone();
        for (name, value) in &all.variables {
            word = word.replace(&format!("$({name})"), value);
        }
        for path in all.files.keys().chain(all.copies.keys()) {
            word = word.replace(&format!("={path}"), &format!("={root}{path}"));
        }
        words.push(word);
    }
    words
}

/// What the component makes of the flags, as far as that is possible without asking anybody.
async fn check(parsed: &Parsed) -> Result<(), String> {
    let flags = &parsed.flags;
    if let ["sidecar" | "store" | "compact" | "query"] = parsed.command() {
        HttpOptions::from_flags(flags).map_err(|error| error.to_string())?;
    }
    if let ["sidecar" | "store" | "query"] = parsed.command() {
        GrpcOptions::from_flags(flags).map_err(|error| error.to_string())?;
        RequestLog::from_flags(flags).map_err(|error| error.to_string())?;
    }
    match parsed.command() {
        ["sidecar"] => sabre_sidecar::flags::SidecarConfig::from_flags(flags)
            .map(drop)
            .map_err(|error| format!("{error:#}"))?,
        ["store"] => sabre_store::StoreConfig::from_flags(flags)
            .map(drop)
            .map_err(|error| error.to_string())?,
        ["query"] => {
            let budget = Budget::new(1 << 30, "--sabre.memory-budget");
            let config = sabre_query::config::QueryConfig::from_flags(flags, &budget);
            let config = config.map_err(|error| error.to_string())?;
            documents::read_targets(config.sources).await?;
        }
        _ => {}
    }
    documents::read_all(parsed).await
}

/// What becomes of the arguments: the code with which the command would end, and what it says.
async fn outcome(arguments: Vec<String>) -> Result<(), (u8, String)> {
    let parsed = app()
        .parse(arguments)
        .map_err(|error| (error.exit_code, error.text))?;
    check(&parsed).await.map_err(|error| (1, error))
}

/// Lays out below `root` what is mounted.
fn mount(all: &Arguments, root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (path, text) in &all.files {
        write(path, text);
    }
    for (path, copied) in &all.copies {
        write(
            path,
            &std::fs::read_to_string(super::root().join(copied)).unwrap(),
        );
    }
}

#[tokio::test]
async fn argument_lists_of_real_deployments_are_taken_or_refused_with_a_sentence() {
    let all: Arguments = read("arguments.json");
    let facts: Facts = read("thanos.json");
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display().to_string();
    mount(&all, dir.path());
    let is_missing = |said: &str| {
        let mut flags = facts
            .missing
            .iter()
            .filter_map(|missing| missing.split(' ').next_back());
        flags.any(|flag| said.contains(flag))
    };
    for list in &all.lists {
        match (&list.refused, outcome(arrived(list, &all, &base)).await) {
            (None, Err((_, said))) if is_missing(&said) => {}
            (None, Err((_, said))) => panic!("{}: {said}", list.from),
            (Some(part), Ok(())) => panic!("{}: taken, and not refused with {part}", list.from),
            (Some(part), Err((code, said))) => {
                assert!(said.contains(part), "{}: {said}", list.from);
                assert_ne!(code, 0, "{}", list.from);
            }
            (None, Ok(())) => {}
        }
    }
}

#[tokio::test]
async fn a_key_that_is_unknown_is_found_in_every_document_of_theirs() {
    let all: Arguments = read("arguments.json");
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display().to_string();
    mount(&all, dir.path());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for list in all.lists.iter().filter(|list| list.refused.is_none()) {
        let words = arrived(list, &all, &base);
        for (at, word) in words.iter().enumerate() {
            for (flag, spoiled) in documents::spoiled(word, dir.path()) {
                let mut words = words.clone();
                words[at] = spoiled;
                let Err((_, said)) = outcome(words).await else {
                    panic!("{}: an unknown key in {word} is taken", list.from);
                };
                assert!(said.contains(documents::UNKNOWN), "{}: {word}: {said}", list.from);
                *seen.entry(flag).or_default() += 1;
            }
        }
    }
    let flags: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(
        flags,
        [
            "--http.config",
            "--index-cache.config",
            "--objstore.config",
            "--prometheus.http-client",
            "--selector.relabel-config",
            "--store.caching-bucket.config",
            "--store.sd-files",
            "--tracing.config",
        ]
    );
}
