//! The blocks that are served at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sabre_model::{BlockId, Labels, Matcher};

use crate::{
    block::ServedBlock,
    block_set::{BlockSet, BlockSpan, match_external},
    handle::BlockHandle,
};

/// The pseudo-label of block matchers that holds the block's name.
const BLOCK_ID_LABEL: &str = "__block_id";

/// The blocks that are served; a new one is made for every change.
#[derive(Debug, Default)]
pub(crate) struct View {
    blocks: BTreeMap<BlockId, Arc<BlockHandle>>,
    sets: BTreeMap<Labels, BlockSet>,
}

/// A block that an answer needs, and what is left to look for in its index.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) block: Arc<BlockHandle>,
    pub(crate) matchers: Arc<[Matcher]>,
}

/// The same with the index-header at hand.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) block: Arc<ServedBlock>,
    pub(crate) matchers: Arc<[Matcher]>,
}

/// What the store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// `i64::MAX` if there are no blocks.
    pub(crate) mint_ms: i64,
    /// `i64::MIN` if there are no blocks.
    pub(crate) maxt_ms: i64,
    /// By external labels: ranges without overlap, in order.
    pub(crate) ranges: Vec<(Labels, i64, i64)>,
    /// Distinct external labels, in order.
    pub(crate) label_sets: Vec<Labels>,
}

impl View {
    /// Puts blocks in their sets.
    pub(crate) fn new(blocks: BTreeMap<BlockId, Arc<BlockHandle>>) -> Self {
        let mut sets: BTreeMap<Labels, BlockSet> = BTreeMap::new();
        for block in blocks.values() {
            sets.entry(block.external.clone()).or_default().insert(block.span);
        }
        Self { blocks, sets }
    }

    /// All blocks by name.
    pub(crate) fn blocks(&self) -> &BTreeMap<BlockId, Arc<BlockHandle>> {
        &self.blocks
    }

    /// The blocks that answer `Series` for a closed range of time. Where no matcher is left for the index, there
    /// is nothing to select, as Thanos has it.
    pub(crate) fn select_series(
        &self,
        mint_ms: i64,
        maxt_ms: i64,
        max_resolution_ms: i64,
        matchers: &[Matcher],
        block_matchers: &[Matcher],
    ) -> Vec<Chosen> {
        let mut out = Vec::new();
        for (external, set) in &self.sets {
            let Some(left) = match_external(external, matchers).filter(|left| !left.is_empty()) else {
                continue;
            };
            let left: Arc<[Matcher]> = left.into();
            let wanted = |span: &BlockSpan| matches_block(external, span.id, block_matchers);
            let spans = set.select(mint_ms, maxt_ms, max_resolution_ms, &wanted);
            out.extend(spans.iter().filter_map(|span| self.chosen(span.id, &left)));
        }
        out.sort_by_key(|chosen| {
            (
                chosen.block.span.mint_ms,
                chosen.block.span.maxt_ms,
                chosen.block.id(),
            )
        });
        out
    }

    /// The blocks that answer `LabelNames` and `LabelValues`: of every resolution.
    pub(crate) fn select_labels(
        &self,
        mint_ms: i64,
        maxt_ms: i64,
        matchers: &[Matcher],
        block_matchers: &[Matcher],
    ) -> Vec<Chosen> {
        let mut out = Vec::new();
        for (external, set) in &self.sets {
            let Some(left) = match_external(external, matchers) else {
                continue;
            };
            let left: Arc<[Matcher]> = left.into();
            for span in set.iter() {
                let overlaps = span.mint_ms <= maxt_ms && mint_ms < span.maxt_ms;
                if overlaps && matches_block(external, span.id, block_matchers) {
                    out.extend(self.chosen(span.id, &left));
                }
            }
        }
        out
    }

