//! Which blocks of a view count: pure functions, applied in Thanos' order.

mod consistency;
mod deletion;
mod duplicates;
mod replicas;
mod shard;
#[cfg(test)]
mod tests;
mod time;

use std::{collections::BTreeMap, sync::Arc};

use sabre_model::{
    BlockId,
    relabel::{Action, RelabelConfig},
};
use sabre_tsdb::meta::{BlockMeta, DeletionMark};

pub use self::{
    consistency::fresh_until_ms, consistency::is_too_fresh, deletion::is_expired, duplicates::duplicates,
    duplicates::sources_of, shard::is_of_shard, time::TimePartition,
};

/// What became of a block in a sync: the `state` label of `thanos_blocks_meta_synced`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Its `meta.json` is broken, or of an unknown version.
    CorruptedMeta,
    /// It has no `meta.json`: its upload runs, or was given up.
    NoMeta,
    /// It counts.
    Loaded,
    /// It is younger than the consistency delay.
    TooFresh,
    /// It could not be looked at this time.
    Failed,
    /// It belongs to another shard.
    LabelExcluded,
    /// It lies outside the time partition.
    TimeExcluded,
    /// Another block holds all it has.
    Duplicate,
    /// It carries a deletion mark that is old enough.
    MarkedForDeletion,
    /// It carries a mark that keeps it out of compaction.
    MarkedForNoCompact,
    /// It is served from another bucket.
    ParquetMigrated,
}

/// The filters of a component; each is off by default. They are applied in the order of the fields.
#[derive(Debug, Clone, Default)]
pub struct FilterChain {
    /// Drops blocks that lie outside.
    pub time_partition: Option<TimePartition>,
    /// Drops blocks whose external labels, with `__block_id` added, these do not keep.
    pub shard: Vec<RelabelConfig>,
    /// Drops blocks younger than this, in milliseconds.
    pub consistency_delay_ms: i64,
    /// Drops blocks whose deletion mark is older than this, in milliseconds.
    pub ignore_deletion_marks_delay_ms: Option<i64>,
    /// Takes these labels out of the metas: replicas become one stream. Where none is left, the first of them stays,
    /// with the value `deduped`. Sharding by hash does not see them either.
    pub replica_labels: Vec<String>,
    /// Drops blocks whose data others hold as well.
    pub drop_duplicates: bool,
}

/// What a [`FilterChain`] made of some blocks.
#[derive(Debug, Default)]
pub struct Filtered {
    /// What is left, in the order in which it came.
    pub kept: Vec<Arc<BlockMeta>>,
    /// What each filter dropped, and why.
    pub dropped: BTreeMap<BlockId, State>,
    /// The metas of those dropped because others hold their data, as the filters before left them.
    pub duplicates: Vec<Arc<BlockMeta>>,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::CorruptedMeta,
        Self::NoMeta,
        Self::Loaded,
        Self::TooFresh,
        Self::Failed,
        Self::LabelExcluded,
        Self::TimeExcluded,
        Self::Duplicate,
        Self::MarkedForDeletion,
        Self::MarkedForNoCompact,
        Self::ParquetMigrated,
    ];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CorruptedMeta => "corrupted-meta-json",
            Self::NoMeta => "no-meta-json",
            Self::Loaded => "loaded",
            Self::TooFresh => "too-fresh",
            Self::Failed => "failed",
            Self::LabelExcluded => "label-excluded",
            Self::TimeExcluded => "time-excluded",
            Self::Duplicate => "duplicate",
            Self::MarkedForDeletion => "marked-for-deletion",
            Self::MarkedForNoCompact => "marked-for-no-compact",
            Self::ParquetMigrated => "parquet-migrated",
        }
    }
}

impl FilterChain {
    /// Filters blocks, whose deletion marks are `marks`, as of `now_ms`.
    pub fn apply(
        &self,
        metas: Vec<Arc<BlockMeta>>,
        marks: &BTreeMap<BlockId, DeletionMark>,
        now_ms: i64,
    ) -> Filtered {
        let mut filtered = Filtered {
            kept: metas,
            ..Filtered::default()
        };
        if let Some(partition) = &self.time_partition {
            let (min_ms, max_ms) = partition.resolve(now_ms);
            filtered.drop_if(State::TimeExcluded, |meta| !time::overlaps(meta, min_ms, max_ms));
        }
        if !self.shard.is_empty() {
            let hidden: &[String] = match self.shard.iter().any(|rule| rule.action() == Action::HashMod) {
                true => &self.replica_labels,
                false => &[],
            };
            filtered.drop_if(State::LabelExcluded, |meta| {
                !shard::is_of_shard_without(meta, &self.shard, hidden)
            });
        }
        filtered.drop_if(State::TooFresh, |meta| {
            is_too_fresh(meta, self.consistency_delay_ms, now_ms)
        });
        if let Some(delay_ms) = self.ignore_deletion_marks_delay_ms {
            filtered.drop_if(State::MarkedForDeletion, |meta| {
                marks
                    .get(&meta.ulid)
                    .is_some_and(|mark| is_expired(mark, delay_ms, now_ms))
            });
        }
        if !self.replica_labels.is_empty() {
            for meta in &mut filtered.kept {
                replicas::remove(Arc::make_mut(meta), &self.replica_labels);
            }
        }
        if self.drop_duplicates {
            let duplicates = duplicates(&filtered.kept);
            let metas = filtered.kept.iter();
            let dropped = metas.filter(|meta| duplicates.contains(&meta.ulid));
            filtered.duplicates = dropped.cloned().collect();
            filtered.drop_if(State::Duplicate, |meta| duplicates.contains(&meta.ulid));
        }
        filtered
    }
}

impl Filtered {
    fn drop_if(&mut self, state: State, is_dropped: impl Fn(&BlockMeta) -> bool) {
        let dropped = &mut self.dropped;
        self.kept.retain(|meta| {
            let drops = is_dropped(meta);
            if drops {
                dropped.insert(meta.ulid, state);
            }
            !drops
        });
    }
}
