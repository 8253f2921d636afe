//! Snapshots: listed, read, taken, deleted, restored.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::Client,
    error::CallError,
    record::Record,
    transport::{Method, Request},
};

/// Names in one request: at 255 bytes each they stay below the 4 KiB that a request line may have.
const NAMES_PER_REQUEST: usize = 12;

/// A snapshot as the repository has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Its UUID; empty when the repository does not say.
    pub uuid: String,
    /// How it ended.
    pub phase: Phase,
    /// The indices in it.
    pub indices: Vec<String>,
    /// Shards that are not in it, or failures listed.
    pub failed_shards: u64,
    /// When it began, by the server's clock; 0 when unknown.
    pub start_ms: i64,
    /// When it ended, by the server's clock; 0 when unknown.
    pub end_ms: i64,
    /// What we wrote down when we took it.
    pub record: Option<Record>,
}

/// How a snapshot ended, or that it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// All of it is there.
    Success,
    /// It runs.
    InProgress,
    /// Some shards are missing.
    Partial,
    /// Nothing usable is there.
    Failed,
    /// The repository lists it and cannot read it, or its state is not known here; the text says which.
    Unknown(String),
}

#[derive(Debug, Deserialize)]
struct SnapshotPage {
    #[serde(default)]
    snapshots: Vec<WireSnapshot>,
    /// The shape of some versions: one page per repository.
    #[serde(default)]
    responses: Vec<RepositoryPage>,
}

#[derive(Debug, Deserialize)]
struct RepositoryPage {
    #[serde(default)]
    snapshots: Vec<WireSnapshot>,
    #[serde(default)]
    error: Value,
}

#[derive(Debug, Deserialize)]
struct WireSnapshot {
    snapshot: String,
    #[serde(default)]
    uuid: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    indices: Vec<String>,
    #[serde(default)]
    start_time_in_millis: i64,
    #[serde(default)]
    end_time_in_millis: i64,
    #[serde(default)]
    failures: Vec<Value>,
    #[serde(default)]
    shards: WireShards,
    #[serde(default)]
    metadata: Value,
}

#[derive(Debug, Default, Deserialize)]
struct WireShards {
    #[serde(default)]
    total: u64,
    #[serde(default)]
    failed: u64,
    #[serde(default)]
    successful: u64,
}

#[derive(Debug, Deserialize)]
struct StatusPage {
    #[serde(default)]
    snapshots: Vec<WireStatus>,
}

#[derive(Debug, Deserialize)]
struct WireStatus {
    #[serde(default)]
    snapshot: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    shards_stats: WireShardsStats,
    #[serde(default)]
    stats: WireStats,
}

#[derive(Debug, Default, Deserialize)]
struct WireShardsStats {
    #[serde(default)]
    done: u64,
    #[serde(default)]
    total: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireStats {
    total: WireSize,
    total_size_in_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
struct WireSize {
    #[serde(default)]
    size_in_bytes: u64,
}

/// How far a snapshot is, or how large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// Its repository.
    pub repository: String,
    /// Its name.
    pub name: String,
    /// The engine's word: `INIT`, `STARTED`, `SUCCESS`, ...
    pub state: String,
    /// Shards that are done.
    pub done_shards: u64,
    /// Shards in all.
    pub total_shards: u64,
    /// Bytes of all its files, shared with other snapshots or not.
    pub size_bytes: u64,
}

impl Snapshot {
    /// How it ended, in the engines' words and ours.
    pub(crate) fn ending(&self) -> String {
        match &self.phase {
            Phase::Success if self.failed_shards > 0 => {
                format!("SUCCESS with {} failed shards", self.failed_shards)
            }
            Phase::Success => "SUCCESS".to_owned(),
            Phase::InProgress => "IN_PROGRESS".to_owned(),
            Phase::Partial => format!("PARTIAL, {} shards failed", self.failed_shards),
            Phase::Failed => "FAILED".to_owned(),
            Phase::Unknown(why) => format!("unreadable: {why}"),
        }
    }

    /// Whether all of `index` is in it: it ended well, no shard failed, and the index is listed.
    pub fn holds_all_of(&self, index: &str) -> bool {
        self.phase == Phase::Success
            && self.failed_shards == 0
            && self.indices.iter().any(|name| name == index)
    }

