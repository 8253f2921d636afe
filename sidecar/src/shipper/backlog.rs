//! Blocks that are not in the bucket yet, and those that never will be.

use std::collections::{BTreeMap, BTreeSet};

use sabre_model::BlockId;
use serde::{Deserialize, Serialize};

use super::{
    plan::{Policy, Step},
    scan::LocalBlocks,
};

/// Blocks that were seen and not shipped.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: BTreeMap<BlockId, Waiting>,
    /// What waited when an earlier sidecar ended is among them.
    has_inherited: bool,
}

/// What is known of a block that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    #[serde(rename = "min_time")]
    pub(crate) mint: i64,
    #[serde(rename = "max_time")]
    pub(crate) maxt: i64,
    pub(crate) samples: u64,
}

/// A block that cannot be shipped any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) block: BlockId,
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) samples: u64,
    pub(crate) how: LostBy,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LostBy {
    /// Its directory is gone.
    Deleted,
    /// Prometheus compacted it into a block that is not shipped.
    Compacted,
}

impl LostBy {
    /// The label of the metric.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            LostBy::Deleted => "deleted",
            LostBy::Compacted => "compacted",
        }
    }
}

impl Backlog {
    /// Compares with what is there now, and returns what was lost since the last call.
    pub(crate) fn note(
        &mut self,
        local: &LocalBlocks,
        steps: &[(BlockId, Step)],
        policy: &Policy,
    ) -> Vec<Lost> {
        let present: BTreeSet<BlockId> = local
            .blocks
            .iter()
            .map(|block| block.id)
            .chain(local.unreadable.iter().map(|block| block.id))
            .collect();
        let mut lost = Vec::new();
        self.waiting.retain(|block, waiting| {
            if present.contains(block) {
                return true;
            }
            let how = match successor(local, *block) {
                Some(_) if policy.upload_compacted => return false,
                Some(successor) if is_kept(steps, successor) => return false,
                Some(_) => LostBy::Compacted,
                None => LostBy::Deleted,
            };
            lost.push(Lost {
                block: *block,
                mint: waiting.mint,
                maxt: waiting.maxt,
                samples: waiting.samples,
                how,
            });
            false
        });
        for (block, (_, step)) in local.blocks.iter().zip(steps) {
            match step {
                Step::Ship { .. } => {
                    let waiting = Waiting {
                        mint: block.meta.min_time,
                        maxt: block.meta.max_time,
                        samples: block.meta.stats.num_samples,
                    };
                    self.waiting.insert(block.id, waiting);
                }
                Step::Keep | Step::Skip(_) => self.shipped(block.id),
            }
        }
        lost
    }

    /// Whether it was told what waited when an earlier sidecar ended.
    pub(crate) fn has_inherited(&self) -> bool {
        self.has_inherited
    }

    /// Takes over what waited when an earlier sidecar ended, but for blocks that got to the bucket right before.
    pub(crate) fn inherit(&mut self, waiting: &BTreeMap<BlockId, Waiting>, uploaded: &BTreeSet<BlockId>) {
        self.has_inherited = true;
        for (block, waiting) in waiting.iter().filter(|(block, _)| !uploaded.contains(block)) {
            self.waiting.entry(*block).or_insert(*waiting);
        }
    }

    /// The blocks that wait.
    pub(crate) fn waiting(&self) -> &BTreeMap<BlockId, Waiting> {
        &self.waiting
    }

    /// A block is in the bucket.
    pub(crate) fn shipped(&mut self, block: BlockId) {
        self.waiting.remove(&block);
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The one that ends first.
    pub(crate) fn oldest(&self) -> Option<BlockId> {
        let oldest = self.waiting.iter().min_by_key(|(_, waiting)| waiting.maxt)?;
        Some(*oldest.0)
    }
}

/// The block that Prometheus made of another.
fn successor(local: &LocalBlocks, block: BlockId) -> Option<BlockId> {
    let made_of = |compaction: &sabre_tsdb::meta::Compaction| {
        compaction.sources.contains(&block) || compaction.parents.iter().any(|parent| parent.ulid == block)
    };
    let found = local
        .blocks
        .iter()
        .find(|other| made_of(&other.meta.compaction))?;
    Some(found.id)
}

fn is_kept(steps: &[(BlockId, Step)], block: BlockId) -> bool {
    steps.iter().any(|(id, step)| *id == block && *step == Step::Keep)
}

#[cfg(test)]
mod tests {
    use sabre_tsdb::meta::{BlockMeta, Compaction, Stats};

