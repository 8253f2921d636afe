//! The arguments that real deployments pass, read by the table of commands, by the components that check them, and, for
//! documents, by what reads these when a component starts.

mod documents;

use std::collections::BTreeMap;

use sabre_runtime::{
    budget::Budget,
    flags::{Parsed, groups},
};

use super::{Facts, lists::Arguments, read};
use crate::{check, cli::app};

/// What the component makes of the flags, as far as that is possible without asking anybody.
async fn check(parsed: &Parsed) -> Result<(), String> {
    check::check(parsed.command(), &parsed.flags).map_err(|error| format!("{error:#}"))?;
    if parsed.command() == ["query"] {
        let budget = Budget::new(1 << 30, groups::MEMORY_BUDGET);
        let config = sabre_query::config::QueryConfig::from_flags(&parsed.flags, &budget);
        documents::read_targets(config.map_err(|error| error.to_string())?.sources).await?;
    }
    documents::none_is_ignored(&parsed.flags)
}

/// What becomes of the arguments: the code with which the command would end, and what it says.
async fn outcome(arguments: Vec<String>) -> Result<(), (u8, String)> {
    let parsed = app()
        .parse(["thanos".to_owned()].into_iter().chain(arguments))
        .map_err(|error| (error.exit_code, error.text))?;
    check(&parsed).await.map_err(|error| (1, error))
}

#[tokio::test]
async fn argument_lists_of_real_deployments_are_taken_or_refused_with_a_sentence() {
    let all = Arguments::read();
    let facts: Facts = read("thanos.json");
    let dir = tempfile::tempdir().unwrap();
    all.mount(dir.path());
    let is_missing = |said: &str| {
        let mut flags = facts
            .missing
            .iter()
            .filter_map(|missing| missing.split(' ').next_back());
        flags.any(|flag| said.contains(flag))
    };
    for list in &all.lists {
        match (&list.refused, outcome(all.arrived(list, dir.path())).await) {
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
    let all = Arguments::read();
    let dir = tempfile::tempdir().unwrap();
    all.mount(dir.path());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for list in all.lists.iter().filter(|list| list.refused.is_none()) {
        let words = all.arrived(list, dir.path());
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
