//! The arguments that real deployments pass, as containers get them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// `tests/compatibility/arguments.json`.
#[derive(Deserialize)]
pub(crate) struct Arguments {
    /// What the kubelet puts in for `$(NAME)`.
    variables: BTreeMap<String, String>,
    /// Files that are mounted.
    files: BTreeMap<String, String>,
    /// Files that are mounted, and which of this repository they are.
    copies: BTreeMap<String, String>,
    pub(crate) lists: Vec<List>,
}

/// The arguments of a container.
#[derive(Deserialize)]
pub(crate) struct List {
    pub(crate) from: String,
    pub(crate) args: Vec<String>,
    /// Part of what is said instead of taking them.
    #[serde(default)]
    pub(crate) refused: Option<String>,
}

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

impl Arguments {
    pub(crate) fn read() -> Arguments {
        let path = root().join("tests/compatibility/arguments.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// As the container of a list gets them: variables replaced, files below `dir`, where [`Self::mount`] laid them out.
    pub(crate) fn arrived(&self, list: &List, dir: &Path) -> Vec<String> {
        let mut words = Vec::new();
        for word in &list.args {
            let mut word = word.clone();
            for (name, value) in &self.variables {
                word = word.replace(&format!("$({name})"), value);
            }
            for path in self.files.keys().chain(self.copies.keys()) {
                word = word.replace(&format!("={path}"), &format!("={}{path}", dir.display()));
            }
            words.push(word);
        }
        words
    }

    /// Lays out below `dir` what is mounted.
    pub(crate) fn mount(&self, dir: &Path) {
        let write = |path: &str, text: &str| {
            let path = dir.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (path, text) in &self.files {
            write(path, text);
        }
        for (path, copied) in &self.copies {
            write(path, &std::fs::read_to_string(root().join(copied)).unwrap());
        }
    }
}
