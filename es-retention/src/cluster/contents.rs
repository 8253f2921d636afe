//! What an index holds, measured shard by shard.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{
    client::Client,
    error::CallError,
    indices::{INDEX_FILTER, WireIndex, number},
    record::Contents,
    transport::Method,
};

#[derive(Debug, Deserialize)]
struct WireStats {
    #[serde(rename = "_shards", default)]
    shards: WireShardCounts,
    #[serde(default)]
    indices: HashMap<String, WireIndexStats>,
}

#[derive(Debug, Default, Deserialize)]
struct WireShardCounts {
    #[serde(default)]
    failed: u64,
}

#[derive(Debug, Deserialize)]
struct WireIndexStats {
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    shards: HashMap<String, Vec<WireShard>>,
}

#[derive(Debug, Deserialize)]
struct WireShard {
    #[serde(default)]
    routing: WireRouting,
    #[serde(default)]
    docs: WireDocs,
    #[serde(default)]
    seq_no: Option<WireSeqNo>,
}

#[derive(Debug, Default, Deserialize)]
struct WireRouting {
    #[serde(default)]
    primary: bool,
}

#[derive(Debug, Default, Deserialize)]
struct WireDocs {
    #[serde(default)]
    count: u64,
}

#[derive(Debug, Deserialize)]
struct WireSeqNo {
    max_seq_no: i64,
}

/// Parts of the statistics that are asked for.
const STATS_FILTER: &str = "_shards,indices.*.uuid,indices.*.shards.*.routing.primary,indices.*.shards.*.docs.count,indices.*.shards.*.seq_no.max_seq_no";

impl Client {
    /// Makes all writes visible, so that documents are counted that came in last.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn refresh(&self, index: &str) -> Result<(), CallError> {
        let request = self.request(Method::Post, &[index, "_refresh"]);
        self.ask::<Value>(request).await.map(drop)
    }

    /// Measures what an index holds after a refresh; the inner error says why it cannot be told.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn measure(&self, index: &str) -> Result<Result<Contents, String>, CallError> {
        // The refresh of an index whose primaries are missing waits for a minute, so shards are counted first.
        if let Err(problem) = self.contents(index).await? {
            return Ok(Err(problem));
        }
        self.refresh(index).await?;
        self.contents(index).await
    }

    /// Measures what an index holds, shard by shard; the inner error says why it cannot be told.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn contents(&self, index: &str) -> Result<Result<Contents, String>, CallError> {
        let request = self
            .request(Method::Get, &[index, "_stats", "docs"])
            .parameter("level", "shards")
            .parameter("filter_path", STATS_FILTER);
        let mut stats: WireStats = self.ask(request).await?;
        if stats.shards.failed > 0 {
            return Ok(Err(format!("{} shards did not answer", stats.shards.failed)));
        }
        let Some(found) = stats.indices.remove(index) else {
            return Ok(Err("no shard answered".to_owned()));
        };
        // Statistics of some versions carry no UUID, and they do not say how many shards there should be.
        let request = self
            .request(Method::Get, &[index])
            .parameter("filter_path", INDEX_FILTER);
        let mut settings: HashMap<String, WireIndex> = self.ask(request).await?;
        let Some(settings) = settings.remove(index).map(|wire| wire.settings.index) else {
            return Ok(Err("it is not there under this name".to_owned()));
        };
        if found.uuid.is_some_and(|uuid| uuid != settings.uuid) {
            return Ok(Err("it was made again just now".to_owned()));
        }
        let shards = number(&settings.number_of_shards).unwrap_or(i64::MAX);
        Ok(primaries(&found.shards, shards)
            .map(|(docs, numbers)| Contents::new(settings.uuid, docs, &numbers)))
    }

    /// The number of documents in an index.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn count(&self, index: &str) -> Result<u64, CallError> {
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        let count: Count = self.ask(self.request(Method::Get, &[index, "_count"])).await?;
        Ok(count.count)
    }
}

/// Documents and greatest sequence numbers of all primary shards, which must all be there.
fn primaries(
    shards: &HashMap<String, Vec<WireShard>>,
    wanted: i64,
) -> Result<(u64, BTreeMap<u32, i64>), String> {
    let mut docs = 0_u64;
    let mut numbers = BTreeMap::new();
    for (number, copies) in shards {
        let primary = copies.iter().find(|copy| copy.routing.primary);
        let (Ok(number), Some(primary)) = (number.parse(), primary) else {
            return Err(format!("the primary of shard {number} is not there"));
        };
        let Some(seq_no) = &primary.seq_no else {
            return Err("it has no sequence numbers, it was made by a version before 6".to_owned());
        };
        docs = docs.saturating_add(primary.docs.count);
        numbers.insert(number, seq_no.max_seq_no);
    }
    if i64::try_from(numbers.len()) != Ok(wanted) {
        return Err(format!(
            "{} of its {wanted} primary shards are there",
            numbers.len()
        ));
    }
    Ok((docs, numbers))
}

/// Reads bytes as the answers of this file.
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(stats) = serde_json::from_slice::<WireStats>(data) {
        for index in stats.indices.values() {
            let _ = primaries(&index.shards, 1);
        }
    }
}
