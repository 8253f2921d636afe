//! What a peer says it is.

use std::collections::BTreeSet;

use sabre_model::Labels;
use sabre_proto::{
    convert::labels_from_wire,
    thanos::{InfoResponse as OldInfo, LabelSet, StoreType, info::InfoResponse},
};

use super::Api;

/// Most label sets and TSDBs of one peer that are looked at; a peer that says more is taken to have everything.
const MAX_SETS: usize = 100_000;

/// What a peer is and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// `sidecar`, `store`, ...
    pub component: String,
    /// The external labels of its streams of data; if none, any series may be there.
    pub label_sets: Vec<Labels>,
    /// What it offers.
    pub apis: BTreeSet<Api>,
    /// What it says of its StoreAPI.
    pub store: StoreFacts,
}

/// What a peer says of its StoreAPI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// The first time it has, in milliseconds.
    pub mint: i64,
    /// The last time it has, in milliseconds.
    pub maxt: i64,
    /// Whether it picks the series of a shard.
    pub supports_sharding: bool,
    /// Whether it takes off replica labels and sorts what is left.
    pub supports_without_replica_labels: bool,
    /// The parts of its data.
    pub tsdbs: Vec<TsdbRange>,
}

/// A part of a peer's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsdbRange {
    /// Its external labels.
    pub labels: Labels,
    /// Its first time, in milliseconds.
    pub mint: i64,
    /// Its last time, in milliseconds.
    pub maxt: i64,
}

impl Default for StoreFacts {
    /// Everything may be there, and nothing is done for us.
    fn default() -> Self {
        Self {
            mint: i64::MIN,
            maxt: i64::MAX,
            supports_sharding: false,
            supports_without_replica_labels: false,
            tsdbs: Vec::new(),
        }
    }
}

impl PeerInfo {
    /// A peer that must be asked although it never said what it is.
    pub(crate) fn unknown_store() -> Self {
        Self {
            component: "store".to_owned(),
            apis: BTreeSet::from([Api::Store]),
            ..Self::default()
        }
    }

    /// What the Info service says.
    pub(crate) fn from_info(answer: InfoResponse) -> Result<Self, String> {
        let offered = [
            (Api::Store, answer.store.is_some()),
            (Api::Rules, answer.rules.is_some()),
            (Api::Targets, answer.targets.is_some()),
            (Api::Metadata, answer.metric_metadata.is_some()),
            (Api::Exemplars, answer.exemplars.is_some()),
            (Api::Query, answer.query.is_some()),
            (Api::Status, answer.status.is_some()),
        ];
        let apis = offered
            .into_iter()
            .filter_map(|(api, there)| there.then_some(api));
        let mut store = StoreFacts::default();
        if let Some(said) = answer.store {
            let known = said.tsdb_infos.len() <= MAX_SETS;
            let infos = if known { said.tsdb_infos } else { Vec::new() };
            for info in infos {
                let labels = info.labels.unwrap_or_default();
                store.tsdbs.push(TsdbRange {
                    labels: labels_from_wire(&labels.labels).map_err(|error| error.to_string())?,
                    mint: info.min_time,
                    maxt: info.max_time,
                });
            }
            store.mint = said.min_time;
            store.maxt = said.max_time;
            store.supports_sharding = said.supports_sharding;
            store.supports_without_replica_labels = said.supports_without_replica_labels;
        }
        Ok(Self {
            component: answer.component_type,
            label_sets: label_sets(&answer.label_sets)?,
            apis: apis.collect(),
            store,
        })
    }

    /// What `thanos.Store/Info` of a peer says that has no Info service.
    pub(crate) fn from_old_info(answer: &OldInfo) -> Result<Self, String> {
        let component = match answer.store_type() {
            StoreType::Unknown => "unknown-store-api",
            StoreType::Query => "query",
            StoreType::Rule => "rule",
            StoreType::Sidecar => "sidecar",
            StoreType::Store => "store",
            StoreType::Receive => "receive",
            StoreType::Debug => "debug",
        };
        let mut sets = label_sets(&answer.label_sets)?;
        if sets.is_empty() && !answer.labels.is_empty() {
            sets.push(labels_from_wire(&answer.labels).map_err(|error| error.to_string())?);
        }
        Ok(Self {
            component: component.to_owned(),
            label_sets: sets,
            apis: BTreeSet::from([Api::Store]),
            store: StoreFacts {
                mint: answer.min_time,
                maxt: answer.max_time,
                ..StoreFacts::default()
            },
        })
    }
}

/// Sets without labels tell nothing and are left out.
fn label_sets(sets: &[LabelSet]) -> Result<Vec<Labels>, String> {
    if sets.len() > MAX_SETS {
        return Ok(Vec::new());
    }
    let mut read = Vec::new();
    for set in sets {
        let labels = labels_from_wire(&set.labels).map_err(|error| error.to_string())?;
        if !labels.is_empty() {
            read.push(labels);
        }
    }
    Ok(read)
}