    use super::*;
    use crate::shipper::{LocalBlock, UnreadableBlock, plan};

    fn id(number: u64) -> BlockId {
        BlockId::from_parts(number, [0; 10])
    }

    fn block(number: u64, level: i64, sources: &[u64]) -> LocalBlock {
        let compaction = Compaction {
            level,
            sources: sources.iter().map(|source| id(*source)).collect(),
            ..Compaction::default()
        };
        let number_ms = i64::try_from(number).unwrap();
        let meta = BlockMeta {
            ulid: id(number),
            min_time: number_ms,
            max_time: number_ms + 1,
            stats: Stats {
                num_samples: 10 * number,
                ..Stats::default()
            },
            compaction,
            ..BlockMeta::default()
        };
        LocalBlock {
            id: id(number),
            dir: "x".into(),
            meta,
        }
    }

    fn note(
        backlog: &mut Backlog,
        blocks: Vec<LocalBlock>,
        uploaded: &[u64],
        policy: &Policy,
    ) -> Vec<(u64, LostBy)> {
        let local = LocalBlocks {
            blocks,
            unreadable: Vec::new(),
        };
        let uploaded = uploaded.iter().map(|number| id(*number)).collect();
        let steps = plan(&local, &uploaded, policy);
        let lost = backlog.note(&local, &steps, policy);
        lost.iter().map(|lost| (lost.samples / 10, lost.how)).collect()
    }

    #[test]
    fn a_waiting_block_that_is_gone_is_lost_once() {
        let (mut backlog, policy) = (Backlog::default(), Policy::default());
        assert_eq!(
            note(
                &mut backlog,
                vec![block(1, 1, &[1]), block(2, 1, &[2])],
                &[],
                &policy
            ),
            []
        );
        assert_eq!((backlog.len(), backlog.oldest()), (2, Some(id(1))));
        assert_eq!(
            note(&mut backlog, vec![block(2, 1, &[2])], &[], &policy),
            [(1, LostBy::Deleted)]
        );
        assert_eq!(note(&mut backlog, vec![block(2, 1, &[2])], &[], &policy), []);
        backlog.shipped(id(2));
        assert_eq!(note(&mut backlog, vec![], &[], &policy), [], "shipped before");
        assert_eq!((backlog.len(), backlog.oldest()), (0, None));
    }

    #[test]
    fn a_block_that_was_compacted_lives_on_only_where_compacted_blocks_are_shipped() {
        let blocks = || vec![block(1, 1, &[1]), block(2, 1, &[2])];
        let compacted = || vec![block(3, 2, &[1, 2])];
        let everything = Policy {
            upload_compacted: true,
            ..Policy::default()
        };
        for (policy, want) in [
            (
                Policy::default(),
                vec![(1, LostBy::Compacted), (2, LostBy::Compacted)],
            ),
            (everything, vec![]),
        ] {
            let mut backlog = Backlog::default();
            note(&mut backlog, blocks(), &[], &policy);
            assert_eq!(note(&mut backlog, compacted(), &[], &policy), want);
        }
        let mut backlog = Backlog::default();
        note(&mut backlog, blocks(), &[], &Policy::default());
        assert_eq!(note(&mut backlog, compacted(), &[3], &Policy::default()), []);
    }

    #[test]
    fn a_block_that_became_unreadable_is_not_lost_yet() {
        let (mut backlog, policy) = (Backlog::default(), Policy::default());
        note(&mut backlog, vec![block(1, 1, &[1])], &[], &policy);
        let local = LocalBlocks {
            blocks: vec![],
            unreadable: vec![UnreadableBlock {
                id: id(1),
                why: String::new(),
            }],
        };
        assert_eq!(backlog.note(&local, &[], &policy), []);
        assert_eq!(backlog.len(), 1);
        assert_eq!(note(&mut backlog, vec![], &[], &policy), [(1, LostBy::Deleted)]);
    }
}
