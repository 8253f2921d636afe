//! Every crate linked into the binary is licensed as deny.toml allows, and comes from a registry or from this repository.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sabre_tests::metadata::metadata;
use serde_json::Value;

fn allowed() -> BTreeSet<String> {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deny.toml")).expect("deny.toml");
    let list = text
        .split("allow = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .expect("licenses.allow");
    list.lines()
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_string)
        .collect()
}

/// Evaluates the subset of SPDX that crates use: `A OR B`, `A AND B`, parentheses, `WITH` exceptions, and the old `A/B`.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words: VecDeque<&str> = spaced.split_whitespace().collect();
    let value = any_of(&mut words, allowed);
    assert!(
        words.is_empty(),
        "licence expression not understood: {expression}"
    );
    value
}

fn any_of(words: &mut VecDeque<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut value = all_of(words, allowed);
    while words.front() == Some(&"OR") {
        words.pop_front();
        value |= all_of(words, allowed);
    }
    value
}

fn all_of(words: &mut VecDeque<&str>, allowed: &BTreeSet<String>) -> bool {
    let mut value = term(words, allowed);
    while words.front() == Some(&"AND") {
        words.pop_front();
        value &= term(words, allowed);
    }
    value
}

fn term(words: &mut VecDeque<&str>, allowed: &BTreeSet<String>) -> bool {
    let word = words.pop_front().expect("a licence");
    if word == "(" {
        let value = any_of(words, allowed);
        assert_eq!(words.pop_front(), Some(")"));
        return value;
    }
    let mut name = word.to_string();
    if words.front() == Some(&"WITH") {
        words.pop_front();
        name = format!("{name} WITH {}", words.pop_front().expect("an exception"));
    }
    allowed.contains(&name)
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<String> = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        .map(String::from)
        .into();
    for (expression, want) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT/Apache-2.0", true),
        ("(GPL-3.0 OR MIT) AND Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception OR Zlib", true),
    ] {
        assert_eq!(satisfied(expression, &allowed), want, "{expression}");
    }
}

#[test]
fn what_the_binary_links_is_licensed_permissively() {
    let meta = metadata().expect("cargo metadata");
    let packages: BTreeMap<&str, &Value> = meta["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|p| (p["id"].as_str().expect("id"), p))
        .collect();
    let nodes: BTreeMap<&str, &Value> = meta["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|n| (n["id"].as_str().expect("id"), n))
        .collect();
    let root = packages
        .iter()
        .find(|(_, p)| p["name"] == "sabre")
        .map(|(id, _)| *id)
        .expect("the binary");

    let allowed = allowed();
    let (mut seen, mut queue) = (BTreeSet::from([root]), VecDeque::from([root]));
    let mut refused = Vec::new();
    while let Some(id) = queue.pop_front() {
        let package = packages[id];
        let licence = package["license"].as_str().unwrap_or("none given");
        if !satisfied(licence, &allowed) {
            refused.push(format!("{} {}: {licence}", package["name"], package["version"]));
        }
        let source = package["source"].as_str().unwrap_or("path");
        assert!(
            source == "path" || source.starts_with("registry+"),
            "{} comes from {source}",
            package["name"]
        );
        for dep in nodes[id]["deps"].as_array().expect("deps") {
            let linked = dep["dep_kinds"]
                .as_array()
                .expect("dep_kinds")
                .iter()
                .any(|k| k["kind"].is_null());
            let id = dep["pkg"].as_str().expect("pkg");
            if linked && seen.insert(id) {
                queue.push_back(id);
            }
        }
    }
    assert!(seen.len() > 100, "the walk saw only {} crates", seen.len());
    assert!(
        refused.is_empty(),
        "not allowed by deny.toml:\n{}",
        refused.join("\n")
    );
}
