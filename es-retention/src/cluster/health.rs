//! What may go wrong soon: disks, blocks, the limit of shards.

use serde::Deserialize;
use serde_json::Value;

use super::{client::Client, error::CallError, transport::Method};

/// The state of the cluster as far as it was told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// `green`, `yellow`, `red`.
    pub status: String,
    /// Nodes that hold data.
    pub data_nodes: u64,
    /// Shards that are assigned or wait to be.
    pub shards: u64,
    /// Shards a data node may have.
    pub max_shards_per_node: u64,
    /// The whole cluster's `read_only` or `read_only_allow_delete`.
    pub read_only: bool,
    /// Nodes and how full their disks are, in percent.
    pub disks: Vec<(String, u64)>,
}

#[derive(Debug, Deserialize)]
struct WireHealth {
    status: String,
    #[serde(default)]
    number_of_data_nodes: u64,
    #[serde(default)]
    active_shards: u64,
    #[serde(default)]
    initializing_shards: u64,
    #[serde(default)]
    unassigned_shards: u64,
}

#[derive(Debug, Deserialize)]
struct WireDisk {
    #[serde(default)]
    node: Option<String>,
    #[serde(rename = "disk.percent", default)]
    percent: Option<String>,
}

/// Later ones win.
const SCOPES: [&str; 3] = ["defaults", "persistent", "transient"];
const DEFAULT_MAX_SHARDS: u64 = 1000;

impl Client {
    /// Status, number of nodes and of shards.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn health(&self) -> Result<Health, CallError> {
        let wire: WireHealth = self
            .ask(self.request(Method::Get, &["_cluster", "health"]))
            .await?;
        let request = self
            .request(Method::Get, &["_cluster", "settings"])
            .parameter("include_defaults", "true")
            .parameter("flat_settings", "true");
        let settings: Value = self.ask(request).await?;
        let setting = |name: &str| {
            let found = SCOPES
                .iter()
                .rev()
                .find_map(|scope| settings.get(scope)?.get(name));
            found.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let is_true = |name: &str| setting(name).as_deref() == Some("true");
        let request = self
            .request(Method::Get, &["_cat", "allocation"])
            .parameter("format", "json")
            .parameter("h", "node,disk.percent");
        let disks: Vec<WireDisk> = self.ask(request).await?;
        Ok(Health {
            status: wire.status,
            data_nodes: wire.number_of_data_nodes,
            shards: wire
                .active_shards
                .saturating_add(wire.initializing_shards)
                .saturating_add(wire.unassigned_shards),
            max_shards_per_node: setting("cluster.max_shards_per_node")
                .and_then(|text| text.parse().ok())
                .unwrap_or(DEFAULT_MAX_SHARDS),
            read_only: is_true("cluster.blocks.read_only")
                || is_true("cluster.blocks.read_only_allow_delete"),
            disks: disks
                .into_iter()
                .filter_map(|disk| Some((disk.node?, disk.percent?.parse().ok()?)))
                .collect(),
        })
    }

    /// The health of one index: `green`, `yellow`, `red`.
    ///
    /// # Errors
    /// As all questions.
    pub(crate) async fn index_health(&self, index: &str) -> Result<String, CallError> {
        let request = self.request(Method::Get, &["_cluster", "health", index]);
        // While a restore begins, engines answer 408 or that there is no such index yet.
        match self.ask::<WireHealth>(request).await {
            Ok(health) => Ok(health.status),
            Err(CallError::Refused {
                status: 408 | 404, ..
            }) => Ok("red".to_owned()),
            Err(error) => Err(error),
        }
    }
}
