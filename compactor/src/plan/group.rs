//! Blocks that may be compacted together: of one resolution and one set of external labels.

use std::collections::BTreeMap;

use sabre_model::Labels;

use super::block::BlockInfo;

/// The blocks of one resolution and one set of external labels.
#[derive(Debug, Clone)]
pub struct Group {
    /// `<resolution>@<hash of the labels>`, as Thanos names it.
    pub key: String,
    /// Milliseconds between samples; 0 for raw data.
    pub resolution_ms: i64,
    /// The external labels.
    pub labels: Labels,
    /// Its blocks by begin, then by name.
    pub blocks: Vec<BlockInfo>,
    /// Whether nothing is compacted across a gap between blocks: one whose `meta.json` cannot be read may belong there.
    pub holds_gaps: bool,
}

/// Puts blocks into groups, sorted by key. For `holds_gaps` see [`Group`]: it is the same for all, as nobody knows of which
/// group such a block is.
pub fn groups(blocks: &[BlockInfo], holds_gaps: bool) -> Vec<Group> {
    let mut by_identity: BTreeMap<(i64, Labels), Vec<BlockInfo>> = BTreeMap::new();
    for block in blocks {
        by_identity
            .entry((block.meta.resolution_ms(), block.meta.ext_labels()))
            .or_default()
            .push(block.clone());
    }
    let mut groups: Vec<Group> = Vec::with_capacity(by_identity.len());
    for ((resolution_ms, labels), mut blocks) in by_identity {
        blocks.sort_by_key(|block| (block.meta.min_time, block.id()));
        groups.push(Group {
            key: sabre_model::group_key(resolution_ms, &labels),
            resolution_ms,
            labels,
            blocks,
            holds_gaps,
        });
    }
    groups.sort_by(|a, b| a.key.cmp(&b.key));
    groups
}