    /// The blocks of these external labels and this resolution or a finer one.
    pub(crate) fn of_stream(
        &self,
        external: &Labels,
        resolution_ms: i64,
    ) -> impl Iterator<Item = &Arc<BlockHandle>> {
        let set = self.sets.get(external);
        let spans = set.into_iter().flat_map(BlockSet::iter);
        let fine = spans.filter(move |span| span.resolution_ms <= resolution_ms);
        fine.filter_map(|span| self.blocks.get(&span.id))
    }

    /// What `Info` says; the range of the whole store is clipped to `partition`.
    pub(crate) fn advertised(&self, partition: (i64, i64)) -> Advertised {
        let label_sets: BTreeSet<&Labels> = self.sets.keys().collect();
        let mut advertised = Advertised {
            mint_ms: i64::MAX,
            maxt_ms: i64::MIN,
            ranges: Vec::new(),
            label_sets: label_sets.into_iter().cloned().collect(),
        };
        for (labels, set) in &self.sets {
            for (mint_ms, maxt_ms) in merged_ranges(set) {
                advertised.mint_ms = advertised.mint_ms.min(mint_ms);
                advertised.maxt_ms = advertised.maxt_ms.max(maxt_ms);
                advertised.ranges.push((labels.clone(), mint_ms, maxt_ms));
            }
        }
        advertised.mint_ms = advertised.mint_ms.max(partition.0);
        advertised.maxt_ms = advertised.maxt_ms.min(partition.1);
        advertised
    }

    fn chosen(&self, id: BlockId, matchers: &Arc<[Matcher]>) -> Option<Chosen> {
        let block = Arc::clone(self.blocks.get(&id)?);
        Some(Chosen {
            block,
            matchers: Arc::clone(matchers),
        })
    }
}

/// The ranges of a set's blocks; those that touch or overlap are one.
fn merged_ranges(set: &BlockSet) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = set.iter().map(|span| (span.mint_ms, span.maxt_ms)).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (mint_ms, maxt_ms) in ranges {
        match merged.last_mut() {
            Some(last) if mint_ms <= last.1 => last.1 = last.1.max(maxt_ms),
            _ => merged.push((mint_ms, maxt_ms)),
        }
    }
    merged
}

fn matches_block(external: &Labels, id: BlockId, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| {
        if matcher.name() == BLOCK_ID_LABEL {
            return matcher.matches(&id.to_string());
        }
        matcher.matches(external.get(matcher.name()).unwrap_or(""))
    })
}

#[cfg(test)]
mod tests {
    use sabre_model::MatchKind;

    use super::*;

    fn span(n: u8, mint_ms: i64, maxt_ms: i64) -> BlockSpan {
        BlockSpan {
            id: BlockId::from_parts(1, [n; 10]),
            mint_ms,
            maxt_ms,
            resolution_ms: 0,
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let mut set = BlockSet::default();
        for block in [span(1, 0, 10), span(2, 10, 20), span(3, 15, 18), span(4, 30, 40)] {
            set.insert(block);
        }
        assert_eq!(merged_ranges(&set), [(0, 20), (30, 40)]);
    }

    #[test]
    fn block_matchers_see_external_labels_and_the_name_of_the_block() {
        let external = Labels::from_pairs([("cluster", "eu1")]).unwrap();
        let id = BlockId::from_parts(1, [7; 10]);
        let matcher = |name: &str, value: &str| Matcher::new(MatchKind::Eq, name, value).unwrap();
        assert!(matches_block(
            &external,
            id,
            &[matcher("__block_id", &id.to_string()), matcher("cluster", "eu1")]
        ));
        assert!(!matches_block(&external, id, &[matcher("cluster", "us1")]));
        assert!(!matches_block(&external, id, &[matcher("__block_id", "x")]));
        assert!(matches_block(&external, id, &[matcher("other", "")]));
    }

    #[test]
    fn a_store_without_blocks_advertises_the_empty_range() {
        let advertised = View::default().advertised((0, 100));
        assert_eq!((advertised.mint_ms, advertised.maxt_ms), (i64::MAX, i64::MIN));
        assert!(advertised.label_sets.is_empty());
    }
}
