//! The arguments that real deployments pass, read by the table of commands and by the components that check them.

use std::collections::BTreeMap;

use sabre_runtime::{budget::Budget, flags::Parsed, grpc_server::GrpcOptions, http_server::HttpOptions};
use serde::Deserialize;

use super::{Facts, read, root};
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

/// What the component makes of the flags, as far as that is possible without opening anything.
fn check(parsed: &Parsed) -> Result<(), String> {
    let flags = &parsed.flags;
    if let ["sidecar" | "store" | "compact" | "query"] = parsed.command() {
        HttpOptions::from_flags(flags).map_err(|error| error.to_string())?;
    }
    if let ["sidecar" | "store" | "query"] = parsed.command() {
        GrpcOptions::from_flags(flags).map_err(|error| error.to_string())?;
    }
    match parsed.command() {
        ["sidecar"] => sabre_sidecar::flags::SidecarConfig::from_flags(flags)
            .map(drop)
            .map_err(|error| format!("{error:#}")),
        ["store"] => sabre_store::StoreConfig::from_flags(flags)
            .map(drop)
            .map_err(|error| error.to_string()),
        ["query"] => {
            let budget = Budget::new(1 << 30, "--sabre.memory-budget");
            let config = sabre_query::config::QueryConfig::from_flags(flags, &budget);
            config.map(drop).map_err(|error| error.to_string())
        }
        _ => Ok(()),
    }
}

#[test]
fn argument_lists_of_real_deployments_are_taken_or_refused_with_a_sentence() {
    let all: Arguments = read("arguments.json");
    let facts: Facts = read("thanos.json");
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display().to_string();
    let mount = |path: &str, text: &str| {
        let path = dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (path, text) in &all.files {
        mount(path, text);
    }
    for (path, copied) in &all.copies {
        mount(path, &std::fs::read_to_string(root().join(copied)).unwrap());
    }
    let is_missing = |said: &str| {
        let mut flags = facts
            .missing
            .iter()
            .filter_map(|missing| missing.split(' ').next_back());
        flags.any(|flag| said.contains(flag))
    };
    for list in &all.lists {
        let outcome = app()
            .parse(arrived(list, &all, &base))
            .map_err(|error| (error.exit_code, error.text))
            .and_then(|parsed| check(&parsed).map_err(|error| (1, error)));
        match (&list.refused, outcome) {
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
