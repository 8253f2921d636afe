//! Which engine answers, and what follows from it.

use std::fmt;

use serde::Deserialize;

/// An engine with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    /// Whose engine it is.
    pub flavor: Flavor,
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// Patch version.
    pub patch: u32,
}

/// Whose engine it is. Amazon's service runs either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Elasticsearch.
    Elasticsearch,
    /// OpenSearch.
    OpenSearch,
}

/// What `GET /` answers, as far as it matters.
#[derive(Debug, Deserialize)]
pub(crate) struct MainPage {
    version: MainVersion,
}

#[derive(Debug, Deserialize)]
struct MainVersion {
    number: String,
    #[serde(default)]
    distribution: Option<String>,
}

impl MainPage {
    /// # Errors
    /// A sentence that says what the cluster claims to be.
    pub(crate) fn engine(&self) -> Result<Engine, String> {
        let flavor = match self.version.distribution.as_deref() {
            None | Some("elasticsearch") => Flavor::Elasticsearch,
            Some("opensearch") => Flavor::OpenSearch,
            Some(other) => return Err(format!("the distribution {other:?} is not known")),
        };
        let numbers = self.version.number.split('-').next().unwrap_or_default();
        let mut numbers = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let mut next = || numbers.next().flatten();
        let (Some(major), Some(minor)) = (next(), next()) else {
            return Err(format!("the version {:?} cannot be read", self.version.number));
        };
        let engine = Engine {
            flavor,
            major,
            minor,
            patch: next().unwrap_or_default(),
        };
        if flavor == Flavor::Elasticsearch && major < 6 {
            return Err(format!("{engine} is too old, at least Elasticsearch 6 is wanted"));
        }
        Ok(engine)
    }
}

impl Engine {
    /// Whether a snapshot can carry metadata. Without it a small index of the cluster keeps the records.
    pub fn keeps_metadata(self) -> bool {
        self.is_at_least(7, 3)
    }

    /// Whether deleting an index or a snapshot while a snapshot runs can lose data or fails.
    pub fn deletes_only_when_idle(self) -> bool {
        self.flavor == Flavor::Elasticsearch && (self.major, self.minor) <= (7, 10)
    }

    /// Whether hidden indices exist and patterns must say that they are meant too.
    pub(crate) fn has_hidden_indices(self) -> bool {
        self.is_at_least(7, 7)
    }

    /// Whether a write block can be added so that no write is under way any more once it is there.
    pub(crate) fn has_block_api(self) -> bool {
        self.is_at_least(7, 9)
    }

    /// Whether there are composable templates, and a call that says what they give.
    pub(crate) fn simulates_templates(self) -> bool {
        self.is_at_least(7, 9)
    }

    /// The type that stands in the paths of documents.
    pub(crate) fn document_type(self) -> &'static str {
        match self.major {
            6 if self.flavor == Flavor::Elasticsearch => "doc",
            _ => "_doc",
        }
    }

    /// OpenSearch began from Elasticsearch 7.10.
    fn is_at_least(self, major: u32, minor: u32) -> bool {
        match self.flavor {
            Flavor::OpenSearch => (7, 10) >= (major, minor),
            Flavor::Elasticsearch => (self.major, self.minor) >= (major, minor),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.flavor {
            Flavor::Elasticsearch => "Elasticsearch",
            Flavor::OpenSearch => "OpenSearch",
        };
        write!(formatter, "{name} {}.{}.{}", self.major, self.minor, self.patch)
    }
}
