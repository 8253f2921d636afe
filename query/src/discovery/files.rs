//! Files with targets, as Prometheus' `file_sd_configs` have them.

use std::{
    io,
    path::{Path, PathBuf},
};

use sabre_runtime::yaml::{self, null_is_default};
use serde::{Deserialize, de::IgnoredAny};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default, deserialize_with = "null_is_default")]
    targets: Vec<String>,
    /// Means nothing here.
    #[serde(default, rename = "labels")]
    _labels: Option<IgnoredAny>,
}

/// The targets in a file, whether YAML or JSON.
pub(crate) fn parse(what: &str, text: &str) -> Result<Vec<String>, String> {
    let groups: Option<Vec<Group>> = yaml::from_str_strict(what, text).map_err(|error| error.to_string())?;
    let targets = groups
        .unwrap_or_default()
        .into_iter()
        .flat_map(|group| group.targets);
    Ok(targets.map(|target| target.trim().to_owned()).collect())
}

/// Reads all files that a path stands for; `*` in its last part is any text.
pub(crate) fn read(pattern: &str) -> Result<Vec<String>, String> {
    let mut targets = Vec::new();
    for path in paths(pattern).map_err(|error| format!("{pattern}: {error}"))? {
        let what = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{what}: {error}"))?;
        targets.extend(parse(&what, &text)?);
    }
    Ok(targets)
}

fn paths(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if !name.contains('*') {
        return Ok(vec![path.to_owned()]);
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|text| fits(name, text)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a text is the pattern, where `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(behind) = text.strip_prefix(before) else {
        return false;
    };
    let mut starts = behind.char_indices().map(|(at, _)| at).chain([behind.len()]);
    starts.any(|at| behind.get(at..).is_some_and(|end| fits(rest, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_file_are_read() {
        let yaml = "- targets: ['a:1', ' b:2 ']\n  labels: {x: y}\n- targets:\n";
        assert_eq!(parse("f", yaml).unwrap(), ["a:1", "b:2"]);
        assert_eq!(
            parse("f", r#"[{"targets": ["a:1"], "labels": {}}]"#).unwrap(),
            ["a:1"]
        );
        assert_eq!(parse("f", "").unwrap(), Vec::<String>::new());
        assert!(parse("f", "- target: x").unwrap_err().contains("target"));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let folder = tempfile::tempdir().unwrap();
        for (name, target) in [("b.yaml", "b:1"), ("a.yaml", "a:1"), ("c.json", "c:1")] {
            std::fs::write(folder.path().join(name), format!("[{{targets: ['{target}']}}]")).unwrap();
        }
        let pattern = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(read(&pattern("*.yaml")).unwrap(), ["a:1", "b:1"]);
        assert_eq!(read(&pattern("*")).unwrap().len(), 3);
        assert_eq!(read(&pattern("c.json")).unwrap(), ["c:1"]);
        assert!(read(&pattern("d.json")).unwrap_err().contains("d.json"));
        assert!(fits("a*b*c", "axxbc") && !fits("a*b*c", "axxb") && fits("*", ""));
    }
}
