//! `app-config.yml`: the old stack's file unchanged, the variables of its functions, and a section of our own.
//!
//! Everything is checked before anything is touched; what is wrong is said with the line and the reason.

mod check;
mod document;
mod old;
mod own;
#[cfg(test)]
mod tests;

use std::fmt;

use croner::Cron;
use jiff::tz::TimeZone;

use crate::{
    access::AccessSettings,
    cluster::{Patience, repository::Repository},
    plan::Policy,
};
pub use document::MetricsSettings;

/// The name of the file when no other is given.
pub const DEFAULT_FILE: &str = "app-config.yml";

/// Everything a run needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the cluster is.
    pub endpoint: String,
    /// The region of the cluster and the bucket; empty when nothing needs one.
    pub region: String,
    /// The name of the snapshot repository.
    pub repository_name: String,
    /// What it is registered as.
    pub repository: Repository,
    /// What is kept how long, one for each prefix.
    pub policies: Vec<Policy>,
    /// Deletions beyond a day's usual ones.
    pub max_deletes: u32,
    /// How the cluster is reached.
    pub access: AccessSettings,
    /// How long it is waited for.
    pub patience: Patience,
    /// From how many percent on a disk, or the number of shards, is reported.
    pub warn: Warn,
    /// Where metrics of a single run go.
    pub metrics: MetricsSettings,
    /// When `schedule` runs.
    pub schedule: Schedule,
    /// Keys that have no meaning here, for a log line.
    pub unused: Vec<String>,
    /// Variables that replaced what the file says, for a log line.
    pub overridden: Vec<String>,
}

/// From how many percent on something is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warn {
    /// Of a disk.
    pub disk_percent: u64,
    /// Of the shards that the cluster may have.
    pub shards_percent: u64,
}

/// When `schedule` runs.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The pattern.
    pub cron: Cron,
    /// Whose clock it means.
    pub zone: TimeZone,
}

/// What is given beside the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--role-arn`.
    pub role_arn: Option<String>,
    /// `--max-deletes`.
    pub max_deletes: Option<u32>,
}

/// What is wrong with the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What, and what to do.
    pub problem: String,
}

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// Its name.
        file: String,
        /// The line, from 1; 0 when unknown.
        line: u64,
    },
    /// In a variable of the environment.
    Variable(&'static str),
    /// In a flag.
    Flag(&'static str),
    /// Elsewhere, with line and column said already.
    Said(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line: 0 } => formatter.write_str(file),
            Place::File { file, line } => write!(formatter, "{file}: line {line}"),
            Place::Variable(name) => write!(formatter, "environment variable {name}"),
            Place::Flag(name) => write!(formatter, "--{name}"),
            Place::Said(text) => formatter.write_str(text),
        }
    }
}

impl Config {
    /// Reads and checks the text of the file `file`, with the environment as `lookup` gives it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(
        file: &str,
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let document = document::Document::read(file, text, lookup)?;
        check::check(file, &document, lookup, overrides)
    }
}
