//! Indices: listed, blocked, deleted, created.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{client::Client, error::CallError, transport::Method};

/// An index as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// When it was created, by the server's clock; 0 when unknown.
    pub created_ms: i64,
    /// What writes to it through another name, if anything does: the alias or data stream.
    pub write_index_of: Option<String>,
    /// Which blocks it has.
    pub blocks: Blocks,
    /// Aliases it is in, with their word on writing.
    pub(crate) aliases: BTreeMap<String, Option<bool>>,
    /// The data stream it is a part of.
    pub(crate) data_stream: Option<String>,
}

/// Blocks of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Nothing can be changed, nor can it be deleted.
    pub read_only: bool,
    /// Nothing can be changed; the disk of a node was full.
    pub read_only_allow_delete: bool,
    /// Nothing can be written.
    pub write: bool,
}

/// What the list of indices says of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexRow {
    /// Whether it is open.
    pub open: bool,
    /// `green`, `yellow`, `red`; empty when unknown.
    pub health: String,
    /// Documents, as searches see them.
    pub docs: u64,
    /// Bytes on disk, replicas included.
    pub size_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct WireRow {
    index: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    health: Option<String>,
    #[serde(rename = "docs.count", default)]
    docs: Option<String>,
    #[serde(rename = "store.size", default)]
    size: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireIndex {
    #[serde(default)]
    aliases: BTreeMap<String, WireAlias>,
    #[serde(default)]
    pub(super) settings: WireSettings,
    #[serde(default)]
    data_stream: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireAlias {
    #[serde(default)]
    is_write_index: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WireSettings {
    #[serde(default)]
    pub(super) index: WireIndexSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireIndexSettings {
    pub(super) uuid: String,
    creation_date: Value,
    pub(super) number_of_shards: Value,
    blocks: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct WireDataStreams {
    #[serde(default)]
    data_streams: Vec<WireDataStream>,
}

#[derive(Debug, Deserialize)]
struct WireDataStream {
    name: String,
    #[serde(default)]
    indices: Vec<WireBacking>,
}

#[derive(Debug, Deserialize)]
struct WireBacking {
    index_name: String,
}

/// Indices and parts of their settings that are asked for: mappings can be megabytes.
pub(super) const INDEX_FILTER: &str = "*.aliases,*.data_stream,*.settings.index.uuid,*.settings.index.creation_date,*.settings.index.number_of_shards,*.settings.index.blocks";

impl Blocks {
    /// Whether documents can come in.
    pub fn lets_write(self) -> bool {
        !(self.read_only || self.read_only_allow_delete || self.write)
    }

    fn read(blocks: &BTreeMap<String, Value>) -> Self {
        let is = |name: &str| {
            blocks
                .get(name)
                .is_some_and(|value| value == "true" || value == &Value::Bool(true))
        };
        Self {
            read_only: is("read_only"),
            read_only_allow_delete: is("read_only_allow_delete"),
            write: is("write"),
        }
    }
}

impl WireIndex {
    fn read(self, name: String) -> Index {
        let aliases = self.aliases.into_iter();
        Index {
            name,
            created_ms: number(&self.settings.index.creation_date).unwrap_or_default(),
            uuid: self.settings.index.uuid,
            write_index_of: None,
            blocks: Blocks::read(&self.settings.index.blocks),
            aliases: aliases
                .map(|(alias, entry)| (alias, entry.is_write_index))
                .collect(),
            data_stream: self.data_stream,
        }
    }
}

/// Engines write numbers of settings as text.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

impl Client {
    /// All indices whose names begin with `prefix`, open or closed, with what the list says of them.
    ///
    /// # Errors
    /// As all questions; no index is no error.
    pub(crate) async fn index_rows(&self, prefix: &str) -> Result<BTreeMap<String, IndexRow>, CallError> {
        let pattern = format!("{prefix}*");
        let mut request = self
            .request(Method::Get, &["_cat", "indices", &pattern])
            .parameter("format", "json")
            .parameter("bytes", "b")
            .parameter("h", "index,status,health,docs.count,store.size");
        if self.engine.has_hidden_indices() {
            request = request.parameter("expand_wildcards", "all");
        }
        let rows: Vec<WireRow> = self.ask(request).await?;
        let count = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|row| {
                let read = IndexRow {
                    open: row.status.as_deref() == Some("open"),
                    health: row.health.unwrap_or_default(),
                    docs: count(row.docs),
                    size_bytes: count(row.size),
                };
                (row.index, read)
            })
            .collect())
    }

    /// All indices whose names begin with `prefix`, with what writes to them.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn indices(&self, prefix: &str) -> Result<Vec<Index>, CallError> {
        self.read_indices(&format!("{prefix}*")).await
    }

    /// One index by its exact name; `None` when the engine says that there is none.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn index(&self, name: &str) -> Result<Option<Index>, CallError> {
        match self.read_indices(name).await {
            // Behind an alias stands an index of another name.
            Ok(found) => Ok(found.into_iter().find(|index| index.name == name)),
            Err(error) if error.is("index_not_found_exception") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_indices(&self, expression: &str) -> Result<Vec<Index>, CallError> {
        let states = if self.engine.has_hidden_indices() {
            "all"
        } else {
            "open,closed"
        };
        let request = self
            .request(Method::Get, &[expression])
            .parameter("expand_wildcards", states)
            .parameter("filter_path", INDEX_FILTER);
        let shown = request.to_string();
        let wire: BTreeMap<String, WireIndex> = self.ask(request).await?;
        let mut indices: Vec<Index> = wire.into_iter().map(|(name, index)| index.read(name)).collect();
        if let Some(nameless) = indices.iter().find(|index| index.uuid.is_empty()) {
            return Err(CallError::Unreadable {
                request: shown,
                problem: format!("index {} has no UUID", nameless.name),
            });
        }
        self.find_writers(&mut indices).await?;
        Ok(indices)
    }

    /// Fills [`Index::write_index_of`]: the index that an alias names as such, the only index of an alias that names
    /// none, the last one of a data stream.
    async fn find_writers(&self, indices: &mut [Index]) -> Result<(), CallError> {
        let mut only_in_sight: HashMap<String, u32> = HashMap::new();
        for index in indices.iter() {
            for alias in index.aliases.keys() {
                *only_in_sight.entry(alias.clone()).or_default() += 1;
            }
        }
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut streams: HashMap<String, Option<String>> = HashMap::new();
        for index in indices.iter_mut() {
            for (alias, says) in &index.aliases {
                let writes = match says {
                    Some(writes) => *writes,
                    None if only_in_sight.get(alias) != Some(&1) => false,
                    None => {
                        let members = match known.get(alias) {
                            Some(members) => *members,
                            None => self.alias_members(alias).await?,
                        };
                        known.insert(alias.clone(), members);
                        members <= 1
                    }
                };
                if writes {
                    index.write_index_of = Some(format!("alias {alias}"));
                }
            }
            if let Some(stream) = &index.data_stream {
                if !streams.contains_key(stream) {
                    streams.insert(stream.clone(), self.write_index_of_stream(stream).await?);
                }
                if streams.get(stream).and_then(Option::as_ref) == Some(&index.name) {
                    index.write_index_of = Some(format!("data stream {stream}"));
                }
            }
        }
        Ok(())
    }

    async fn alias_members(&self, alias: &str) -> Result<usize, CallError> {
        let request = self.request(Method::Get, &["_alias", alias]);
        let members: Result<HashMap<String, serde::de::IgnoredAny>, CallError> = self.ask(request).await;
        match members {
            Ok(members) => Ok(members.len()),
            // Who may not see the others takes the one in sight for the only one, which protects it.
            Err(CallError::Refused {
                status: 401 | 403, ..
            }) => Ok(1),
            Err(error) => Err(error),
        }
    }

    async fn write_index_of_stream(&self, stream: &str) -> Result<Option<String>, CallError> {
        let request = self.request(Method::Get, &["_data_stream", stream]);
        let shown = request.to_string();
        let page: WireDataStreams = self.ask(request).await?;
        let found = page.data_streams.into_iter().find(|found| found.name == stream);
        let last = found.and_then(|mut found| found.indices.pop());
        match last {
            Some(last) => Ok(Some(last.index_name)),
            None => Err(CallError::Unreadable {
                request: shown,
                problem: format!("data stream {stream} has no index"),
            }),
        }
    }

    /// Blocks writes to an index; where the engine can tell, no write is under way any more when this returns.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn block_writes(&self, index: &str) -> Result<(), CallError> {
        if self.engine.has_block_api() {
            let request = self.request(Method::Put, &[index, "_block", "write"]);
            match self.ask::<Value>(request).await {
                // Not every service lets this call through; the setting does the same a moment later.
                Err(CallError::Refused {
                    status: 400 | 401 | 403 | 405,
                    ..
                }) => {}
                other => return other.map(drop),
            }
        }
        let body = json!({"index.blocks.write": true});
        let request = self.request(Method::Put, &[index, "_settings"]).json(&body);
        self.ask::<Value>(request).await.map(drop)
    }

    /// Takes the block of [`Client::block_writes`] away.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn unblock_writes(&self, index: &str) -> Result<(), CallError> {
        let body = json!({"index.blocks.write": null});
        let request = self.request(Method::Put, &[index, "_settings"]).json(&body);
        self.ask::<Value>(request).await.map(drop)
    }

    /// Deletes the index that has this name now.
    ///
    /// # Errors
    /// When it is refused, or it is not known whether it was deleted.
    pub(crate) async fn delete_index(&self, name: &str) -> Result<(), CallError> {
        self.command(self.request(Method::Delete, &[name]))
            .await
            .map(drop)
    }

    /// Creates an index with these settings of `index`; `false` when there was one.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn create_index(&self, name: &str, settings: &Value) -> Result<bool, CallError> {
        let request = self
            .request(Method::Put, &[name])
            .json(&json!({"settings": {"index": settings}}));
        match self.ask::<Value>(request).await {
            Ok(_) => Ok(true),
            Err(error) if error.is("resource_already_exists_exception") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reads bytes as the answers of this file.
pub(crate) fn fuzz(data: &[u8]) {
    let _ = serde_json::from_slice::<Vec<WireRow>>(data);
    let _ = serde_json::from_slice::<WireDataStreams>(data);
    if let Ok(indices) = serde_json::from_slice::<BTreeMap<String, WireIndex>>(data) {
        for (name, index) in indices {
            let _ = index.read(name);
        }
    }
}
