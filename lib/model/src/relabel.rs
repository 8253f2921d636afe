//! Relabel configurations of Prometheus.
//!
//! ```
//! # use sabre_model::{Labels, relabel};
//! let configs: Vec<relabel::RelabelConfig> = serde_saphyr::from_str("
//! - action: hashmod
//!   source_labels: [cluster]
//!   modulus: 2
//!   target_label: shard
//! - action: keep
//!   source_labels: [shard]
//!   regex: 1
//! ")?;
//! let lset = Labels::from_pairs([("cluster", "eu2")])?;
//! assert_eq!(relabel::keep(&configs, lset).unwrap().get("shard"), Some("1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod config;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use crate::go_regex::{GoRegex, RegexError};

pub use apply::keep;

/// What a relabel configuration does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sets the target label from what the expression caught.
    Replace,
    /// Keeps sets whose source labels match.
    Keep,
    /// Drops sets whose source labels match.
    Drop,
    /// Keeps sets whose source labels equal the target label.
    KeepEqual,
    /// Drops sets whose source labels equal the target label.
    DropEqual,
    /// Sets the target label to a hash of the source labels, modulo the modulus.
    HashMod,
    /// Copies labels whose names match to other names.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the source labels in lower case.
    Lowercase,
    /// Sets the target label to the source labels in upper case.
    Uppercase,
}

/// One step of relabelling. Reading it checks it: unknown keys, actions without what they need, and expressions that Go
/// refuses are errors. Numbers stand for their text, as in `regex: 0`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "config::Raw")]
pub struct RelabelConfig {
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    regex: GoRegex,
    modulus: u64,
    target_label: String,
    replacement: String,
}

/// Why a relabel configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RelabelError {
    /// The action is none of Prometheus'.
    #[error(
        "unknown relabel action {0:?}, expected replace, keep, drop, keepequal, dropequal, hashmod, labelmap, \
         labeldrop, labelkeep, lowercase or uppercase"
    )]
    UnknownAction(String),
    /// The action is not for selecting blocks.
    #[error("unsupported relabel action {0}, blocks are selected by keep, drop and hashmod")]
    NotForBlocks(Action),
    /// A key that the action needs is missing.
    #[error("relabel action {action} needs {key}")]
    Missing {
        /// The action.
        action: Action,
        /// The key.
        key: &'static str,
    },
    /// A key is given that means nothing to the action.
    #[error("relabel action {action} takes no {key}")]
    Superfluous {
        /// The action.
        action: Action,
        /// The key.
        key: &'static str,
    },
    /// The modulus is not a whole number.
    #[error("modulus {0:?} is not a whole number below 2^64")]
    Modulus(String),
    /// The expression is not one of Go's, or too large.
    #[error("regex: {0}")]
    Regex(#[from] RegexError),
}

impl Action {
    const ALL: [Action; 11] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::KeepEqual,
        Action::DropEqual,
        Action::HashMod,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::Lowercase,
        Action::Uppercase,
    ];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }

    /// The action with this name, in upper or lower case.
    fn from_name(name: &str) -> Option<Action> {
        Action::ALL
            .into_iter()
            .find(|action| action.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl RelabelConfig {
    /// What it does.
    pub fn action(&self) -> Action {
        self.action
    }
}

/// Checks that blocks can be selected by these configurations: as in Thanos, only keep, drop and hashmod can be used.
pub fn validate_for_blocks(configs: &[RelabelConfig]) -> Result<(), RelabelError> {
    let allowed = |action| matches!(action, Action::Keep | Action::Drop | Action::HashMod);
    match configs.iter().find(|config| !allowed(config.action)) {
        Some(config) => Err(RelabelError::NotForBlocks(config.action)),
        None => Ok(()),
    }
}
