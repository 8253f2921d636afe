//! Relabel configurations as they are written.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use crate::go_regex::GoRegex;

use super::{Action, RelabelConfig, RelabelError};

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// The keys of a configuration. A key without a value counts as missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    source_labels: Option<Vec<Scalar>>,
    #[serde(default)]
    separator: Option<Scalar>,
    #[serde(default)]
    regex: Option<Scalar>,
    #[serde(default)]
    modulus: Option<Scalar>,
    #[serde(default)]
    target_label: Option<Scalar>,
    #[serde(default)]
    replacement: Option<Scalar>,
    #[serde(default)]
    action: Option<Scalar>,
}

/// A text, or a number or truth value that stands for its text.
struct Scalar(String);

struct ScalarVisitor;

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        // YAML gives the text as it is written, so that 007 and 1.0 keep their zeros.
        deserializer.deserialize_str(ScalarVisitor)
    }
}

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar(text))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}

impl TryFrom<Raw> for RelabelConfig {
    type Error = RelabelError;

    fn try_from(raw: Raw) -> Result<RelabelConfig, RelabelError> {
        let text = |scalar: Option<Scalar>, default: &str| scalar.map_or(default.to_owned(), |s| s.0);
        let action = text(raw.action, Action::Replace.name());
        let modulus = text(raw.modulus, "0");
        let config = RelabelConfig {
            action: Action::from_name(&action).ok_or(RelabelError::UnknownAction(action))?,
            source_labels: raw
                .source_labels
                .unwrap_or_default()
                .into_iter()
                .map(|s| s.0)
                .collect(),
            separator: text(raw.separator, DEFAULT_SEPARATOR),
            regex: GoRegex::new(text(raw.regex, DEFAULT_REGEX))?,
            modulus: modulus.parse().map_err(|_| RelabelError::Modulus(modulus))?,
            target_label: text(raw.target_label, ""),
            replacement: text(raw.replacement, DEFAULT_REPLACEMENT),
        };
        config.check()?;
        Ok(config)
    }
}

impl RelabelConfig {
    /// Makes a configuration of the texts of action, source labels with commas between, separator, expression, modulus,
    /// target label and replacement; an empty one counts as missing.
    pub(crate) fn from_texts(texts: [String; 7]) -> Result<RelabelConfig, RelabelError> {
        let sources = texts.get(1).filter(|list| !list.is_empty());
        let sources = sources.map(|list| list.split(',').map(|name| Scalar(name.to_owned())).collect());
        let [action, _, separator, regex, modulus, target_label, replacement] =
            texts.map(|text| Some(text).filter(|text| !text.is_empty()).map(Scalar));
        let source_labels = sources;
        Raw {
            source_labels,
            separator,
            regex,
            modulus,
            target_label,
            replacement,
            action,
        }
        .try_into()
    }

    /// Checks that the keys fit the action.
    fn check(&self) -> Result<(), RelabelError> {
        let action = self.action;
        let missing = |key| Err(RelabelError::Missing { action, key });
        match action {
            Action::HashMod if self.modulus == 0 => return missing("modulus"),
            Action::Replace
            | Action::HashMod
            | Action::Lowercase
            | Action::Uppercase
            | Action::KeepEqual
            | Action::DropEqual
                if self.target_label.is_empty() =>
            {
                return missing("target_label");
            }
            Action::LabelMap if self.replacement.is_empty() => return missing("replacement"),
            _ => {}
        }
        let given = [
            ("source_labels", !self.source_labels.is_empty()),
            ("target_label", !self.target_label.is_empty()),
            ("regex", self.regex.pattern() != DEFAULT_REGEX),
            ("modulus", self.modulus != 0),
            ("separator", self.separator != DEFAULT_SEPARATOR),
            ("replacement", self.replacement != DEFAULT_REPLACEMENT),
        ];
        let refused: &[&str] = match action {
            Action::Lowercase | Action::Uppercase => &["replacement"],
            Action::KeepEqual | Action::DropEqual => &["regex", "modulus", "separator", "replacement"],
            Action::LabelDrop | Action::LabelKeep => &[
                "source_labels",
                "target_label",
                "modulus",
                "separator",
                "replacement",
            ],
            _ => &[],
        };
        match given
            .into_iter()
            .find(|(key, given)| *given && refused.contains(key))
        {
            Some((key, _)) => Err(RelabelError::Superfluous { action, key }),
            None => Ok(()),
        }
    }
}