    /// Whether nothing but `index` is in it.
    pub fn holds_only(&self, index: &str) -> bool {
        self.indices.iter().all(|name| name == index)
    }

    fn unreadable(name: String, why: String) -> Self {
        Self {
            name,
            uuid: String::new(),
            phase: Phase::Unknown(why),
            indices: Vec::new(),
            failed_shards: 0,
            start_ms: 0,
            end_ms: 0,
            record: None,
        }
    }
}

impl WireSnapshot {
    fn read(self) -> Snapshot {
        let phase = match self.state.as_str() {
            "SUCCESS" => Phase::Success,
            "IN_PROGRESS" | "STARTED" | "INIT" => Phase::InProgress,
            "PARTIAL" => Phase::Partial,
            "FAILED" => Phase::Failed,
            other => Phase::Unknown(format!("its state is {other:?}")),
        };
        let missing = self.shards.total.saturating_sub(self.shards.successful);
        let failures = u64::try_from(self.failures.len()).unwrap_or(u64::MAX);
        let failed_shards = match phase {
            Phase::InProgress => 0,
            _ => self.shards.failed.max(missing).max(failures),
        };
        Snapshot {
            record: Record::from_metadata(&self.metadata),
            name: self.snapshot,
            uuid: self.uuid,
            phase,
            indices: self.indices,
            failed_shards,
            start_ms: self.start_time_in_millis,
            end_ms: self.end_time_in_millis,
        }
    }
}

impl Client {
    /// The names of all snapshots of the repository that begin with one of `prefixes`.
    ///
    /// # Errors
    /// As all questions; a repository without snapshots is none.
    pub(crate) async fn snapshot_names(
        &self,
        repository: &str,
        prefixes: &[String],
    ) -> Result<Vec<String>, CallError> {
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        for chunk in prefixes.chunks(NAMES_PER_REQUEST) {
            let patterns: Vec<String> = chunk.iter().map(|prefix| format!("{prefix}*")).collect();
            let request = self
                .request(Method::Get, &["_snapshot", repository, &patterns.join(",")])
                .parameter("verbose", "false");
            for snapshot in self.snapshot_page(request).await? {
                if seen.insert(snapshot.snapshot.clone()) {
                    names.push(snapshot.snapshot);
                }
            }
        }
        Ok(names)
    }

    /// Reads snapshots from the repository. One that cannot be read is [`Phase::Unknown`], one that is not there is
    /// left out.
    ///
    /// # Errors
    /// When the repository or the cluster does not answer.
    pub(crate) async fn snapshots(
        &self,
        repository: &str,
        names: &[String],
    ) -> Result<Vec<Snapshot>, CallError> {
        let mut read = Vec::new();
        for chunk in names.chunks(NAMES_PER_REQUEST) {
            let request = self.request(Method::Get, &["_snapshot", repository, &chunk.join(",")]);
            match self.snapshot_page(request).await {
                Ok(page) if page.len() == chunk.len() => {
                    read.extend(page.into_iter().map(WireSnapshot::read));
                }
                Err(error) if error.is_unreachable() || error == CallError::Stopped => return Err(error),
                // One of them is gone or broken: each is read alone, so that the others count.
                _ => {
                    for name in chunk {
                        read.extend(self.snapshot(repository, name).await?);
                    }
                }
            }
        }
        Ok(read)
    }

    /// Reads one snapshot from the repository; `None` when the engine says that there is none of this name.
    ///
    /// # Errors
    /// When the repository is missing or the cluster does not answer.
    pub(crate) async fn snapshot(&self, repository: &str, name: &str) -> Result<Option<Snapshot>, CallError> {
        let request = self.request(Method::Get, &["_snapshot", repository, name]);
        match self.snapshot_page(request).await {
            Ok(page) => Ok(page
                .into_iter()
                .find(|snapshot| snapshot.snapshot == name)
                .map(WireSnapshot::read)),
            Err(CallError::Refused { kind, reason, .. }) if is_about_one_snapshot(&kind) => Ok(Some(
                Snapshot::unreadable(name.to_owned(), format!("{kind}: {reason}")),
            )),
            Err(error) => Err(error),
        }
    }

