//! The arrows of ARCHITECTURE.md: who may depend on whom, read from cargo's own metadata.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sabre_tests::metadata::{linked_into, metadata};

/// Folders that know neither a runtime, nor the network, nor a clock.
const PURE: &[&str] = &["sabre-model", "sabre-tsdb", "sabre-downsample", "sabre-promql"];

/// What a pure crate must never reach, at any depth.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "hyper",
    "axum",
    "reqwest",
    "aws-sdk-s3",
    "aws-config",
];

/// Folders at the top that are no rooms; every other one is, a new one too.
const NO_ROOMS: &[&str] = &["proto", "sabre", "tests", "benches"];

/// The one arrow between rooms: tools show what the compactor plans, and clean as it does.
const ALLOWED: (&str, &str) = ("sabre-tools", "sabre-compactor");

const DEV_ONLY: &[&str] = &["sabre-testkit", "sabre-tests", "sabre-benches"];

/// Who may name the S3 client, which decides the time of every clean build: the crate that is there for it, and the benchmarks
/// that compare with it.
const S3_OWNERS: [&str; 2] = ["sabre-objstore", "sabre-benches"];

struct Graph {
    /// package name -> names it depends on in a normal or build way
    normal: BTreeMap<String, BTreeSet<String>>,
    rooms: BTreeSet<String>,
}

impl Graph {
    fn load() -> Graph {
        let meta = metadata().expect("cargo metadata");
        let name_of: BTreeMap<&str, &str> = meta["packages"]
            .as_array()
            .expect("packages")
            .iter()
            .map(|p| (p["id"].as_str().expect("id"), p["name"].as_str().expect("name")))
            .collect();
        let mut normal: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in meta["resolve"]["nodes"].as_array().expect("nodes") {
            let from = name_of[node["id"].as_str().expect("id")];
            let entry = normal.entry(from.to_string()).or_default();
            for dep in node["deps"].as_array().expect("deps") {
                let kinds = dep["dep_kinds"].as_array().expect("dep_kinds");
                if kinds.iter().any(|k| k["kind"] != "dev") {
                    entry.insert(name_of[dep["pkg"].as_str().expect("pkg")].to_string());
                }
            }
        }
        let rooms = rooms(&meta);
        Graph { normal, rooms }
    }

    fn direct(&self, from: &str) -> &BTreeSet<String> {
        &self.normal[from]
    }

    fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([from.to_string()]);
        while let Some(next) = queue.pop_front() {
            for dep in self.normal.get(&next).into_iter().flatten() {
                if seen.insert(dep.clone()) {
                    queue.push_back(dep.clone());
                }
            }
        }
        seen
    }

    fn house(&self) -> impl Iterator<Item = &String> {
        self.normal.keys().filter(|name| name.starts_with("sabre"))
    }
}

/// The packages of the folders at the top.
fn rooms(meta: &serde_json::Value) -> BTreeSet<String> {
    let root = meta["workspace_root"].as_str().expect("workspace_root");
    let members = meta["workspace_members"].as_array().expect("workspace_members");
    let packages = meta["packages"].as_array().expect("packages");
    let folder = |package: &serde_json::Value| {
        let manifest = package["manifest_path"].as_str().expect("manifest_path");
        let inside = manifest.strip_prefix(root)?.trim_start_matches('/');
        inside.strip_suffix("/Cargo.toml").map(str::to_string)
    };
    packages
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .filter(|package| {
            let folder = folder(package).unwrap_or_default();
            !folder.is_empty() && !folder.contains('/') && !NO_ROOMS.contains(&folder.as_str())
        })
        .map(|package| package["name"].as_str().expect("name").to_string())
        .collect()
}

#[test]
fn every_folder_at_the_top_is_a_room_unless_it_is_known_for_something_else() {
    let rooms = Graph::load().rooms;
    for room in ["sabre-sidecar", "sabre-store", "sabre-compactor", "sabre-tools"] {
        assert!(rooms.contains(room), "{room} is not among {rooms:?}");
    }
    for other in ["sabre", "sabre-proto", "sabre-model", "sabre-tests"] {
        assert!(!rooms.contains(other), "{other} is among {rooms:?}");
    }
}

#[test]
fn pure_crates_reach_no_runtime_and_no_network() {
    let graph = Graph::load();
    for pure in PURE {
        let reached = graph.reachable(pure);
        for bad in IMPURE {
            assert!(!reached.contains(*bad), "{pure} is pure, yet reaches {bad}");
        }
    }
}

#[test]
fn rooms_never_import_each_other_nor_the_binary() {
    let graph = Graph::load();
    for room in &graph.rooms {
        for dep in graph.direct(room) {
            if (room.as_str(), dep.as_str()) == ALLOWED {
                continue;
            }
            assert!(
                !graph.rooms.contains(dep) && dep != "sabre",
                "{room} imports {dep}"
            );
        }
    }
}

#[test]
fn the_library_never_points_up_at_a_room() {
    let graph = Graph::load();
    for name in graph.house() {
        let is_room = graph.rooms.contains(name);
        let is_top = name == "sabre" || DEV_ONLY.contains(&name.as_str());
        if is_room || is_top {
            continue;
        }
        for dep in graph.direct(name) {
            assert!(
                !graph.rooms.contains(dep) && dep != "sabre",
                "{name} points up at {dep}"
            );
        }
    }
}

#[test]
fn test_crates_are_never_linked_into_the_binary() {
    let graph = Graph::load();
    let reached = graph.reachable("sabre");
    for dev in DEV_ONLY {
        assert!(!reached.contains(*dev), "the binary links {dev}");
    }
}

#[test]
fn only_objstore_compiles_the_s3_client() {
    let graph = Graph::load();
    for name in graph.house() {
        if !S3_OWNERS.contains(&name.as_str()) {
            assert!(
                !graph.direct(name).contains("aws-sdk-s3"),
                "{name} depends on aws-sdk-s3 itself"
            );
        }
    }
}

#[test]
fn one_tls_stack_one_http_stack() {
    // The graph above has the features of the whole workspace, tests included; cargo tree has the binary's own.
    let tree = linked_into("sabre").expect("cargo tree");
    assert!(tree.len() > 100, "the tree has {} crates only", tree.len());
    for bad in ["ring", "openssl-sys", "native-tls", "serde_yaml"] {
        assert!(!tree.contains(bad), "the binary links {bad}");
    }
}
