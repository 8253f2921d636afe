//! Blocks that may be compacted together: of one resolution and one set of external labels.

use std::collections::BTreeMap;

use sabre_model::Labels;
use sabre_model::duration::format_model;

use super::block::BlockInfo;
use super::downsample::{Covered, next_resolution};
use super::policy::{Policy, RetentionPolicy};
use super::restraint::Restraint;

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
    /// Finer blocks from which one of this group is still to be made: nothing is compacted across their places, as Thanos
    /// stops at blocks that overlap.
    pub awaited: Vec<BlockInfo>,
    /// Blocks of the next resolution, where retention takes blocks of this group away once they have theirs.
    pub coarser: Vec<BlockInfo>,
}

impl Group {
    /// Its key, which logs and metrics name, with what that is made of.
    pub(super) fn title(&self) -> String {
        let resolution = resolution_name(self.resolution_ms);
        format!("{} ({resolution}, {})", self.key, self.labels)
    }
}

/// A resolution, in milliseconds, for people.
pub(super) fn resolution_name(resolution_ms: i64) -> String {
    match resolution_ms {
        0 => "full resolution".to_owned(),
        ms => format_model(ms),
    }
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
            awaited: Vec::new(),
            coarser: Vec::new(),
        });
    }
    groups.sort_by(|a, b| a.key.cmp(&b.key));
    groups
}

/// The groups as compaction plans them: with the finer blocks that each waits for. `now_ms` is the time, in milliseconds
/// since the epoch.
pub fn planned_groups(
    blocks: &[BlockInfo],
    restraint: &Restraint,
    policy: &Policy,
    now_ms: i64,
) -> Vec<Group> {
    let mut groups = groups(blocks, restraint.holds_gaps);
    if !policy.downsamples || policy.retention == RetentionPolicy::default() {
        return groups;
    }
    let covered = Covered::new(blocks);
    let mut awaited: BTreeMap<(i64, Labels), Vec<BlockInfo>> = BTreeMap::new();
    for block in blocks {
        let id = block.id();
        if restraint.never_downsampled.contains(&id) || restraint.marked_for_deletion.contains(&id) {
            continue;
        }
        if let Some(to_ms) = covered.awaited_from(block, policy, now_ms) {
            let of_group = awaited.entry((to_ms, block.meta.ext_labels())).or_default();
            of_group.push(block.clone());
        }
    }
    let mut aggregates: BTreeMap<(i64, Labels), Vec<BlockInfo>> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.resolution_ms != 0) {
        aggregates.insert((group.resolution_ms, group.labels.clone()), group.blocks.clone());
    }
    for group in &mut groups {
        if let (Some(to_ms), Some(_)) = (
            next_resolution(group.resolution_ms),
            policy.retention.of(group.resolution_ms),
        ) {
            group.coarser = aggregates
                .remove(&(to_ms, group.labels.clone()))
                .unwrap_or_default();
        }
        let key = (group.resolution_ms, group.labels.clone());
        group.awaited = awaited.remove(&key).unwrap_or_default();
    }
    groups
}