    async fn snapshot_page(&self, request: Request) -> Result<Vec<WireSnapshot>, CallError> {
        let shown = request.to_string();
        let page: SnapshotPage = match self.ask(request).await {
            Ok(page) => page,
            Err(error) if error.is("snapshot_missing_exception") => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut snapshots = page.snapshots;
        for response in page.responses {
            if !response.error.is_null() {
                return Err(CallError::Unreadable {
                    request: shown,
                    problem: format!("the repository answers {}", response.error),
                });
            }
            snapshots.extend(response.snapshots);
        }
        Ok(snapshots)
    }

    /// The snapshots that run now, in any repository.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn running_snapshots(&self) -> Result<Vec<SnapshotStatus>, CallError> {
        self.status(self.request(Method::Get, &["_snapshot", "_status"]))
            .await
    }

    /// How far these snapshots are, or how large; reads a file per shard.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn snapshot_status(
        &self,
        repository: &str,
        names: &[String],
    ) -> Result<Vec<SnapshotStatus>, CallError> {
        let mut read = Vec::new();
        for chunk in names.chunks(NAMES_PER_REQUEST) {
            let request = self.request(
                Method::Get,
                &["_snapshot", repository, &chunk.join(","), "_status"],
            );
            read.extend(self.status(request).await?);
        }
        Ok(read)
    }

    async fn status(&self, request: Request) -> Result<Vec<SnapshotStatus>, CallError> {
        let page: StatusPage = self.ask(request).await?;
        let read = page.snapshots.into_iter().map(|status| SnapshotStatus {
            repository: status.repository,
            name: status.snapshot,
            state: status.state,
            done_shards: status.shards_stats.done,
            total_shards: status.shards_stats.total,
            size_bytes: status
                .stats
                .total
                .size_in_bytes
                .max(status.stats.total_size_in_bytes),
        });
        Ok(read.collect())
    }

    /// Begins a snapshot of one index and does not wait for it. The record goes into its metadata where the engine has
    /// such.
    ///
    /// # Errors
    /// When it is refused, or it is not known whether it was begun.
    pub(crate) async fn begin_snapshot(
        &self,
        repository: &str,
        name: &str,
        record: &Record,
    ) -> Result<(), CallError> {
        let mut body = json!({
            "indices": record.index,
            "ignore_unavailable": true,
            "include_global_state": false,
        });
        if self.engine.keeps_metadata()
            && let Some(body) = body.as_object_mut()
        {
            body.insert("metadata".to_owned(), record.to_metadata());
        }
        let request = self
            .request(Method::Put, &["_snapshot", repository, name])
            .parameter("wait_for_completion", "false")
            .json(&body);
        self.command(request).await.map(drop)
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// When it is refused, or it is not known whether it was deleted.
    pub(crate) async fn delete_snapshot(&self, repository: &str, name: &str) -> Result<(), CallError> {
        let request = self.request(Method::Delete, &["_snapshot", repository, name]);
        self.command(request).await.map(drop)
    }

    /// Begins to restore an index of a snapshot under another name, without aliases, blocks, or the policy that would
    /// delete it again.
    ///
    /// # Errors
    /// When it is refused, or it is not known whether it was begun.
    pub(crate) async fn begin_restore(
        &self,
        repository: &str,
        snapshot: &str,
        index: &str,
        target: &str,
    ) -> Result<(), CallError> {
        let body = json!({
            "indices": index,
            "include_global_state": false,
            "include_aliases": false,
            "rename_pattern": "^.+$",
            "rename_replacement": target.replace('$', "\\$"),
            "ignore_index_settings": [
                "index.blocks.*", "index.lifecycle.*", "index.plugins.index_state_management.*",
            ],
        });
        let request = self
            .request(Method::Post, &["_snapshot", repository, snapshot, "_restore"])
            .json(&body);
        self.command(request).await.map(drop)
    }
}

/// Whether an error says that one snapshot is broken, and not the repository or the way to it.
fn is_about_one_snapshot(kind: &str) -> bool {
    kind.contains("snapshot_exception")
        || kind.contains("corrupt")
        || kind.contains("parse_exception")
        || kind.contains("no_such_file")
        || kind.contains("illegal_state")
}

/// Reads bytes as the answers of this file.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(page) = serde_json::from_slice::<SnapshotPage>(data) {
        for snapshot in page.snapshots {
            let _ = snapshot.read().holds_all_of("a");
        }
    }
    let _ = serde_json::from_slice::<StatusPage>(data);
}
