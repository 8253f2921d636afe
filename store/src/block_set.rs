//! Which blocks answer a request: the best resolution allowed, and the gaps filled with finer ones.

use std::{cmp::Reverse, collections::BTreeMap};

use sabre_model::{BlockId, Labels, Matcher};

/// What the selection has to know of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSpan {
    /// The block.
    pub(crate) id: BlockId,
    /// First instant.
    pub(crate) mint_ms: i64,
    /// The instant after the last.
    pub(crate) maxt_ms: i64,
    /// Zero for raw data.
    pub(crate) resolution_ms: i64,
}

/// The blocks of one external label set.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockSet {
    /// From the coarsest resolution to the finest, each sorted by time.
    levels: BTreeMap<Reverse<i64>, Vec<BlockSpan>>,
}

impl BlockSet {
    /// Adds a block.
    pub(crate) fn insert(&mut self, block: BlockSpan) {
        let level = self.levels.entry(Reverse(block.resolution_ms)).or_default();
        let at = level.partition_point(|other| (other.mint_ms, other.id) < (block.mint_ms, block.id));
        level.insert(at, block);
    }

    /// All blocks, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BlockSpan> {
        self.levels.values().flatten()
    }

    /// The blocks for the closed range `mint_ms..=maxt_ms`: of the coarsest resolution up to `max_resolution_ms`
    /// wherever it has any, of finer ones in between. A block that is not `wanted` covers its range nonetheless.
    pub(crate) fn select(
        &self,
        mint_ms: i64,
        maxt_ms: i64,
        max_resolution_ms: i64,
        wanted: &impl Fn(&BlockSpan) -> bool,
    ) -> Vec<BlockSpan> {
        let levels: Vec<&[BlockSpan]> = self
            .levels
            .range(Reverse(max_resolution_ms)..)
            .map(|(_, blocks)| blocks.as_slice())
            .collect();
        let mut out = Vec::new();
        fill(&levels, mint_ms, maxt_ms, wanted, &mut out);
        out.sort_by_key(|block| (block.mint_ms, block.maxt_ms, block.id));
        // A fine block that reaches into two gaps was found twice.
        out.dedup();
        out
    }
}

fn fill(
    levels: &[&[BlockSpan]],
    mint_ms: i64,
    maxt_ms: i64,
    wanted: &impl Fn(&BlockSpan) -> bool,
    out: &mut Vec<BlockSpan>,
) {
    let Some((blocks, finer)) = levels.split_first() else {
        return;
    };
    if mint_ms > maxt_ms {
        return;
    }
    let mut start_ms = mint_ms;
    for block in *blocks {
        if block.maxt_ms <= mint_ms {
            continue;
        }
        if block.mint_ms > maxt_ms {
            break;
        }
        fill(finer, start_ms, block.mint_ms.saturating_sub(1), wanted, out);
        if wanted(block) {
            out.push(*block);
        }
        start_ms = block.maxt_ms;
    }
    fill(finer, start_ms, maxt_ms, wanted, out);
}

/// The matchers left for the blocks' indexes once those on external labels have been tried; `None` if one of these
/// fails. An external label without a value is treated as absent.
pub(crate) fn match_external(external: &Labels, matchers: &[Matcher]) -> Option<Vec<Matcher>> {
    let mut left = Vec::new();
    for matcher in matchers {
        match external.get(matcher.name()).filter(|value| !value.is_empty()) {
            Some(value) if !matcher.matches(value) => return None,
            Some(_) => {}
            None => left.push(matcher.clone()),
        }
    }
    Some(left)
}

#[cfg(test)]
mod tests;
