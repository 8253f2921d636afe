//! The one part of Prometheus' configuration the sidecar wants: `global.external_labels`.

use std::{borrow::Cow, collections::BTreeMap};

use sabre_model::Labels;
use sabre_runtime::yaml::{from_str_strict, null_is_default};
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "null_is_default")]
    global: Global,
}

#[derive(Default, Deserialize)]
struct Global {
    #[serde(default, deserialize_with = "null_is_default")]
    external_labels: BTreeMap<String, String>,
}

/// Reads the external labels out of what `/api/v1/status/config` answers; none is an empty set.
///
/// # Errors
/// Text that is not YAML, or labels that are no map of texts.
pub fn external_labels(text: &str) -> Result<Labels, String> {
    let section = global_section(text);
    if section.trim().is_empty() {
        return Ok(Labels::default());
    }
    let document: Document =
        from_str_strict("the configuration Prometheus answered", &section).map_err(|e| e.to_string())?;
    let labels = document.global.external_labels;
    Labels::from_pairs(labels.into_iter().filter(|(_, value)| !value.is_empty()))
        .map_err(|error| error.to_string())
}

/// The lines of the top-level key `global`. Prometheus answers its configuration in block style, and that may be
/// megabytes of scrape configurations; only a text in another style is taken whole.
fn global_section(text: &str) -> Cow<'_, str> {
    let is_top_level_key = |line: &str| line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !text.lines().any(is_top_level_key) {
        return Cow::Borrowed(text);
    }
    let mut section = String::new();
    let mut inside = false;
    for line in text.lines() {
        if is_top_level_key(line) {
            inside = line.starts_with("global:");
        }
        if inside {
            section.push_str(line);
            section.push('\n');
        }
    }
    Cow::Owned(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_out_of_a_real_configuration() {
        let text = "global:\n  scrape_interval: 15s\n  external_labels:\n    cluster: eu1\n    replica: \"0\"\n    shard: 3\nscrape_configs:\n- job_name: a\n  relabel_configs:\n  - {regex: (.+), target_label: x}\n";
        let want = Labels::from_pairs([("cluster", "eu1"), ("replica", "0"), ("shard", "3")]).unwrap();
        assert_eq!(external_labels(text), Ok(want));
    }

    #[test]
    fn no_labels_are_an_empty_set() {
        for text in [
            "",
            "{}",
            "global: {}",
            "global:\n",
            "{\"scrape_configs\":[]}",
            "global:\n  external_labels: {}\n",
            "scrape_configs: []",
        ] {
            assert_eq!(external_labels(text), Ok(Labels::default()), "{text:?}");
        }
    }

    #[test]
    fn a_configuration_of_many_megabytes_is_read() {
        let mut text = "global:\n  external_labels:\n    a: b\n".to_string();
        text.push_str("scrape_configs:\n");
        for i in 0..200_000 {
            text.push_str(&format!("- job_name: job-{i}\n  honor_labels: true\n"));
        }
        assert_eq!(
            external_labels(&text),
            Ok(Labels::from_pairs([("a", "b")]).unwrap())
        );
    }

    #[test]
    fn broken_yaml_is_an_error() {
        assert!(external_labels("global: [").is_err());
    }
}
