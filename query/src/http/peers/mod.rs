//! What is asked of all peers but series: rules, targets, metadata, exemplars and statistics of their databases.
//!
//! `gather` asks everybody at once and reads what they say; one file for each kind makes one answer of it. How answers
//! are merged is pure and tested by itself. `fetch` gives what peers said as it came, for queriers above; `ask` one answer.

mod allowance;
pub(crate) mod exemplars;
mod gather;
pub(super) mod json;
pub(crate) mod metadata;
pub(crate) mod rules;
mod shapes;
pub(crate) mod statistics;
pub(crate) mod targets;
#[cfg(test)]
mod tests;

pub(crate) use allowance::MEMORY_PATIENCE;
pub use gather::PeerLimits;
pub(crate) use gather::{Call, Gathered};
pub(crate) use shapes::{LABEL, LABEL_SET};

use sabre_model::Labels;
use sabre_proto::{convert::labels_from_wire, thanos::LabelSet};

/// Labels of a peer without those that tell replicas apart. Of labels that are no set, a peer's mistake, nothing is kept.
fn without_replica(labels: Option<&LabelSet>, replica_labels: &[String]) -> Labels {
    let labels = labels.map(|set| labels_from_wire(&set.labels));
    match labels {
        Some(Ok(labels)) => labels.without(replica_labels),
        _ => Labels::default(),
    }
}
