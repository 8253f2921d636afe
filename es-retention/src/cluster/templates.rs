//! Whether a template already says how many shards and replicas a new index has.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::{client::Client, error::CallError, transport::Method};

/// What templates set for an index of some name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetByTemplate {
    /// Whether the number of shards is set.
    pub shards: bool,
    /// Whether the number of replicas is set.
    pub replicas: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Simulated {
    #[serde(default)]
    template: Option<WireTemplate>,
}

#[derive(Debug, Default, Deserialize)]
struct WireTemplate {
    #[serde(default)]
    index_patterns: Vec<String>,
    #[serde(default)]
    settings: Value,
}

const LEGACY_FILTER: &str = "*.index_patterns,*.settings.index.number_of_shards,*.settings.index.number_of_replicas,*.settings.index.auto_expand_replicas";

impl Client {
    /// What templates set for an index of this name.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn set_by_template(&self, index: &str) -> Result<SetByTemplate, CallError> {
        if self.engine.simulates_templates() {
            let request = self.request(Method::Post, &["_index_template", "_simulate_index", index]);
            match self.ask::<Simulated>(request).await {
                // Once a composable template matches, old ones do not count.
                Ok(Simulated {
                    template: Some(template),
                }) => return Ok(SetByTemplate::read(&template.settings)),
                Ok(_) => {}
                // Distributions without composable templates, and services that do not let this call through.
                Err(CallError::Refused {
                    status: 400 | 401 | 403 | 404 | 405,
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        let request = self
            .request(Method::Get, &["_template"])
            .parameter("filter_path", LEGACY_FILTER);
        let templates: HashMap<String, WireTemplate> = self.ask(request).await?;
        let mut set = SetByTemplate::default();
        for template in templates.values() {
            if template
                .index_patterns
                .iter()
                .any(|pattern| matches(pattern, index))
            {
                let by_this = SetByTemplate::read(&template.settings);
                set.shards |= by_this.shards;
                set.replicas |= by_this.replicas;
            }
        }
        Ok(set)
    }
}

impl SetByTemplate {
    fn read(settings: &Value) -> Self {
        let is_set = |name: &str| {
            let nested = settings.get("index").and_then(|index| index.get(name));
            nested.or_else(|| settings.get(format!("index.{name}"))).is_some()
        };
        Self {
            shards: is_set("number_of_shards"),
            replicas: is_set("number_of_replicas") || is_set("auto_expand_replicas"),
        }
    }
}

/// Matches a name against a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_engines_do() {
        for (pattern, name, wanted) in [
            ("*", "", true),
            ("*", "a", true),
            ("logging-*", "logging-2026.01.01", true),
            ("logging-*", "logging", false),
            ("a*b*c", "axbxxc", true),
            ("a*b*c", "axcxxb", false),
            ("a*b", "ab", true),
            ("ab*b", "ab", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
