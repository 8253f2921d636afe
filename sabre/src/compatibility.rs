//! What becomes of each flag of Thanos: a page, made of the table of commands and of two files of facts in
//! `tests/compatibility`. `thanos.json` says which flags there are and how many deployments use them; `shown-by.json` names
//! the tests that see a flag change what is done.
//!
//! `SABRE_WRITE_DOCS=1 cargo test -p sabre compatibility` writes `docs/compatibility.md` anew.

mod argument_lists;
mod lists;
mod page;

use std::{collections::BTreeMap, path::PathBuf};

use sabre_runtime::flags::{CommandSpec, FlagGroup, FlagSpec, Status, groups};
use serde::Deserialize;

use crate::cli::app;
use lists::root;

/// Where flags are read: what a test there sees is a setting and not what it changes.
const SETTINGS: [&str; 4] = [
    "sidecar/src/flags/tests.rs",
    "store/src/config_flags.rs",
    "compactor/src/config.rs",
    "query/src/config/tests.rs",
];

/// Name of a flag and what is known of it, in the order of the alphabet.
type ByFlag<T> = BTreeMap<String, T>;

#[derive(Deserialize)]
struct Facts {
    /// Importance by section and flag.
    sections: BTreeMap<String, ByFlag<String>>,
    /// Flags that deployments use and that are not built so far, as `section --flag`.
    #[serde(default)]
    missing: Vec<String>,
}

/// The flags of a part of the command line, as the page shows them.
struct Section {
    name: String,
    flags: Vec<FlagSpec>,
}

fn data_file(name: &str) -> PathBuf {
    root().join("tests/compatibility").join(name)
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(data_file(name)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn flags(groups: &[FlagGroup]) -> Vec<FlagSpec> {
    groups.iter().flat_map(|group| group.flags.clone()).collect()
}

fn command(words: &[&str]) -> CommandSpec {
    let mut inner = app().commands().to_vec();
    let mut found = None;
    for word in words {
        let command: CommandSpec = inner
            .into_iter()
            .find(|command| command.name == *word)
            .unwrap_or_else(|| panic!("no command {words:?}"));
        inner = command.commands.clone();
        found = Some(command);
    }
    found.unwrap()
}

/// All sections, those that commands share first.
fn sections() -> Vec<Section> {
    let http = flags(&[groups::http()]);
    let grpc = flags(&[groups::grpc_server()]);
    let is_shared = |spec: &FlagSpec| http.iter().chain(&grpc).any(|shared| shared.name == spec.name);
    let of = |name: &str| {
        let words: Vec<&str> = name.split(' ').collect();
        let mut flags = flags(&command(&words).groups);
        flags.retain(|spec| !is_shared(spec));
        Section {
            name: name.to_owned(),
            flags,
        }
    };
    let mut all = vec![
        Section {
            name: "every command".to_owned(),
            flags: flags(app().global_groups()),
        },
        Section {
            name: "HTTP server".to_owned(),
            flags: http.clone(),
        },
        Section {
            name: "gRPC server".to_owned(),
            flags: grpc.clone(),
        },
    ];
    all.extend(["sidecar", "store", "compact", "query", "tools bucket"].map(of));
    let bucket = command(&["tools", "bucket"]);
    for tool in bucket.commands.iter().filter(|tool| tool.refused.is_none()) {
        all.push(Section {
            name: format!("tools bucket {}", tool.name),
            flags: flags(&tool.groups),
        });
    }
    all
}

#[test]
fn every_flag_of_thanos_has_its_place_and_none_that_deployments_use_is_refused() {
    let facts: Facts = read("thanos.json");
    let sections = sections();
    let mut problems = Vec::new();
    for (name, known) in &facts.sections {
        let Some(section) = sections.iter().find(|section| section.name == *name) else {
            panic!("thanos.json has a section {name} that no command has");
        };
        for (flag, importance) in known {
            let spec = section.flags.iter().find(|spec| spec.name == flag);
            let is_used = matches!(importance.as_str(), "core" | "common");
            let is_missing = facts.missing.contains(&format!("{name} --{flag}"));
            match spec.map(|spec| spec.status) {
                None => problems.push(format!("{name} has no --{flag}")),
                Some(Status::Refused(_)) if is_used && !is_missing => {
                    problems.push(format!("{name} refuses --{flag}, which is {importance}"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_tests_that_the_page_names_are_there() {
    let shown: BTreeMap<String, ByFlag<Vec<String>>> = read("shown-by.json");
    let sections = sections();
    for (name, flags) in &shown {
        let section = sections
            .iter()
            .find(|section| section.name == *name)
            .unwrap_or_else(|| panic!("shown-by.json has a section {name} that no command has"));
        for (flag, tests) in flags {
            assert!(
                section.flags.iter().any(|spec| spec.name == flag),
                "{name} has no --{flag}"
            );
            for test in tests {
                let (file, function) = test.split_once("::").unwrap();
                let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
                assert!(
                    text.contains(&format!("fn {function}(")),
                    "{name} --{flag}: {test} is not there"
                );
            }
        }
    }
}

#[test]
fn each_flag_that_works_has_a_test_that_sees_it_change_what_is_done() {
    let shown: BTreeMap<String, ByFlag<Vec<String>>> = read("shown-by.json");
    let mut without = Vec::new();
    for section in sections() {
        for spec in section.flags.iter().filter(|spec| spec.status == Status::Works) {
            let tests = shown.get(&section.name).and_then(|flags| flags.get(spec.name));
            let is_seen = tests.is_some_and(|tests| {
                tests
                    .iter()
                    .any(|test| !SETTINGS.iter().any(|file| test.starts_with(file)))
            });
            if !is_seen {
                without.push(format!("{} --{}", section.name, spec.name));
            }
        }
    }
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn the_page_is_what_the_code_says() {
    let page = page::render(&sections(), &read("thanos.json"), &read("shown-by.json"));
    let path = root().join("docs/compatibility.md");
    if std::env::var_os("SABRE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (ours, theirs) in page.lines().zip(written.lines()) {
        assert_eq!(
            ours, theirs,
            "docs/compatibility.md is old: SABRE_WRITE_DOCS=1 cargo test -p sabre compatibility"
        );
    }
    assert_eq!(page.len(), written.len(), "docs/compatibility.md is old");
}
