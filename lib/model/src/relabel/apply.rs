//! Relabelling.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use crate::labels::Labels;

use super::{Action, RelabelConfig};

/// Takes a set of labels through the steps of relabelling; nothing is left of one that is dropped on the way. A label
/// that is set to the empty text is removed.
pub fn keep(configs: &[RelabelConfig], lset: Labels) -> Option<Labels> {
    if configs.is_empty() {
        return Some(lset);
    }
    let mut labels = lset.to_map();
    for config in configs {
        if !config.apply(&mut labels) {
            return None;
        }
    }
    Some(Labels::from(labels))
}

impl RelabelConfig {
    /// Takes one step; false drops the labels.
    fn apply(&self, labels: &mut BTreeMap<String, String>) -> bool {
        let source = self.source(labels);
        match self.action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return self.target(labels) == source,
            Action::DropEqual => return self.target(labels) != source,
            Action::Replace => self.replace(labels, &source),
            Action::HashMod => {
                let remainder = hash(&source).checked_rem(self.modulus).unwrap_or(0);
                set(labels, self.target_label.clone(), remainder.to_string());
            }
            Action::Lowercase => set(
                labels,
                self.target_label.clone(),
                each_char(&source, char::to_lowercase),
            ),
            Action::Uppercase => set(
                labels,
                self.target_label.clone(),
                each_char(&source, char::to_uppercase),
            ),
            Action::LabelMap => self.map(labels),
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    /// The values of the source labels, joined.
    fn source(&self, labels: &BTreeMap<String, String>) -> String {
        let value = |name| labels.get(name).map_or("", String::as_str);
        let values: Vec<&str> = self.source_labels.iter().map(value).collect();
        values.join(&self.separator)
    }

    fn target<'a>(&self, labels: &'a BTreeMap<String, String>) -> &'a str {
        labels.get(&self.target_label).map_or("", String::as_str)
    }

    fn replace(&self, labels: &mut BTreeMap<String, String>, source: &str) {
        let Some(captures) = self.regex.captures(source) else {
            return;
        };
        let name = captures.expand(&self.target_label);
        if !name.is_empty() {
            set(labels, name, captures.expand(&self.replacement));
        }
    }

    fn map(&self, labels: &mut BTreeMap<String, String>) {
        let copy = |(name, value): (&String, &String)| {
            let captures = self.regex.captures(name)?;
            Some((captures.expand(&self.replacement), value.clone()))
        };
        let copies: Vec<(String, String)> = labels.iter().filter_map(copy).collect();
        for (name, value) in copies {
            set(labels, name, value);
        }
    }
}

/// Sets a label; the empty value removes it.
fn set(labels: &mut BTreeMap<String, String>, name: String, value: String) {
    if value.is_empty() {
        labels.remove(&name);
    } else {
        labels.insert(name, value);
    }
}

/// Changes characters one by one as Go does: one that would become several stays as it is.
fn each_char<I: Iterator<Item = char>>(text: &str, change: impl Fn(char) -> I) -> String {
    let simple = |c| {
        let mut changed = change(c);
        match (changed.next(), changed.next()) {
            (Some(only), None) => only,
            _ => c,
        }
    };
    text.chars().map(simple).collect()
}

/// The last 8 bytes of the MD5 of a text, most significant first.
fn hash(text: &str) -> u64 {
    let digest = u128::from_be_bytes(Md5::digest(text.as_bytes()).into());
    // The cut is meant.
    digest as u64
}
