//! The documents within arguments, read by what reads them when a component starts.

use std::path::Path;

use sabre_cache::config::{MEMCACHED_KEYS, MEMORY_KEYS, REDIS_KEYS};
use sabre_query::discovery::{DiscoveryMetrics, SourceOptions, Sources};
use sabre_runtime::{flags::Flags, metrics::Registry, yaml};
use serde_json::Value;

/// A key that no document has.
pub(super) const UNKNOWN: &str = "zzz_unknown";

/// Flags whose value is a document, or with `-file` behind the name the path of one.
const CONTENTS: [&str; 8] = [
    "endpoint.sd-config",
    "index-cache.config",
    "objstore.config",
    "prometheus.http-client",
    "request.logging-config",
    "selector.relabel-config",
    "store.caching-bucket.config",
    "tracing.config",
];

/// Flags whose value is the path of a document.
const PATHS: [&str; 2] = ["http.config", "store.sd-files"];

/// Caches ignore keys of their `config` that they do not know, as Thanos' do, with a line in the log: of the documents that
/// deployments have they know all.
pub(super) fn none_is_ignored(flags: &Flags) -> Result<(), String> {
    for name in ["index-cache.config", "store.caching-bucket.config"] {
        // Not every command has them.
        if let Ok(Some(text)) = flags.content(name) {
            all_are_known(name, &text).map_err(|error| format!("--{name}: {error}"))?;
        }
    }
    Ok(())
}

fn all_are_known(name: &str, text: &str) -> Result<(), String> {
    let document: Value = yaml::from_str_strict(name, text).map_err(|error| error.to_string())?;
    let kind = document["type"].as_str().unwrap_or_default().to_uppercase();
    let known = match kind.as_str() {
        "IN-MEMORY" => MEMORY_KEYS,
        "MEMCACHED" => MEMCACHED_KEYS,
        "REDIS" => REDIS_KEYS,
        _ => return Err(format!("{kind} is no type of cache")),
    };
    let keys = document["config"].as_object().into_iter().flatten();
    match keys
        .map(|(key, _)| key)
        .find(|key| !known.contains(&key.as_str()))
    {
        None => Ok(()),
        Some(ignored) => Err(format!("config.{ignored} is not known and ignored")),
    }
}

/// Reads the files of `--store.sd-files`, each of which names somebody.
pub(super) async fn read_targets(sources: SourceOptions) -> Result<(), String> {
    for path in &sources.target_files {
        let options = SourceOptions {
            fixed: Vec::new(),
            document: None,
            document_file: None,
            target_files: vec![path.clone()],
            ..sources.clone()
        };
        let mut read = Sources::new(options, DiscoveryMetrics::register(&Registry::new()))
            .map_err(|error| error.to_string())?;
        if read.specs().await.is_empty() {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
            return Err(format!("--store.sd-files: {path} names nobody: {text}"));
        }
    }
    Ok(())
}

/// The argument with an unknown key in its document, at the top and within `config`, each with the name of the flag; nothing
/// if it holds none.
pub(super) fn spoiled(word: &str, dir: &Path) -> Vec<(String, String)> {
    let Some((flag, value)) = word.split_once('=') else {
        return Vec::new();
    };
    let name = flag.trim_start_matches("--");
    let of_file = name.strip_suffix("-file").filter(|name| CONTENTS.contains(name));
    let is_path = of_file.is_some() || PATHS.contains(&name);
    if !is_path && !CONTENTS.contains(&name) {
        return Vec::new();
    }
    let text = if is_path {
        std::fs::read_to_string(value).unwrap()
    } else {
        value.to_owned()
    };
    let document: Value = yaml::from_str_strict(name, &text).unwrap();
    let shown = format!("--{}", of_file.unwrap_or(name));
    let mut all = Vec::new();
    for (number, document) in with_unknown_keys(&document).into_iter().enumerate() {
        // What is JSON is YAML.
        let mut given = document.to_string();
        if is_path {
            let path = dir.join(format!("spoiled-{number}.yaml"));
            std::fs::write(&path, given).unwrap();
            given = path.display().to_string();
        }
        all.push((shown.clone(), format!("{flag}={given}")));
    }
    all
}

fn with_unknown_keys(document: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    let mut top = document.clone();
    let first = match &mut top {
        Value::Array(items) => items.first_mut().unwrap(),
        map => map,
    };
    first
        .as_object_mut()
        .unwrap()
        .insert(UNKNOWN.to_owned(), Value::from(1));
    all.push(top);
    // Of tracers that are not built nothing is known.
    let is_known = document["type"] != "JAEGER";
    let mut inner = document.clone();
    if let Some(config) = inner.get_mut("config").and_then(Value::as_object_mut)
        && is_known
    {
        config.insert(UNKNOWN.to_owned(), Value::from(1));
        all.push(inner);
    }
    all
}
