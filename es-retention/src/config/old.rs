//! The settings that the old stack had: looked up in the environment, nested, or flat.

use serde_saphyr::Spanned;

use super::{
    ConfigError, Place,
    document::{Bucket, Document, Lambda, Old, Text},
};

/// A setting with the place it came from.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Looks for the old settings.
pub(super) struct OldSettings<'a> {
    pub(super) file: &'a str,
    pub(super) document: &'a Document,
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Variables that were used.
    pub(super) overridden: Vec<String>,
}

/// Where one old setting may stand.
pub(super) struct Key {
    variable: &'static str,
    /// The name in errors.
    pub(super) name: &'static str,
    nested: fn(&Old) -> Text,
    flat: fn(&Old) -> Text,
    /// The line of the mapping it belongs into.
    around: fn(&Old) -> Option<u64>,
}

fn lambda(old: &Old, part: fn(&Lambda) -> &Text) -> Text {
    old.lambda.as_ref().and_then(|lambda| part(&lambda.value).clone())
}

fn lambda_line(old: &Old) -> Option<u64> {
    old.lambda.as_ref().map(|lambda| lambda.referenced.line())
}

pub(super) const REGION: Key = Key {
    variable: "REGION",
    name: "region",
    nested: |_| None,
    flat: |old| old.region.clone(),
    around: |_| None,
};

pub(super) const BUCKET: Key = Key {
    variable: "S3_BUCKET_NAME",
    name: "s3.bucket_name",
    nested: |old| {
        old.s3
            .as_ref()
            .and_then(|s3: &Spanned<Bucket>| s3.value.bucket_name.clone())
    },
    flat: |old| old.bucket_name.clone(),
    around: |old| old.s3.as_ref().map(|s3| s3.referenced.line()),
};

pub(super) const REPOSITORY: Key = Key {
    variable: "ES_REPO_NAME",
    name: "es_repo_name",
    nested: |old| lambda(old, |lambda| &lambda.es_repo_name),
    flat: |old| old.es_repo_name.clone(),
    around: lambda_line,
};

pub(super) const ENDPOINT: Key = Key {
    variable: "HOST",
    name: "es_endpoint",
    nested: |old| lambda(old, |lambda| &lambda.es_endpoint),
    flat: |old| old.es_endpoint.clone(),
    around: lambda_line,
};

pub(super) const PREFIX: Key = Key {
    variable: "ES_INDEX_PREFIX",
    name: "es_index_prefix",
    nested: |old| lambda(old, |lambda| &lambda.es_index_prefix),
    flat: |old| old.es_index_prefix.clone(),
    around: lambda_line,
};

pub(super) const INDEX_RETENTION: Key = Key {
    variable: "INDEX_RETENTION",
    name: "index_retention",
    nested: |old| lambda(old, |lambda| &lambda.index_retention),
    flat: |old| old.index_retention.clone(),
    around: lambda_line,
};

pub(super) const SNAPSHOT_RETENTION: Key = Key {
    variable: "SNAPSHOT_RETENTION",
    name: "snapshot_retention",
    nested: |old| lambda(old, |lambda| &lambda.snapshot_retention),
    flat: |old| old.snapshot_retention.clone(),
    around: lambda_line,
};

impl OldSettings<'_> {
    /// A place in the file.
    pub(super) fn at(&self, line: u64) -> Place {
        Place::File {
            file: self.file.to_owned(),
            line,
        }
    }

    /// Text with its place.
    pub(super) fn found(&self, text: &Spanned<String>) -> Found {
        Found {
            text: text.value.trim().to_owned(),
            place: self.at(text.referenced.line()),
        }
    }

    /// The setting, wherever it stands; `None` when it is nowhere.
    pub(super) fn get(&mut self, key: &Key) -> Result<Option<Found>, ConfigError> {
        if let Some(text) = (self.lookup)(key.variable).filter(|text| !text.trim().is_empty()) {
            self.overridden.push(key.variable.to_owned());
            return Ok(Some(Found {
                text: text.trim().to_owned(),
                place: Place::Variable(key.variable),
            }));
        }
        let old = &self.document.old;
        match ((key.nested)(old), (key.flat)(old)) {
            (Some(_), Some(flat)) => Err(ConfigError {
                place: self.at(flat.referenced.line()),
                problem: format!(
                    "{} is given twice, nested and flat; one of them is wanted",
                    key.name
                ),
            }),
            (nested, flat) => Ok(nested.or(flat).map(|text| self.found(&text))),
        }
    }

    /// The setting, which must be there and not be empty.
    pub(super) fn require(&mut self, key: &Key) -> Result<Found, ConfigError> {
        match self.get(key)? {
            Some(found) if found.text.is_empty() => Err(ConfigError {
                place: found.place,
                problem: format!("{} must not be empty", key.name),
            }),
            Some(found) => Ok(found),
            None => Err(ConfigError {
                place: self.at((key.around)(&self.document.old).unwrap_or(self.document.old_line)),
                problem: format!(
                    "key `{}` is missing here, and the environment has no {}",
                    key.name, key.variable
                ),
            }),
        }
    }
}
